"""What the gateway's history costs: `make bench ARGS=history`, and `ARGS=history-s3` with the archive far away.

A day with a ledger record for each minute: time to the first byte and rows/s in each format, and short answers. Each
format runs in a process of its own, so that its memory is its own. Nothing of HTTP is in it. On S3 the day is one of
three symbols in an archive of a year, each request takes 25 ms more, and is counted; an answer is asked for twice,
first by a gateway that has seen nothing yet.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from random import Random

import msgspec
import trio

from bench.s3 import METHODS, FarServer, far_server
from bench.stored_day import FEED, MINUTES, PER_MINUTE, START_NS, SYMBOLS, store_day_now
from ssmd.archive.remembering import RememberingStore
from ssmd.bus.base import StreamSpec
from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.clock import NS_PER_MINUTE
from ssmd.environment.spec import BucketEntry, Environment, Metadata, Spec, StorageEntry
from ssmd.gateway.access import Grant, Principal
from ssmd.gateway.cursor import encode_cursor
from ssmd.gateway.history.catalog import Catalog
from ssmd.gateway.history.feeds import Feeds
from ssmd.gateway.history.link import DialEachTime
from ssmd.gateway.history.plan import Span
from ssmd.gateway.history.reader import Archive
from ssmd.gateway.history.service import History
from ssmd.gateway.query import FORMATS, Headers, Which, rows_query
from ssmd.model import EventType
from ssmd.store.base import Store
from ssmd.store.objects import local_store
from ssmd.trees.role_process import role_environment

SYMBOL = SYMBOLS[0]
END_NS = START_NS + MINUTES * NS_PER_MINUTE
NOW_NS = END_NS + 120 * NS_PER_MINUTE
PAGES = 30
ANYBODY = Principal("bench", "non-display", (Grant(FEED, ("*",)),))


def environment() -> Environment:
    storage = StorageEntry(BucketEntry("ssmd-bench-raw"), BucketEntry("ssmd-bench-normalized"))
    return Environment("ssmd/v1", "Environment", Metadata("bench"), Spec({}, storage))


class Bench:
    """A gateway's history that has seen nothing yet."""

    def __init__(self, place: Store) -> None:
        store = RememberingStore(place, lambda: NOW_NS)
        self.broker = MemoryBroker()
        source = DialEachTime(MemoryDialer(self.broker))
        archive = Archive(store, source, "bench", now=lambda: NOW_NS, settled=store.settled)
        self.catalog = Catalog(Feeds(environment(), source, store, lambda: NOW_NS), store, lambda: NOW_NS)
        self.history = History(archive, self.catalog)
        self.rows = 0

    async def download(self, kind: EventType, form: str) -> tuple[float, float, int]:
        """Return seconds to the first byte and to the last, and the bytes."""
        query = rows_query(kind, day(("format", form)), Headers(), START_NS)
        begin_s = time.perf_counter()
        resolved = await self.catalog.resolve(ANYBODY, query.which, kind)
        first_s, size = 0.0, 0
        async for piece in await self.history.download(query, resolved, self._count):
            first_s = first_s or time.perf_counter() - begin_s
            size += len(piece)
        return first_s, time.perf_counter() - begin_s, size

    def _count(self, _series: object, rows: int) -> None:
        self.rows += rows

    async def page(self, kind: EventType, given: Sequence[tuple[str, str]]) -> str | None:
        """Ask for one page; return where the next one begins."""
        query = rows_query(kind, given, Headers(), NOW_NS)
        resolved = await self.catalog.resolve(ANYBODY, query.which, kind)
        answer = await self.history.page(query, resolved)
        if not answer.page.rows:
            sys.exit(f"no rows of {kind} for {given}")
        return encode_cursor(answer.page.next) if answer.page.next else None

    async def symbols(self) -> None:
        rows = await self.catalog.rows(ANYBODY, None)
        edges = [await self.catalog.edges(row.series[0], row.version) for row in rows]
        if {one.last_ns for one in edges} != {END_NS}:
            sys.exit(f"symbols end at {edges}")

    async def gaps(self) -> None:
        resolved = await self.catalog.resolve(ANYBODY, Which((SYMBOL,)), None)
        quality = await self.history.quality(resolved, Span(START_NS, END_NS))
        if quality.coverage.verified != MINUTES:
            sys.exit(f"coverage is {quality.coverage}")


def day(*more: tuple[str, str]) -> list[tuple[str, str]]:
    return [("symbol", SYMBOL), ("start", str(START_NS)), ("end", str(END_NS)), *more]


async def one_format(place: "Place", form: str) -> None:
    """Download a day of each type and print a row each."""
    for kind, count in PER_MINUTE.items():
        bench, before = await opened(place), await place.counts()
        first_s, whole_s, size = await bench.download(kind, form)
        if bench.rows != count * MINUTES:
            sys.exit(f"{bench.rows} rows of {kind}, {count * MINUTES} were stored")
        rate = f"{first_s:8.2f} s {whole_s:7.2f} s {bench.rows / whole_s:10,.0f}"
        asked = told(before, await place.counts())
        print(f"{form:9}{kind:6}{rate} {size / 1e6:8.1f} MB {peak_mb():6.0f} MB   {asked}", flush=True)


async def pages(place: "Place") -> None:
    bench, cursor = await opened(place), None
    times: list[float] = []
    before = await place.counts()
    for _ in range(PAGES):
        begin_s = time.perf_counter()
        cursor = await bench.page("trade", day(*([("cursor", cursor)] if cursor else [])))
        times.append(1_000 * (time.perf_counter() - begin_s))
    times.sort()
    asked = told(before, await place.counts())
    print(
        f"{PAGES} pages of 1,000 trades, one after the other: median {times[len(times) // 2]:.0f} ms, worst {times[-1]:.0f} ms,"
        f" {peak_mb():.0f} MB   {asked}",
        flush=True,
    )


async def short_answers(place: "Place") -> None:
    """Ask for what takes few rows, each first of a gateway that has seen nothing and then once more of the same one."""
    random = Random(7)

    def at_random(rows: int) -> list[tuple[str, str]]:
        start_ns = START_NS + random.randrange(MINUTES - 60) * NS_PER_MINUTE
        return [("symbol", SYMBOL), ("start", str(start_ns)), ("end", str(END_NS)), ("limit", str(rows))]

    asking: dict[str, Callable[[Bench], Awaitable[object]]] = {
        "page of 100 at a random time": lambda bench: bench.page("trade", at_random(100)),
        "page of 1,000 at a random time": lambda bench: bench.page("trade", at_random(1_000)),
        "last=100": lambda bench: bench.page("trade", [("symbol", SYMBOL), ("last", "100")]),
        "book at a moment": lambda bench: bench.page("book", [("symbol", SYMBOL), ("at", str(END_NS - 10**9))]),
        "symbols with first and last": lambda bench: bench.symbols(),
        "gaps of a day": lambda bench: bench.gaps(),
    }
    print(
        "answer                                first      requests                    again      requests", flush=True
    )
    for name, ask in asking.items():
        bench = await opened(place)
        shown = [await timed(place, lambda bench=bench, ask=ask: ask(bench)) for _ in range(2)]
        print(f"{name:34}{shown[0]:40}{shown[1]}", flush=True)


async def timed(place: "Place", ask: Callable[[], Awaitable[object]]) -> str:
    before, begin_s = await place.counts(), time.perf_counter()
    await ask()
    took_ms = 1_000 * (time.perf_counter() - begin_s)
    return f"{took_ms:6.0f} ms   {told(before, await place.counts())}"


def told(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    return " ".join(f"{after.get(method, 0) - before.get(method, 0)} {method}" for method in METHODS if after)


async def opened(place: "Place") -> Bench:
    bench = Bench(place.store())
    async with MemoryDialer(bench.broker).connect() as bus:
        await bus.ensure_stream(StreamSpec("marketdata", ("md.>",), 1 << 20, 60))
    return bench


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Place:
    """Where the day is, as a word for a process: a folder or a server."""

    def __init__(self, word: str) -> None:
        self._folder = Path(word) if word.startswith("/") else None
        self._server = None if self._folder else msgspec.json.decode(word, type=FarServer)

    def store(self) -> Store:
        return local_store(self._folder) if self._server is None else self._server.far()

    async def counts(self) -> Mapping[str, int]:
        return {} if self._server is None else await self._server.counts()


def run() -> None:
    with tempfile.TemporaryDirectory() as name:
        store_day_now(local_store(Path(name)), (SYMBOL,), is_grown=False)
        measure(name, "pages")


def run_s3() -> None:
    with tempfile.TemporaryDirectory() as name, far_server(Path(name)) as server:
        store_day_now(server.near(), SYMBOLS, is_grown=True)
        measure(msgspec.json.encode(server).decode(), "pages", "short")


def measure(word: str, *others: str) -> None:
    print("format   type first byte   whole     rows/s       size   peak memory", flush=True)
    for part in (*FORMATS[1:], *others):
        argv = [sys.executable, "-m", "bench.history", part, word]
        subprocess.run(argv, check=True, env=role_environment())  # memory is given back as in the gateway's process


def main() -> None:
    if len(sys.argv) != 3:
        run()
        return
    part, place = sys.argv[1], Place(sys.argv[2])
    match part:
        case "pages":
            trio.run(pages, place)
        case "short":
            trio.run(short_answers, place)
        case _:
            trio.run(one_format, place, part)


if __name__ == "__main__":
    main()
