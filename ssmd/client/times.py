"""Times as they are asked for, and as they come: RFC 3339 with nine digits. datetime knows microseconds only."""

from datetime import UTC, date, datetime
from typing import Final

Time = str | int | date
"""`2025-12-06T14:00:00Z`, `2025-12-06`, `now`, `-15m`; nanoseconds since 1970; a datetime (without a zone: UTC) or date."""

NS_PER_S: Final = 1_000_000_000
_TO_SECOND: Final = len("2025-12-06T14:00:00")


def time_text(time: Time) -> str:
    """Return a time as the gateway reads it."""
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()
    return time.isoformat() if isinstance(time, date) else str(time)


def ns_of(text: str) -> int:
    """Return the nanoseconds since 1970 of a time as the gateway writes it."""
    second = datetime.fromisoformat(text[:_TO_SECOND]).replace(tzinfo=UTC)
    fraction = text[_TO_SECOND:].strip(".Z")
    return int(second.timestamp()) * NS_PER_S + int(fraction.ljust(9, "0") or 0)


def text_of(at_ns: int) -> str:
    """Return a time as the gateway writes it."""
    second = datetime.fromtimestamp(at_ns // NS_PER_S, UTC)
    return f"{second:%Y-%m-%dT%H:%M:%S}.{at_ns % NS_PER_S:09d}Z"
