"""What the gateway's history costs: `make bench ARGS=history`.

A day of one symbol on the local store, with a ledger record for each minute: time to the first byte and rows/s in each
format, and pages. Each format runs in a process of its own, so that its memory is its own. Nothing of HTTP is in it.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import trio
from msgspec.structs import replace

from ssmd.bus.base import StreamSpec
from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.clock import NS_PER_MINUTE
from ssmd.codec import marketdata
from ssmd.codec.packing import Item, pack
from ssmd.environment.spec import BucketEntry, Environment, Metadata, Spec, StorageEntry
from ssmd.gateway.access import Grant, Principal
from ssmd.gateway.cursor import encode_cursor
from ssmd.gateway.history.cached import LedgerCache
from ssmd.gateway.history.catalog import Catalog
from ssmd.gateway.history.feeds import Feeds
from ssmd.gateway.history.link import DialEachTime
from ssmd.gateway.history.reader import Archive
from ssmd.gateway.history.service import History
from ssmd.gateway.query import FORMATS, Headers, rows_query
from ssmd.model import Book, Event, EventType, Quote, Trade
from ssmd.protocols.quality import Figures, LedgerRecord, Source, encode
from ssmd.store.keys import NormalizedKey, QualityKey
from ssmd.store.objects import local_store

FEED, SYMBOL = "kraken", "BTCUSD"
START_NS = 1_764_547_200 * 10**9
MINUTES = 1_440
PER_MINUTE: dict[EventType, int] = {"trade": 60, "quote": 200, "book": 60}
PAGES = 30
ANYBODY = Principal("bench", "non-display", (Grant(FEED, ("*",)),))


def minute_of_events(kind: EventType, minute: int) -> Iterator[Event]:
    count = PER_MINUTE[kind]
    for number in range(count):
        at_ns = START_NS + minute * NS_PER_MINUTE + number * (NS_PER_MINUTE // count)
        head = (FEED, SYMBOL, at_ns, "c-0-1", minute * count + number, 0, at_ns - 12_345_678)
        price = f"{60_000 + number % 77}.{number % 10}"
        if kind == "trade":
            yield Trade(*head, price, f"0.0{number + 1}", "buy", str(81_234_567 + minute * count + number))
        elif kind == "quote":
            yield Quote(*head, price, "1.25", f"{60_100 + number % 77}.{number % 10}", f"0.{number + 1}")
        else:
            levels = tuple((f"{60_000 - level}.{number % 10}", f"{level + 1}.{number + 1}") for level in range(10))
            yield Book(*head, levels, levels)


async def store_day(folder: Path) -> None:
    store = local_store(folder)
    record = LedgerRecord(
        "v1", FEED, 0, "verified", (), "", "0" * 64, "w", 0, Figures(900, {"trade": 60}, {SYMBOL: 900}, 600), (), (),
        (SYMBOL,), Source("bench", "unknown"),
    )  # fmt: skip
    for minute in range(MINUTES):
        minute_ns = START_NS + minute * NS_PER_MINUTE
        for kind in PER_MINUTE:
            items = [Item(e.recv_ns, e.conn, e.seq, e.n, marketdata.encode(e)) for e in minute_of_events(kind, minute)]
            await store.create(NormalizedKey("v1", FEED, kind, SYMBOL, minute_ns).key, pack(items))
        await store.create(QualityKey("v1", FEED, minute_ns).key, encode(replace(record, minute=minute_ns)))


def environment() -> Environment:
    storage = StorageEntry(BucketEntry("ssmd-bench-raw"), BucketEntry("ssmd-bench-normalized"))
    return Environment("ssmd/v1", "Environment", Metadata("bench"), Spec({}, storage))


class Bench:
    def __init__(self, folder: Path) -> None:
        store = LedgerCache(local_store(folder))
        self.broker = MemoryBroker()
        source = DialEachTime(MemoryDialer(self.broker))
        now_ns = START_NS + (MINUTES + 120) * NS_PER_MINUTE
        archive = Archive(store, source, "bench", now=lambda: now_ns)
        self.catalog = Catalog(Feeds(environment(), source, store, lambda: now_ns), store, lambda: now_ns)
        self.history = History(archive, self.catalog)
        self.rows = 0

    async def download(self, kind: EventType, form: str) -> tuple[float, float, int]:
        """Return seconds to the first byte and to the last, and the bytes."""
        query = rows_query(kind, self._given(("format", form)), Headers(), START_NS)
        begin_s = time.perf_counter()
        resolved = await self.catalog.resolve(ANYBODY, query.which, kind)
        first_s, size = 0.0, 0
        async for piece in await self.history.download(query, resolved, self._count):
            first_s = first_s or time.perf_counter() - begin_s
            size += len(piece)
        return first_s, time.perf_counter() - begin_s, size

    def _count(self, _series: object, rows: int) -> None:
        self.rows += rows

    async def page(self, kind: EventType, cursor: str | None) -> tuple[float, str | None, int]:
        more = [("cursor", cursor)] if cursor else []
        query = rows_query(kind, self._given(*more), Headers(), START_NS)
        begin_s = time.perf_counter()
        resolved = await self.catalog.resolve(ANYBODY, query.which, kind)
        answer = await self.history.page(query, resolved)
        following = answer.page.next
        return time.perf_counter() - begin_s, encode_cursor(following) if following else None, len(answer.page.rows)

    @staticmethod
    def _given(*more: tuple[str, str]) -> list[tuple[str, str]]:
        end_ns = START_NS + MINUTES * NS_PER_MINUTE
        return [("symbol", SYMBOL), ("start", str(START_NS)), ("end", str(end_ns)), *more]


async def one_format(folder: Path, form: str) -> None:
    """Download a day of each type and print a row each."""
    for kind, count in PER_MINUTE.items():
        bench = await opened(folder)
        first_s, whole_s, size = await bench.download(kind, form)
        if bench.rows != count * MINUTES:
            sys.exit(f"{bench.rows} rows of {kind}, {count * MINUTES} were stored")
        rate = f"{first_s:8.2f} s {whole_s:7.2f} s {bench.rows / whole_s:10,.0f}"
        print(f"{form:9}{kind:6}{rate} {size / 1e6:8.1f} MB {peak_mb():6.0f} MB", flush=True)


async def pages(folder: Path) -> None:
    bench, cursor = await opened(folder), None
    times: list[float] = []
    for _ in range(PAGES):
        took_s, cursor, _ = await bench.page("trade", cursor)
        times.append(1_000 * took_s)
    times.sort()
    print(f"page of 1,000 trades: median {times[len(times) // 2]:.0f} ms, worst {times[-1]:.0f} ms, {peak_mb():.0f} MB")


async def opened(folder: Path) -> Bench:
    bench = Bench(folder)
    async with MemoryDialer(bench.broker).connect() as bus:
        await bus.ensure_stream(StreamSpec("marketdata", ("md.>",), 1 << 20, 60))
    return bench


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        trio.run(store_day, Path(name))
        print("format   type first byte   whole     rows/s       size   peak memory", flush=True)
        for part in (*FORMATS[1:], "pages"):
            subprocess.run([sys.executable, "-m", "bench.history", part, name], check=True)


def main() -> None:
    if len(sys.argv) != 3:
        run()
    elif sys.argv[1] == "pages":
        trio.run(pages, Path(sys.argv[2]))
    else:
        trio.run(one_format, Path(sys.argv[2]), sys.argv[1])


if __name__ == "__main__":
    main()
