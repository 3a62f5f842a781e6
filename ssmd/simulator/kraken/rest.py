"""Kraken's public REST: always HTTP 200, the error in the body, v1 names (XBT, XDG)."""

import time
from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.clock import NS_PER_S
from ssmd.simulator.pairs import Pair
from ssmd.simulator.venue import Reply, Request

_V1_NAMES: Final = {"BTC": "XBT", "DOGE": "XDG"}
_OLD_CRYPTO: Final = frozenset({"XBT", "ETH", "LTC", "XRP", "XLM", "XMR", "ZEC", "ETC", "XDG", "MLN", "REP"})
_FIAT: Final = frozenset({"USD", "EUR", "GBP", "JPY", "CAD", "CHF", "AUD"})
_UNKNOWN_PAIR: Final = "EQuery:Unknown asset pair"


class AssetPair(Struct, frozen=True):
    altname: str
    wsname: str
    aclass_base: str
    base: str
    aclass_quote: str
    quote: str
    lot: str
    pair_decimals: int
    cost_decimals: int
    lot_decimals: int
    lot_multiplier: int
    ordermin: str
    costmin: str
    tick_size: str
    status: str


class AssetPairs:
    """The pairs under their three spellings."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        self._by_key: dict[str, AssetPair] = {}
        self._keys: dict[str, str] = {}
        for pair in pairs:
            key, asset_pair = _asset_pair(pair)
            self._by_key[key] = asset_pair
            self._keys |= {key: key, asset_pair.altname: key, asset_pair.wsname: key}

    def answer(self, names: str | None) -> Reply:
        if names is None:
            return result(self._by_key)
        wanted = names.split(",")
        if not all(name in self._keys for name in wanted):
            return error(_UNKNOWN_PAIR)
        return result({self._keys[name]: self._by_key[self._keys[name]] for name in wanted})


def answer(request: Request, pairs: AssetPairs, system: str, now_ns: int) -> Reply | None:
    """Return the answer of a public method, None for anything else."""
    now_s = now_ns // NS_PER_S
    match request.method, request.path:
        case "GET", "/0/public/AssetPairs":
            return pairs.answer(request.query.get("pair"))
        case "GET", "/0/public/Time":
            rfc1123 = time.strftime("%a, %d %b %y %H:%M:%S +0000", time.gmtime(now_s))
            return result({"unixtime": now_s, "rfc1123": rfc1123})
        case "GET", "/0/public/SystemStatus":
            stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
            return result({"status": system, "timestamp": stamp})
    return None


def result(value: object) -> Reply:
    return Reply(200, b'{"error":[],"result":' + msgspec.json.encode(value) + b"}")


def error(text: str) -> Reply:
    return Reply(200, msgspec.json.encode({"error": [text]}))


def _asset_pair(pair: Pair) -> tuple[str, AssetPair]:
    base, quote = (_V1_NAMES.get(name, name) for name in (pair.base, pair.quote))
    long_base, long_quote = _long_name(base), _long_name(quote)
    # Only pairs of two old assets are keyed by the long names (XXBTZUSD, but SOLUSD).
    key = long_base + long_quote if base in _OLD_CRYPTO and base != "XDG" and quote in _FIAT else base + quote
    return key, AssetPair(
        altname=base + quote,
        wsname=f"{base}/{quote}",
        aclass_base="currency",
        base=long_base,
        aclass_quote="currency",
        quote=long_quote,
        lot="unit",
        pair_decimals=pair.price_digits,
        cost_decimals=5,
        lot_decimals=pair.qty_digits,
        lot_multiplier=1,
        ordermin=pair.qty_text(1000),
        costmin="0.5",
        tick_size=pair.price_text(1),
        status="online",
    )


def _long_name(name: str) -> str:
    if name in _FIAT:
        return f"Z{name}"
    return f"X{name}" if name in _OLD_CRYPTO else name
