"""A day as the archive has it: every minute of some symbols, its ledger records and manifests, and traces of older months."""

from collections.abc import Iterator, Sequence

import trio
from msgspec.structs import replace

from ssmd.archive.together import together
from ssmd.clock import NS_PER_MINUTE
from ssmd.codec import marketdata
from ssmd.codec.packing import Item, pack
from ssmd.model import Book, Event, EventType, Quote, Trade
from ssmd.protocols.quality import Figures, LedgerRecord, Source, encode
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, QualityKey, RawKey

FEED = "kraken"
SYMBOLS = ("BTCUSD", "ETHUSD", "SOLUSD")
START_NS = 1_764_547_200 * 10**9
MINUTES = 1_440
PER_MINUTE: dict[EventType, int] = {"trade": 60, "quote": 200, "book": 60}
OLDER_DAYS = tuple(30 * months for months in range(1, 13))
"""Before the day: a minute of each, so that there is an archive of a year to walk through."""

_RECORD = LedgerRecord(
    "v1", FEED, 0, "verified", (), "", "0" * 64, "w", 0, Figures(900, {"trade": 60}, {SYMBOLS[0]: 900}, 600), (), (),
    SYMBOLS, Source("bench", "unknown"),
)  # fmt: skip


def minute_of_events(kind: EventType, symbol: str, minute: int) -> Iterator[Event]:
    count = PER_MINUTE[kind]
    for number in range(count):
        at_ns = START_NS + minute * NS_PER_MINUTE + number * (NS_PER_MINUTE // count)
        head = (FEED, symbol, at_ns, "c-0-1", abs(minute) * count + number, 0, at_ns - 12_345_678)
        price = f"{60_000 + number % 77}.{number % 10}"
        if kind == "trade":
            yield Trade(*head, price, f"0.0{number + 1}", "buy", str(81_234_567 + abs(minute) * count + number))
        elif kind == "quote":
            yield Quote(*head, price, "1.25", f"{60_100 + number % 77}.{number % 10}", f"0.{number + 1}")
        else:
            levels = tuple((f"{60_000 - level}.{number % 10}", f"{level + 1}.{number + 1}") for level in range(10))
            yield Book(*head, levels, levels)


async def store_day(store: Store, symbols: Sequence[str], *, is_grown: bool) -> None:
    """Store the day; is_grown: with the raw objects' keys and older months, as an archive has them."""
    older = [-1_440 * days for days in OLDER_DAYS] if is_grown else []

    async def store_minute(minute: int) -> None:
        for key, body in _minute(symbols, minute, is_grown=is_grown):
            await store.create(key, body)

    await together(store_minute, [*older, *range(MINUTES)])


def _minute(symbols: Sequence[str], minute: int, *, is_grown: bool) -> Iterator[tuple[str, bytes]]:
    minute_ns = START_NS + minute * NS_PER_MINUTE
    for symbol in symbols:
        for kind in PER_MINUTE:
            events = minute_of_events(kind, symbol, minute)
            items = [Item(e.recv_ns, e.conn, e.seq, e.n, marketdata.encode(e)) for e in events]
            yield NormalizedKey("v1", FEED, kind, symbol, minute_ns).key, pack(items)
    yield QualityKey("v1", FEED, minute_ns).key, encode(replace(_RECORD, minute=minute_ns))
    if is_grown:  # nobody reads them here, but they are listed
        raw = RawKey(FEED, minute_ns)
        yield from ((raw.key, b"raw"), (raw.manifest, b"{}"))


def store_day_now(store: Store, symbols: Sequence[str], *, is_grown: bool) -> None:
    async def work() -> None:
        await store_day(store, symbols, is_grown=is_grown)

    trio.run(work)
