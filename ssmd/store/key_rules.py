"""What every part of an object key must be like, and how a minute stands in one."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from ssmd.clock import NS_PER_MINUTE
from ssmd.model import EVENT_TYPES, is_symbol, is_token

MAX_PART: Final = 99

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_END_MINUTES: Final = (datetime(9999, 12, 31, 23, 59, tzinfo=UTC) - _EPOCH) // timedelta(minutes=1) + 1
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def check_key(key: str) -> str:
    """Return the key if every part of it is harmless in a path and in a URL, else raise ValueError."""
    if not all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        raise ValueError(f"object key is {key[:200]!r}; allowed are letters, digits, _ and -, single dots within parts")
    return key


def check_prefix(prefix: str) -> str:
    """Return the prefix if some key could start with it, else raise ValueError."""
    if prefix:
        check_key(prefix + "x" if prefix[-1] in "/." else prefix)
    return prefix


def check_folder(prefix: str) -> str:
    """Return a prefix that is empty or ends in `/`, else raise ValueError."""
    if prefix and not prefix.endswith("/"):
        raise ValueError(f"object key prefix is {prefix[:200]!r}; it must be empty or end in /")
    return check_prefix(prefix)


def need_token(name: str, text: str) -> None:
    if not is_token(text):
        raise ValueError(f"{name} is {text[:40]!r}; allowed are 1 to 32 letters, digits, _ and -")


def need_series(version: str, feed: str, kind: str, symbol: str) -> None:
    need_token("version", version)
    need_token("feed", feed)
    if kind not in EVENT_TYPES:
        raise ValueError(f"type is {kind[:40]!r}; allowed are {', '.join(EVENT_TYPES)}")
    if not is_symbol(symbol):
        raise ValueError(f"symbol is {symbol[:40]!r}; allowed are 1 to 32 of A-Z, 0-9, _ and -")


def need_minute(minute_ns: int) -> None:
    if minute_ns % NS_PER_MINUTE:
        raise ValueError(f"minute_ns is {minute_ns}; it must be the start of a minute")
    utc(minute_ns)


def need_part(part: int) -> None:
    if not 0 <= part <= MAX_PART:
        raise ValueError(f"part is {part}; allowed are 0 to {MAX_PART}")


def utc(at_ns: int) -> datetime:
    minutes = at_ns // NS_PER_MINUTE
    if not 0 <= minutes < _END_MINUTES:
        raise ValueError(f"time is {at_ns} ns; allowed are the years 1970 to 9999")
    return _EPOCH + timedelta(minutes=minutes)


def minute_at(year: str, month: str, day: str, hour: str, minute: str) -> int:
    when = datetime(int(year), int(month), int(day), int(hour), int(minute), tzinfo=UTC)
    return (when - _EPOCH) // timedelta(minutes=1) * NS_PER_MINUTE
