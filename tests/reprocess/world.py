"""Raw data of some minutes as live capture would have stored them: two shards, reconnects, faults; seeded."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import groupby
from random import Random

import msgspec

from ssmd.clock import NS_PER_MINUTE, NS_PER_S, minute_of
from ssmd.codec import blocks, raw
from ssmd.codec.marketdata import encode
from ssmd.codec.packing import Item, Series, once, pack
from ssmd.model import type_of
from ssmd.protocols.decoder import VERSIONS, Versions
from ssmd.protocols.manifest import Manifest, RecordName
from ssmd.records import Configured, Connected, Disconnected, FeedConfig, Live, Note, Predecessor, Record, SymbolSpec
from ssmd.reprocess import normalize
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, RawKey
from tests.protocols.recorded import VenueBook, ticker, trade
from tests.protocols.recorded import frame as frame_of

FEED = "kraken"
START_NS = 1_765_029_600 * NS_PER_S  # 2025-12-06T14:00:00Z
SHARDS = (("BTC/USD", "ETH/USD"), ("SOL/USD",))


class _Shard:
    """One slot: its connections one after another."""

    def __init__(self, slot: int, names: Sequence[str], interval_ms: int) -> None:
        self.slot = slot
        self.names = names
        self.config = FeedConfig(
            tuple(SymbolSpec(n, n.replace("/", ""), "l2") for n in names), book_interval_ms=interval_ms
        )
        self.count = 0
        self.conn = ""
        self.seq = 0
        self.last: Predecessor | None = None
        self.books: dict[str, VenueBook] = {}


class World:
    """`records` in the order of capture, and what is stored of them."""

    def __init__(self, minutes: int, seed: int = 7, frames_per_minute: int = 60, interval_ms: int = 100) -> None:
        self.minutes = minutes
        self.end_ns = START_NS + minutes * NS_PER_MINUTE
        self.records: list[Record] = []
        self.lines: list[tuple[int, bytes]] = []
        self.reconnects: set[tuple[int, int]] = set()
        self._random = Random(seed)
        self._ids = iter(range(1, 1 << 40))
        self._frames_per_minute = frames_per_minute
        self._shards = [_Shard(slot, names, interval_ms) for slot, names in enumerate(SHARDS)]

    def capture(self, *reconnects: tuple[int, int], crash_at: int | None = None) -> "World":
        """Make all records. reconnects: (minute, shard). crash_at: a minute in which everything dies unsaid."""
        for shard in self._shards:
            self._connect(shard, START_NS + shard.slot)
        for minute in range(self.minutes):
            step_ns = NS_PER_MINUTE // (self._frames_per_minute + 1)
            for number in range(self._frames_per_minute):
                at_ns = START_NS + minute * NS_PER_MINUTE + (number + 1) * step_ns
                if number == self._frames_per_minute // 2:
                    self._break_off(minute, at_ns - step_ns // 2, reconnects, crash_at)
                shard = self._random.choice(self._shards)
                self._frame(shard, at_ns, self._say(shard))
        return self

    def _break_off(self, minute: int, at_ns: int, reconnects: Iterable[tuple[int, int]], crash_at: int | None) -> None:
        for shard in self._shards:
            if (minute, shard.slot) in reconnects:
                note = Disconnected("reset", "", shard.last.recv_ns)
                self._note(shard, at_ns, note)
                self._connect(shard, at_ns + 1)
            elif minute == crash_at:
                self._connect(shard, at_ns + 1)

    def _connect(self, shard: _Shard, at_ns: int) -> None:
        shard.count += 1
        shard.conn, shard.seq = f"boot-{shard.slot}-{shard.count}", 0
        self._note(shard, at_ns, Connected("wss://x", shard.last))
        self._note(shard, at_ns, Configured(shard.config))
        self._note(shard, at_ns, Live(tuple(s.symbol for s in shard.config.symbols)))
        shard.books = {name: VenueBook(name) for name in shard.names}
        for name in shard.names:
            self._frame(shard, at_ns + 2, shard.books[name].snapshot())

    def _say(self, shard: _Shard) -> str:
        name = self._random.choice(shard.names)
        book = shard.books[name]
        match self._random.randrange(20):
            case 0 | 1:
                return frame_of("trade", "update", *(trade(next(self._ids), name) for _ in range(2)))
            case 2 | 3:
                return frame_of("ticker", "update", ticker(name, f"{self._random.randrange(90, 99)}.5"))
            case 4 if self._random.random() < 0.2:
                return '{"channel":"book","type":"update","data":[{"symbol":7}]}'
            case 5:
                return '{"channel":"heartbeat"}'
            case 6 if self._random.random() < 0.1:
                return book.update({"100.0": "1.00000000"}, checksum=1)
        return book.update({f"{100 - self._random.randrange(9)}.0": f"{self._random.randrange(1, 99)}.00100000"})

    # records -------------------------------------------------------------------------------------------------

    def _note(self, shard: _Shard, at_ns: int, note: Note) -> None:
        record = Record(at_ns, shard.conn, shard.seq, note=note)
        self._add(shard, record, raw.encode_note(at_ns, shard.conn, shard.seq, note))

    def _frame(self, shard: _Shard, at_ns: int, text: str) -> None:
        self._add(shard, *raw.frame_record(at_ns, shard.conn, shard.seq, text))

    def _add(self, shard: _Shard, record: Record, line: bytes) -> None:
        shard.last = Predecessor(shard.conn, shard.seq, record.recv_ns)
        shard.seq += 1
        self.records.append(record)
        self.lines.append((record.recv_ns, line))

    # what is stored of it ------------------------------------------------------------------------------------

    async def store_raw(
        self, store: Store, *, edit: Callable[[int, bytes], bytes | None] = lambda _, body: body
    ) -> None:
        """Store each minute and its manifest. edit: (number of the minute, object) -> what is stored; None: nothing."""
        previous = None
        for minute_ns, group in groupby(self.lines, lambda line: minute_of(line[0])):
            lines = [line for _, line in group]
            body = blocks.compress(b"".join(lines))
            key = RawKey(FEED, minute_ns)
            first, last = (raw.decode_line(line) for line in (lines[0], lines[-1]))
            notes = sum(raw.decode_line(line).note is not None for line in lines)
            manifest = Manifest(
                key.key, FEED, "w", minute_ns, len(lines) - notes, notes, sum(map(len, lines)), len(body),
                sha256(body).hexdigest(), previous, RecordName(first.conn, first.seq, first.recv_ns),
                RecordName(last.conn, last.seq, last.recv_ns), (),
            )  # fmt: skip
            text = msgspec.json.encode(manifest) + b"\n"
            previous = sha256(text).hexdigest()
            stored = edit((minute_ns - START_NS) // NS_PER_MINUTE, body)
            if stored is not None:
                await store.create(key.key, stored)
                await store.create(key.manifest, text)

    def expected(
        self, version: str = "v1", from_minute: int = 0, to_minute: int | None = None, versions: Versions = VERSIONS
    ) -> dict[str, bytes]:
        """Return the objects that one decoder over all records gives for these minutes."""
        events = normalize(FEED, version, self.records, versions=versions)
        items: dict[tuple[int, Series], list[Item]] = {}
        for event in events:
            item = Item(event.recv_ns, event.conn, event.seq, event.n, encode(event))
            items.setdefault((minute_of(event.recv_ns), Series(type_of(event), event.symbol)), []).append(item)
        low, high = START_NS + from_minute * NS_PER_MINUTE, START_NS + (to_minute or self.minutes) * NS_PER_MINUTE
        return {
            NormalizedKey(version, FEED, series.type, series.symbol, at).key: pack(once(sorted(some)))
            for (at, series), some in items.items()
            if low <= at < high
        }

    async def store_live(self, store: Store, version: str = "v1") -> None:
        for key, body in self.expected(version).items():
            await store.create(key, body)


async def archive(store: Store, version: str = "v1") -> dict[str, bytes]:
    """Return every normalized object of a version."""
    prefix = f"normalized/{version}/{FEED}/"
    found = [meta.key for meta in await store.list(prefix) if meta.key.endswith(".zst")]
    return {key: await store.read(key) or b"" for key in found}
