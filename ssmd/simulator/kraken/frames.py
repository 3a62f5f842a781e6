"""The texts of Kraken's WebSocket v2, as recorded: member order, digits, timestamps."""

import json
import time
import zlib
from collections.abc import Callable, Iterable
from typing import Final

from ssmd.clock import NS_PER_S
from ssmd.simulator.book import Book, Changes, LevelText
from ssmd.simulator.market import Market, Print
from ssmd.simulator.pairs import Pair, fixed

HEARTBEAT: Final = '{"channel":"heartbeat"}'
RATE_EXCEEDED: Final = '{"Error":"Exceeded msg rate"}'
_NS_PER_US: Final = 1000


class Timestamps:
    """Write times as RFC 3339 with microseconds; the second's text is kept because most frames share it."""

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""

    def text(self, time_ns: int) -> str:
        second, ns = divmod(time_ns, NS_PER_S)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._prefix}.{ns // _NS_PER_US:06}Z"


def level_text(pair: Pair) -> LevelText:
    """Return the function that writes a level of the pair, and its part of the checksum.

    The checksum's part is price and qty without point and leading zeros: the integers themselves.
    """
    price, qty = _fixed_writer(pair.price_digits), _fixed_writer(pair.qty_digits)

    def write(ticks: int, units: int) -> tuple[str, str]:
        return f'{{"price":{price(ticks)},"qty":{qty(units)}}}', f"{ticks}{units}"

    return write


def _fixed_writer(digits: int) -> Callable[[int], str]:
    scale = 10**digits
    if digits == 0:
        return str
    return lambda number: f"{number // scale}.{number % scale:0{digits}}"


def checksum(book: Book) -> int:
    """CRC32 over the ten best asks, then the ten best bids (docs.kraken.com, book v2 guide)."""
    return zlib.crc32((book.asks.tokens() + book.bids.tokens()).encode())


def book_update(symbol: str, changes: Changes, crc: int, stamp: str) -> str:
    return (
        f'{{"channel":"book","type":"update","data":[{{"symbol":"{symbol}","bids":[{",".join(changes.bids)}],'
        f'"asks":[{",".join(changes.asks)}],"checksum":{crc},"timestamp":"{stamp}"}}]}}'
    )


def book_snapshot(symbol: str, book: Book, depth: int, stamp: str) -> str:
    changes = Changes(depth, book.bids.texts(depth), book.asks.texts(depth))
    return book_update(symbol, changes, checksum(book), stamp).replace('"update"', '"snapshot"', 1)


def trades(kind: str, pair: Pair, prints: Iterable[Print], stamp: str) -> str:
    entries = ",".join(
        f'{{"symbol":"{pair.symbol}","side":"{done.side}","price":{pair.price_text(done.ticks)},'
        f'"qty":{pair.qty_text(done.units)},"ord_type":"{"limit" if done.trade_id % 3 else "market"}",'
        f'"trade_id":{done.trade_id},"timestamp":"{stamp}"}}'
        for done in prints
    )
    return f'{{"channel":"trade","type":"{kind}","data":[{entries}]}}'


def ticker(kind: str, market: Market, stamp: str) -> str:
    pair, book, day = market.pair, market.book, market.day
    price, qty = pair.price_text, pair.qty_text
    change = day.last - day.open
    vwap = day.turnover // day.units if day.units else day.last
    return (
        f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{pair.symbol}",'
        f'"bid":{price(-book.bids.keys[0])},"bid_qty":{qty(book.bids.best().units)},'
        f'"ask":{price(book.asks.keys[0])},"ask_qty":{qty(book.asks.best().units)},'
        f'"last":{price(day.last)},"volume":{qty(day.units)},"vwap":{price(vwap)},'
        f'"low":{price(day.low)},"high":{price(day.high)},"change":{_signed(change, pair.price_digits)},'
        f'"change_pct":{_signed(change * 10_000 // day.open, 2)},"trades":{day.trades},"timestamp":"{stamp}"}}]}}'
    )


def _signed(number: int, digits: int) -> str:
    return f"{'-' if number < 0 else ''}{fixed(abs(number), digits)}"


def status(system: str, connection_id: int, upcoming: str = "") -> str:
    """`upcoming`: one announced maintenance as JSON, or nothing."""
    return (
        f'{{"channel":"status","type":"update","data":[{{"version":"2.0.10","system":"{system}","api_version":"v2",'
        f'"connection_id":{connection_id},"upcoming_maintenance":[{upcoming}],"emergency":[]}}]}}'
    )


def maintenance(start: str, seconds_to_start: int) -> str:
    return (
        f'{{"event_id":1,"title":"simulated maintenance","expected_start_utc":"{start}","expected_end_utc":null,'
        f'"time_to_start_s":{seconds_to_start},"phase":"final_warning_30s","affected_services":["spot_ws"],'
        f'"order_submission":"blocked","recommended_action":"disconnect_and_wait"}}'
    )


def instruments(pairs: Iterable[Pair]) -> str:
    """The reference data; increments as floats, so that small ones have exponents (1e-08), as on the venue."""
    listed = list(pairs)
    assets = sorted({name for pair in listed for name in (pair.base, pair.quote)})
    data = {
        "assets": [
            {"id": name, "status": "enabled", "precision": 8, "precision_display": 5, "borrowable": False}
            for name in assets
        ],
        "pairs": [_instrument(pair) for pair in listed],
    }
    return f'{{"channel":"instrument","type":"snapshot","data":{json.dumps(data, separators=(",", ":"))}}}'


def _instrument(pair: Pair) -> dict[str, str | int | float | bool]:
    tick = 10.0**-pair.price_digits
    return {
        "symbol": pair.symbol,
        "base": pair.base,
        "quote": pair.quote,
        "status": "online",
        "qty_precision": pair.qty_digits,
        "qty_increment": 10.0**-pair.qty_digits,
        "price_precision": pair.price_digits,
        "cost_precision": 5,
        "marginable": False,
        "has_index": True,
        "cost_min": 0.5,
        "tick_size": tick,
        "price_increment": tick,
        "qty_min": 10.0**-pair.qty_digits * 1000,
    }
