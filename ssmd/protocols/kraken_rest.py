"""Kraken's public REST: which pairs there are, how they are called, and what time it is.

Facts (docs.kraken.com REST `AssetPairs` and `Time`, read in 2026; answers recorded in 2021, 2025 and 2026):
an answer is HTTP 200 with an `error` array, whose texts begin with E for an error and W for a warning. A pair has three
names (key `XXBTZUSD`, `altname` `XBTUSD`, `wsname` `XBT/USD`), all of v1; WebSocket v2 refuses them where XBT or XDG
stands in them. All 272 recorded `wsname`s of 2021 that still existed in 2024 became the v2 name by those two words alone.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from ssmd.clock import NS_PER_S
from ssmd.errors import BadFrame
from ssmd.protocols.kraken_frames import UNREADABLE
from ssmd.protocols.text import shorten

# What a status restricts is orders. A pair that is cancel_only, post_only, limit_only or reduce_only (the documented
# ones beside online) still has a book that moves and is sent. One in maintenance comes back. A status that we do not
# know must not refuse a good name: the exchange itself refuses a bad one at once, and only that one.
_WITHOUT_DATA: Final = frozenset({"delisted", "work_in_progress"})

_RATE_LIMITS: Final = ("Rate limit", "Too many requests", "Throttled")
_V2: Final = {"XBT": "BTC", "XDG": "DOGE"}

_ASSET: Final = r"[A-Z0-9.]{1,20}"
_WSNAME: Final = re.compile(rf"{_ASSET}x?/{_ASSET}")  # tokenized stocks end in a small x: AAPLx/USD
_APART: Final = re.compile(rf"({_ASSET})[/_-]({_ASSET})")
# A key joins two old assets, X for crypto and Z for money (recorded 2021: every base and quote that begins with them).
_OLD: Final = r"(?:X(XBT|XDG|ETC|ETH|LTC|MLN|REP|XLM|XMR|XRP|ZEC)|Z(AUD|CAD|EUR|GBP|JPY|USD))"
_KEY: Final = re.compile(_OLD + _OLD)
# The quotes of all 683 pairs of 2024; the shortest base wins, so BTCPYUSD is BTC and PYUSD.
_JOINED: Final = re.compile(rf"({_ASSET}?)(AED|AUD|BTC|CAD|CHF|DAI|DOT|ETH|EUR|GBP|JPY|PYUSD|USD|USDC|USDT|XBT)")


T = TypeVar("T")


class _Answer(Struct):
    error: list[str]
    result: Raw = Raw(b"null")


class _AssetPair(Struct):
    """wsname: absent from the dark pools of 2021. status: absent from the answers of 2021."""

    wsname: str | None = None
    status: str = "online"


class _Time(Struct):
    unixtime: Annotated[int, Meta(ge=0, lt=1 << 33)]


def read_instruments(answer: bytes) -> frozenset[str]:
    """Return the v2 names of the pairs that send market data. Raises BadFrame."""
    pairs = _result(answer, dict[str, _AssetPair]).values()
    listed = (pair.wsname for pair in pairs if pair.wsname and pair.status not in _WITHOUT_DATA)
    return frozenset(_v2(*wsname.split("/")) for wsname in listed if _WSNAME.fullmatch(wsname))


def read_clock_ns(answer: bytes) -> int:
    """Return the exchange's time, whole seconds. Raises BadFrame."""
    return _result(answer, _Time).unixtime * NS_PER_S


def v2_spelling(name: str) -> str:
    """Return the v2 name that was probably meant: `xbt/usd`, `BTC-USD`, `XXBTZUSD`, `btcusd` are `BTC/USD`."""
    if _WSNAME.fullmatch(name):
        return _v2(*name.split("/"))
    upper = name.strip().upper()
    match = _APART.fullmatch(upper) or _KEY.fullmatch(upper) or _JOINED.fullmatch(upper)
    return _v2(*filter(None, match.groups())) if match else name


def _v2(base: str, quote: str) -> str:
    return f"{_V2.get(base, base)}/{_V2.get(quote, quote)}"


def _result(answer: bytes, kind: type[T]) -> T:
    try:
        envelope = msgspec.json.decode(answer, type=_Answer)
        _check(envelope.error)
        return msgspec.json.decode(envelope.result, type=kind)
    except UNREADABLE as error:
        raise BadFrame("bad_shape", shorten(str(error))) from error


def _check(errors: Sequence[str]) -> None:
    severe = [error for error in errors if not error.startswith("W")]
    if severe:
        is_limit = any(word in error for error in severe for word in _RATE_LIMITS)
        raise BadFrame("rate_limited" if is_limit else "refused", shorten("; ".join(severe)))
