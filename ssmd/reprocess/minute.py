"""Run one minute of raw data through a decoder: its events as messages by series, and what was wrong on the way."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Final

import trio

from ssmd.clock import NS_PER_MINUTE
from ssmd.codec import blocks, marketdata, raw
from ssmd.codec.packing import Item, Series, once
from ssmd.errors import BadRecord
from ssmd.model import Book, Event, EventType, Quote, Trade, type_of
from ssmd.protocols.decoder import EMPTY, FeedDecoder
from ssmd.protocols.quality import Figures, MinuteFold, Tally, added
from ssmd.records import FrameLine, Record
from ssmd.reprocess.raw_index import MAX_LINE_BYTES, MAX_RAW_BYTES, RawMinute, RawPart
from ssmd.reprocess.report import Problem
from ssmd.store.base import Store

BLOCK_BYTES: Final = 256 << 10
"""Decoded at a time: memory is bounded, and the loop is asked often enough whether there is something else to do."""

LINES_TOGETHER: Final = 100
"""Each stage runs over so many lines before the next one does, a tenth faster than line by line. With many more there
would be so many new objects at a time that Python searched them for garbage again and again, which cost 1.5 µs a line."""

_TYPE_OF: Final[dict[type, EventType]] = {Trade: "trade", Quote: "quote", Book: "book"}


class MinuteRun:
    """Reads the raw objects of a minute in order. Nothing is kept of it but the messages of this one minute."""

    def __init__(self, minute: RawMinute, decoder: FeedDecoder, *, keeps: bool) -> None:
        self.problems: list[Problem] = []
        self.trade_ids: dict[str, list[str]] = {}
        """The ids of the trades that were published, by symbol."""
        self.tallies: list[tuple[RawPart, Tally]] = []
        """What came of each raw object."""
        self.notes = 0
        self._minute = minute
        self._decoder = decoder
        self._reader = raw.LineReader(decoder.frame_type)
        self._keeps = keeps
        self._items: dict[type, defaultdict[str, list[Item]]] = {kind: defaultdict(list) for kind in _TYPE_OF}
        self._fold = MinuteFold(decoder.counts)
        self._lines = self._notes = self._unreadable = self._elsewhere = 0
        self._first_unreadable = 0

    async def run(self, store: Store) -> None:
        """Read everything there is; what cannot be read becomes a problem. Raises StoreDown."""
        for part in self._minute.parts:
            body = await store.read(part.key.key)
            if body is None:
                self._problem(part, "missing_object", "it was listed, but is not there")
            else:
                await self._read_part(part, body)

    def series(self) -> Iterator[tuple[Series, list[Item]]]:
        """Give each series with its messages in the archive's order, each identity once."""
        items = {
            Series(_TYPE_OF[kind], symbol): some
            for kind, by_symbol in self._items.items()
            for symbol, some in by_symbol.items()
        }
        for series in sorted(items):
            yield series, once(sorted(items[series]))

    @property
    def figures(self) -> Figures:
        return added([tally.figures for _, tally in self.tallies])

    def _problem(self, part: RawPart, kind: str, detail: str) -> None:
        self.problems.append(Problem(part.key.key, kind, detail))

    async def _read_part(self, part: RawPart, body: bytes) -> None:
        manifest = part.manifest
        if manifest is not None and sha256(body).hexdigest() != manifest.sha256:
            self._problem(part, "hash_mismatch", f"{len(body)} bytes are not those of its manifest")
        self._fold = MinuteFold(self._decoder.counts)
        self._lines = self._notes = self._unreadable = self._elsewhere = 0
        await self._read_lines(part, body)
        self.tallies.append((part, self._fold.tally(self._decoder.counts)))
        self.notes += self._notes
        if self._unreadable:
            self._problem(part, "unreadable_line", f"{self._unreadable}, the first is line {self._first_unreadable}")
        if self._elsewhere:
            self._problem(part, "wrong_minute", f"{self._elsewhere} events of another minute are left out")
        counts = (self._lines - self._notes, self._notes)
        if manifest is not None and counts != (manifest.frames, manifest.events):
            found, said = "{} frames and {} notes".format(*counts), f"{manifest.frames} and {manifest.events}"
            self._problem(part, "count_mismatch", f"{found}, the manifest says {said}")

    async def _read_lines(self, part: RawPart, body: bytes) -> None:
        pieces: list[bytes] = []
        size = 0
        try:
            for piece in blocks.iter_decompress(body, MAX_RAW_BYTES):
                pieces.append(piece)
                size += len(piece)
                if size >= BLOCK_BYTES + len(pieces[0]):
                    pieces = [self._feed_whole(pieces)]
                    size = len(pieces[0])
                    if size > MAX_LINE_BYTES:
                        raise BadRecord(f"a line of more than {MAX_LINE_BYTES} bytes")  # noqa: TRY301
                    await trio.lowlevel.checkpoint()
        except BadRecord as error:
            self._problem(part, "torn", str(error))
            self._feed_whole(pieces)
        else:
            if rest := self._feed_whole(pieces):
                self._problem(part, "torn", f"it ends within a line, {len(rest)} bytes of it are there")

    def _feed_whole(self, pieces: list[bytes]) -> bytes:
        """Decode the whole lines and return what stands behind the last of them."""
        whole, newline, rest = b"".join(pieces).rpartition(b"\n")
        if newline:
            lines = whole.split(b"\n")
            for at in range(0, len(lines), LINES_TOGETHER):
                self._feed(lines[at : at + LINES_TOGETHER])
        return rest

    def _feed(self, lines: list[bytes]) -> None:
        records = self._reader.read(lines)
        feed, feed_line = self._decoder.feed, self._decoder.feed_line
        events: list[Event] = []
        for at, record in enumerate(records):
            decoded = feed_line(record) if isinstance(record, FrameLine) else feed(record)
            if decoded is None:
                records[at] = again = raw.read_line(lines[at])
                decoded = feed(again)
            if decoded is not EMPTY:
                events += decoded.events
        self._fold.take_all(records)
        for number, record in enumerate(records, self._lines + 1):
            if record.frame is None:
                self._look_at(record.conn, number, is_note=isinstance(record, Record) and record.note is not None)
        self._lines += len(lines)
        if self._keeps:
            self._keep(events)

    def _look_at(self, conn: str, number: int, *, is_note: bool) -> None:
        self._notes += is_note
        if conn == raw.UNREADABLE:
            self._unreadable += 1
            self._first_unreadable = number if self._unreadable == 1 else self._first_unreadable

    def _keep(self, events: Sequence[Event]) -> None:
        encode, items_of = marketdata.encode, self._items
        begin_ns, end_ns = self._minute.minute_ns, self._minute.minute_ns + NS_PER_MINUTE
        for event in events:
            try:
                payload = encode(event)
            except BadRecord:
                self._fold.reject_event(type_of(event))
                continue
            if not begin_ns <= event.recv_ns < end_ns:
                self._elsewhere += 1
                continue
            items_of[type(event)][event.symbol].append(Item(event.recv_ns, event.conn, event.seq, event.n, payload))
            if type(event) is Trade:
                self.trade_ids.setdefault(event.symbol, []).append(event.trade_id)
