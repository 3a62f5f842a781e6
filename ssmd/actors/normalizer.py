"""Turn journal records into events, in order, and hand them to the publisher."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

import trio

from ssmd import metrics
from ssmd.actors.edition import Edition
from ssmd.actors.lineage import slot_of
from ssmd.actors.pipeline import Batch, Progress
from ssmd.actors.segment_tally import SegmentTally
from ssmd.bus.base import Outgoing
from ssmd.codec import marketdata
from ssmd.errors import BadRecord
from ssmd.journal import Checkpoints, Entry, JournalReader, Position, Readable, Tallies
from ssmd.log import get_logger
from ssmd.model import Event, message_id, type_of
from ssmd.protocols.outcome import Decoded, Decoder, Desync
from ssmd.protocols.quality import NOT_ENCODABLE
from ssmd.supervisor import Mailbox

READ_LIMIT: Final = 512

D = TypeVar("D", bound=Decoder)
BuildDecoder = Callable[[bytes | None], D]
Report = Callable[[], None]
BuildReport = Callable[[D], Report]


class NormalizerLinks:
    """What outlives the normalizer: where it reads, where it hands over, and whom it asks for a new book."""

    def __init__(
        self,
        journal: Readable,
        checkpoints: Checkpoints,
        progress: Progress,
        outbox: Mailbox[Batch],
        wishes: Sequence[Mailbox[Desync]],
    ) -> None:
        self.journal = journal
        self.checkpoints = checkpoints
        self.progress = progress
        self.outbox = outbox
        self.wishes = wishes


class Normalizer(Generic[D]):
    """Bad frames are counted and skipped; they never stop it. A restart finds its books by checkpoint and replay."""

    def __init__(
        self,
        edition: Edition,
        build_decoder: BuildDecoder[D],
        links: NormalizerLinks,
        build_report: BuildReport[D] | None = None,
    ) -> None:
        """build_report: what tells of the decoder's totals after each batch; None: CountsSeen."""
        self._edition = edition
        self._build_decoder = build_decoder
        self._links = links
        self._build_report = build_report or partial(CountsSeen, edition.label)
        self._log = get_logger(feed=edition.feed, version=edition.version, actor="normalizer")
        self._draining = False
        self._may_be_closed = True
        self._waiting: trio.CancelScope | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Decode until drained; then finish what the journal holds and close the outbox."""
        task_status.started()
        self._decoder = await self._restore()
        report = self._build_report(self._decoder)
        self._reader = JournalReader(self._links.journal, self._links.progress.position)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_up_when_closed)
            await self._follow(report)
            nursery.cancel_scope.cancel()
        await self._hand_over_closed()
        self._links.outbox.close()

    async def _follow(self, report: Report) -> None:
        while entries := await self._next():
            await self._links.outbox.room()
            self._links.outbox.offer(await self._step(entries))
            report()

    def drain(self) -> None:
        self._draining = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def _next(self) -> Sequence[Entry]:
        """Return the next records; nothing when drained and caught up."""
        while not self._draining:
            if self._may_be_closed and self._reader.caught_up():
                self._may_be_closed = False
                await self._hand_over_closed()
                continue  # drain() may have come meanwhile, and had nothing to cancel
            with trio.CancelScope() as self._waiting:
                return await self._reader.read(READ_LIMIT)
        await self._links.journal.look()
        if self._reader.caught_up():
            return ()
        return await self._reader.read(READ_LIMIT)

    async def _look_up_when_closed(self) -> None:
        """Interrupt the wait for records when a segment was closed: nothing may follow it for a long time."""
        while True:
            await self._links.journal.wait_closed()
            self._may_be_closed = True  # it may be busy, or behind
            if self._waiting is not None:
                self._waiting.cancel()

    async def _hand_over_closed(self) -> None:
        """Hand over the segment at hand if it is read to its end and will never grow."""
        closed = {segment.name for segment in self._links.journal.closed_segments()}
        if self._tally.segment in closed and self._reader.caught_up():
            await self._links.journal.blocking(self._tally.hand_over)

    async def _step(self, entries: Sequence[Entry]) -> Batch:
        messages: list[Outgoing] = []
        received: list[int] = []
        for entry in entries:
            record = entry.record
            if entry.segment != self._tally.segment:
                await self._enter(entry.segment)
            self._tally.fold.take(record.conn, record.seq)
            decoded = self._decoder.feed(record)
            if decoded.events:
                self._encode(decoded.events, messages, received)
            if decoded.desyncs or decoded.rejects:
                self._report(decoded)
        self._links.progress.position = entries[-1].position
        return Batch(entries[-1].position, tuple(messages), tuple(received), entries[0].record.recv_ns)

    async def _enter(self, segment: str) -> None:
        """Save what came of the segment before and the decoder's state, in front of a segment's first record.

        Both before the cursor can enter it: behind that, a restart does not read the segment before again.
        """
        await self._links.journal.blocking(self._tally.hand_over)
        await self._links.journal.blocking(self._links.checkpoints.save, segment, self._decoder.state())
        self._tally.begin(segment)

    def _encode(self, events: Sequence[Event], messages: list[Outgoing], received: list[int]) -> None:
        for event in events:
            try:
                payload = marketdata.encode(event)
            except BadRecord as error:
                metrics.REJECTS.labels(self._edition.label, NOT_ENCODABLE).inc()
                self._tally.fold.reject_event(type_of(event))
                self._log.warning("event_rejected", id=message_id(event), error=str(error))
                continue
            messages.append(Outgoing(self._edition.subject(event), payload, self._edition.message_id(event)))
            received.append(event.recv_ns)

    def _report(self, decoded: Decoded) -> None:
        for reject in decoded.rejects:
            self._log.warning("frame_rejected", conn=reject.conn, seq=reject.seq, reason=reject.reason)
        for desync in decoded.desyncs:
            metrics.RESYNCS.labels(self._edition.label, desync.reason).inc()
            self._log.warning("book_desynchronised", conn=desync.conn, symbol=desync.symbol, reason=desync.reason)
            slot = slot_of(desync.conn)
            if slot < len(self._links.wishes):
                self._links.wishes[slot].offer(desync)

    # finding the books again ---------------------------------------------------------------------------------

    async def _restore(self) -> D:
        """Return a decoder in the state it had behind the last record that was handed over."""
        start = self._links.progress.position or self._oldest()
        if start is None:
            return self._begin(self._build_decoder(None))
        self._links.progress.position = start
        segment, decoder = self._decoder_before(start.segment)
        replayed = await self._replay(self._begin(decoder), Position(segment, 0), start)
        self._log.info("books_restored", segment=segment, replayed=replayed)
        return decoder

    def _begin(self, decoder: D) -> D:
        self._tally = SegmentTally(Tallies(self._links.journal.directory), decoder, self._edition.version)
        return decoder

    def _oldest(self) -> Position | None:
        """Return where to begin without a cursor: the first segment, or the first behind it whose books are known."""
        links = self._links
        if not links.journal.segments:
            return None
        known = links.checkpoints.segments(links.journal.segments[-1].name)
        here = [segment.name for segment in links.journal.segments if segment.name in known]
        return Position(here[0], 0) if here else None

    def _decoder_before(self, segment: str) -> tuple[str, D]:
        """Return the newest decoder state at or before a segment that can be read, and the segment it belongs to.

        Without any, an empty decoder at the segment itself: then what its connections say until their end is rejected.
        """
        here = {each.name for each in self._links.journal.segments}
        for name in self._links.checkpoints.segments(segment):
            if name not in here:
                break  # its records are gone, so nothing can be replayed from there
            try:
                return name, self._build_decoder(self._links.checkpoints.load(name))
            except BadRecord as error:
                self._log.error("checkpoint_unreadable", segment=name, error=str(error))
        self._log.error("no_checkpoint", segment=segment)
        return segment, self._build_decoder(None)

    async def _replay(self, decoder: D, begin: Position, end: Position) -> int:
        """Feed what was handed over already; nothing comes of it a second time."""
        reader, replayed = JournalReader(self._links.journal, begin), 0
        at = begin
        while at < end:
            entries = await reader.read(READ_LIMIT)
            for entry in entries:
                if entry.position <= end:
                    if entry.segment != self._tally.segment:
                        self._tally.begin(entry.segment)
                    self._tally.repeat(entry.record, decoder.feed(entry.record))
                    replayed += 1
            at = entries[-1].position
        return replayed


class CountsSeen:
    """Carries the decoder's running totals into counters that only rise, over restarts of the decoder."""

    def __init__(self, feed: str, decoder: Decoder) -> None:
        self._feed = feed
        self._decoder = decoder
        self._last = decoder.counts.copy()

    def __call__(self) -> None:
        last, counts, feed = self._last, self._decoder.counts, self._feed
        metrics.CHECKSUMS.labels(feed, "verified").inc(counts.checksums_verified - last.checksums_verified)
        metrics.CHECKSUMS.labels(feed, "failed").inc(counts.checksums_failed - last.checksums_failed)
        metrics.DUPLICATE_TRADES.labels(feed).inc(counts.duplicates - last.duplicates)
        metrics.TRADE_ID_GAPS.labels(feed).inc(counts.trade_id_gaps - last.trade_id_gaps)
        for reason, total in counts.rejected.items():
            metrics.REJECTS.labels(feed, reason).inc(total - last.rejected.get(reason, 0))
        for symbol, total in counts.messages.items():
            metrics.MESSAGES_RECEIVED.labels(feed, symbol).inc(total - last.messages.get(symbol, 0))
        self._last = counts.copy()
