"""Read exact numbers and times out of an exchange's text. No floats: the digits are the truth."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from ssmd.clock import NS_PER_S
from ssmd.errors import BadFrame

PLAIN_NUMBER: Final = re.compile(r"[0-9]{1,20}+(?:\.[0-9]{1,20}+)?+")
"""Digits with at most one point. A sign, an exponent, NaN or quotes do not match, nor does a number absurdly long."""

_DATE_AND_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
_UNIT_NS: Final[tuple[int, ...]] = tuple(10 ** (9 - digits) for digits in range(10))
"""What the last digit of a fraction of so many digits stands for."""
_SECONDS_TEXT: Final = len("2026-07-07T23:00:03")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR: Final = 2261  # the last whole year whose nanoseconds fit into 63 bits

_DETAIL_CHARS: Final = 160


def shorten(text: str) -> str:
    """Cut foreign text to what a person may want to see of it."""
    return text if len(text) <= _DETAIL_CHARS else text[:_DETAIL_CHARS] + "…"


def rfc3339_ns(text: str) -> int:
    """Return nanoseconds since 1970 from a UTC time with 0 to 9 fraction digits. Raises BadFrame("bad_time")."""
    fraction = text[_SECONDS_TEXT + 1 : -1]
    if (
        fraction.isdecimal()
        and len(fraction) <= 9
        and text.isascii()
        and text[_SECONDS_TEXT] == "."
        and text[-1] == "Z"
    ):
        return _second_ns(text[:_SECONDS_TEXT]) + int(fraction) * _UNIT_NS[len(fraction)]
    if text[_SECONDS_TEXT:] != "Z":
        raise BadFrame("bad_time", shorten(text))
    return _second_ns(text[:_SECONDS_TEXT])


@lru_cache(maxsize=256)  # neighbouring frames share their second, and calendars are slow
def _second_ns(text: str) -> int:
    if _DATE_AND_TIME.fullmatch(text) is None:
        raise BadFrame("bad_time", text)
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError as error:
        raise BadFrame("bad_time", text) from error
    if not _EPOCH.year <= moment.year <= _LAST_YEAR:
        raise BadFrame("bad_time", text)
    return (moment - _EPOCH) // timedelta(seconds=1) * NS_PER_S
