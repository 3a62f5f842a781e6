"""Two minutes of a tiny exchange as the system would have kept them, to be damaged by the checker's tests."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import msgspec
from msgspec.structs import replace

from chaos.check import Verdict, check
from ssmd.actors.edition import Edition
from ssmd.actors.sealer import Manifest, Sealer
from ssmd.blocking import inline
from ssmd.clock import NS_PER_MINUTE, NS_PER_S, minute_of
from ssmd.codec import blocks, marketdata, raw
from ssmd.journal import Cursor, Journal, JournalLimits, Segment
from ssmd.model import Event, type_of
from ssmd.records import Configured, Connected, Disconnected, FeedConfig, Live, Note, Predecessor, Record, SymbolSpec
from ssmd.reprocess import normalize
from ssmd.store.keys import NormalizedKey, RawKey
from ssmd.store.memory import MemoryStore
from tests.protocols.recorded import VenueBook, trade
from tests.protocols.recorded import frame as frame_of

FEED = "kraken"
START_NS = 1_765_029_600 * NS_PER_S  # 2025-12-06T14:00:00Z
FRAMES = 30
BTC = SymbolSpec("BTC/USD", "BTCUSD", "l2")
LAST = RawKey(FEED, START_NS + NS_PER_MINUTE)
Lines = list[bytes]


class SmallWorld:
    """One connection per minute; the first one loses two frames at its end, in a recorded gap."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.ledger = folder / "ledger.jsonl"
        self.records: list[Record] = []
        self.sent: list[dict[str, object]] = []
        self._lines: list[tuple[int, bytes]] = []
        self._book = VenueBook()
        self._ids = iter(range(1, 1000))
        self._connection(0, START_NS + NS_PER_S, None)
        self.send(0, START_NS + 50 * NS_PER_S, self._trade())
        self.send(0, START_NS + 50 * NS_PER_S, self._trade())
        last = self.records[-1]
        self._note("c-0-1", last.seq + 1, START_NS + 51 * NS_PER_S, Disconnected("reset", "", last.recv_ns))
        self._connection(1, START_NS + NS_PER_MINUTE, Predecessor("c-0-1", last.seq + 1, last.recv_ns))
        self._directory = folder / FEED

    async def store_all(self) -> None:
        """Seal the raw lines and archive the events, as the system does."""
        self._directory.mkdir()
        for minute_ns, lines in groupby(self._lines, lambda line: minute_of(line[0])):
            (self._directory / Segment(minute_ns, 0).name).write_bytes(b"".join(line for _, line in lines))
        journal = Journal(self._directory, JournalLimits(), lambda: START_NS, inline)
        sealer = Sealer(Edition(FEED, "v1"), journal, Cursor(self._directory), self.store)
        sealer.drain()
        await sealer.run()
        series = lambda e: (type_of(e), e.symbol, minute_of(e.recv_ns))  # noqa: E731  # two uses, three lines apart
        events = sorted(normalize(FEED, "v1", self.records), key=lambda e: (*series(e), e.recv_ns, e.conn, e.seq, e.n))
        for (kind, symbol, minute_ns), some in groupby(events, series):
            key = NormalizedKey("v1", FEED, kind, symbol, minute_ns)
            self.store.objects[key.key] = blocks.compress(b"".join(map(marketdata.encode, some)))

    async def check(self) -> Verdict:
        self.ledger.write_text("".join(json.dumps(line) + "\n" for line in self.sent))
        return await check(self.store, FEED, self.ledger)

    # what happened -------------------------------------------------------------------------------------------

    def send(self, conn: int, sent_ns: int, frame: str, *, withheld: bool = False) -> None:
        n = sum(line["conn"] == conn for line in self.sent)
        self.sent.append({"conn": conn, "n": n, "sent_ns": sent_ns, "withheld": withheld, "frame": frame})

    def _connection(self, number: int, at_ns: int, after: Predecessor | None) -> None:
        conn = f"c-0-{number + 1}"
        head = (Connected("ws://x", after), Configured(FeedConfig((BTC,), book_interval_ms=0)), Live(("BTCUSD",)))
        for seq, note in enumerate(head):
            self._note(conn, seq, at_ns, note)
        self._send_all(number, conn, at_ns, len(head), self._frames())

    def reconnect(self, number: int, at_ns: int) -> None:
        """Connect anew, after the last record there is."""
        last = self.records[-1]
        self._book = VenueBook()
        self._connection(number, at_ns, Predecessor(last.conn, last.seq, last.recv_ns))

    def go_on(self, number: int, at_ns: int) -> None:
        """Let the last connection live on; at_ns: as if it had begun then."""
        last = self.records[-1]
        self._send_all(number, last.conn, at_ns - last.seq * NS_PER_S, last.seq + 1, list(self._frames())[1:])

    def _send_all(self, number: int, conn: str, at_ns: int, first_seq: int, frames: Iterable[str]) -> None:
        for seq, frame in enumerate(frames, first_seq):
            recv_ns = at_ns + seq * NS_PER_S
            self.send(number, recv_ns, frame)
            record, line = raw.frame_record(recv_ns, conn, seq, frame)
            self.records.append(record)
            self._lines.append((recv_ns, line))

    def _frames(self) -> Iterator[str]:
        yield self._book.snapshot()
        for number in range(FRAMES):
            yield self._trade() if number % 2 else self._book.update(bids={"100.0": f"{number + 1}.00100000"})

    def _trade(self) -> str:
        return frame_of("trade", "update", trade(next(self._ids)))

    def _note(self, conn: str, seq: int, at_ns: int, note: Note) -> None:
        self.records.append(Record(at_ns, conn, seq, note=note))
        self._lines.append((at_ns, raw.encode_note(at_ns, conn, seq, note)))

    # damage --------------------------------------------------------------------------------------------------

    def edit_raw(self, edit: Callable[[Lines], Lines], *, cover_up: bool, key: RawKey = LAST) -> None:
        """Change the lines of a raw object; cover_up: also make its manifest fit."""
        lines = blocks.decompress(self.store.objects[key.key], 1 << 20).splitlines(keepends=True)
        content = b"".join(edit(lines))
        body = self.store.objects[key.key] = blocks.compress(content)
        if cover_up:
            events = msgspec.json.decode(self.store.objects[key.manifest], type=Manifest).events
            self.edit_manifest(
                key,
                frames=content.count(b"\n") - events,
                raw_bytes=len(content),
                stored_bytes=len(body),
                sha256=sha256(body).hexdigest(),
            )

    def edit_manifest(self, key: RawKey, **changes: object) -> None:
        manifest = msgspec.json.decode(self.store.objects[key.manifest], type=Manifest)
        self.store.objects[key.manifest] = msgspec.json.encode(replace(manifest, **changes))

    def forget(self, minute: int, *, raw: bool, archive: bool) -> None:
        """Take a minute out of the store, as retention does."""
        at_ns = START_NS + minute * NS_PER_MINUTE
        key = RawKey(FEED, at_ns)
        gone = {key.key, key.manifest} if raw else set()
        if archive:
            names = [name for name in self.store.objects if name.endswith(".capnp.zst")]
            gone |= {name for name in names if NormalizedKey.parse(name).minute_ns == at_ns}
        for name in gone:
            del self.store.objects[name]

    def edit_archive(self, edit: Callable[[list[Event]], Sequence[Event]]) -> None:
        """Change the trades of the last minute."""
        key = NormalizedKey("v1", FEED, "trade", "BTCUSD", LAST.minute_ns).key
        events = list(marketdata.decode_many("trade", blocks.decompress(self.store.objects[key], 1 << 20)))
        self.store.objects[key] = blocks.compress(b"".join(map(marketdata.encode, edit(events))))
