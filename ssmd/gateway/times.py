"""Times as clients write them and as they get them. Inside they are integer nanoseconds, UTC."""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

from ssmd.clock import NS_PER_S
from ssmd.gateway.problems import ParameterError, invalid

ALLOWED: Final = "2025-12-06T14:00:00Z, 2025-12-06, nanoseconds since 1970, now, or -15m"
MAX_NS: Final = 1 << 63

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_RELATIVE: Final = re.compile(r"-([0-9]{1,9})([smhdw])")
_NANOSECONDS: Final = re.compile(r"[0-9]{16,19}")
_RFC_3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?(?:([Zz])|([+ -])([0-9]{2}):([0-9]{2}))?)?"
)
"""A space as the sign of an offset: what becomes of + in a URL that nobody has escaped."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str, now_ns: int) -> int:
    """Return the time that a text means; without an offset it is UTC. Raises ValueError for anything else."""
    if text == "now":
        return now_ns
    if relative := _RELATIVE.fullmatch(text):
        return _possible(now_ns - int(relative[1]) * _UNITS_S[relative[2]] * NS_PER_S)
    if _NANOSECONDS.fullmatch(text):
        return _possible(int(text))
    if written := _RFC_3339.fullmatch(text):
        return _possible(_calendar_ns(written))
    raise ValueError(f"not a time; write {ALLOWED}")


def parameter_time(parameter: str, text: str, now_ns: int) -> int:
    """As parse_time. Raises Problem invalid_parameter that names the parameter."""
    try:
        return parse_time(text, now_ns)
    except ValueError as error:
        raise invalid(ParameterError(parameter, text[:40], str(error))) from None


def _calendar_ns(written: re.Match[str]) -> int:
    year, month, day, hour, minute, second, fraction = written.groups()[:7]
    moment = datetime(*(int(part or 0) for part in (year, month, day, hour, minute, second)), tzinfo=_zone(written))  # type: ignore[misc,arg-type]  # six integers
    return (moment - _EPOCH) // timedelta(seconds=1) * NS_PER_S + int((fraction or "").ljust(9, "0"))


def _zone(written: re.Match[str]) -> timezone:
    sign, hours, minutes = written.groups()[8:]
    if sign is None:
        return UTC
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-ahead if sign == "-" else ahead)


def _possible(at_ns: int) -> int:
    if not 0 <= at_ns < MAX_NS:
        raise ValueError("times are between 1970 and 2262")
    return at_ns


def rfc3339(at_ns: int) -> str:
    """Return `2025-12-06T14:00:00.123456789Z`."""
    return f"{_second(at_ns // NS_PER_S)}.{at_ns % NS_PER_S:09d}Z"


@lru_cache(maxsize=4096)
def _second(at_s: int) -> str:
    return (_EPOCH + timedelta(seconds=at_s)).strftime("%Y-%m-%dT%H:%M:%S")
