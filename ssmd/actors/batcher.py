"""Collect a feed's events from the stream by receive minute and store each minute once, as immutable objects."""

from collections.abc import Sequence
from typing import Final

import trio

from ssmd import metrics
from ssmd.actors.archive_progress import ArchiveProgress
from ssmd.actors.edition import Edition
from ssmd.actors.minute import NEVER_NS, Minute
from ssmd.blocking import Blocking, in_thread
from ssmd.bus.base import Bus, BusDialer, Consumer, Incoming, StreamSpec
from ssmd.clock import NS_PER_MINUTE, NS_PER_S, NowNs, minute_of, now_ns
from ssmd.codec import marketdata
from ssmd.codec.packing import Identity, Item, Series, identities, pack
from ssmd.errors import AlreadyStored, BadRecord, StoreDown
from ssmd.log import get_logger
from ssmd.store.base import Store
from ssmd.store.key_rules import MAX_PART
from ssmd.store.keys import NormalizedKey
from ssmd.supervisor import HealthBoard

FETCH_LIMIT: Final = 1_000
FETCH_WITHIN_S: Final = 1.0
GRACE_NS: Final = 2 * NS_PER_S
"""How far a later message must be past a minute's end; several connections do not arrive in perfect order."""
QUIET_S: Final = 5.0
"""A minute behind which nothing follows is closed by the clock, after the stream was silent for so long."""
LATE_HOLD_S: Final = 5.0
"""So long what comes late for a minute is collected: each time it is stored it takes one of the 100 parts of a minute."""
AHEAD_NS: Final = 600 * NS_PER_S
"""What is dated further in the future tells nothing about how far its feed has come."""
ASK_EVERY_S: Final = 10.0
"""How often the batcher asks how far the stream goes, and whether anything of it is left."""


class ArchiveFeed:
    """What is archived: one edition, from its stream into its version of the archive; packed by `blocking`."""

    def __init__(self, edition: Edition, stream: StreamSpec, blocking: Blocking = in_thread) -> None:
        self.edition = edition
        self.stream = stream
        self.blocking = blocking
        self.progress = ArchiveProgress()
        """What was done, for the stocktaker: this object outlives each batcher."""
        self.probe = f"normalized/{edition.version}/{edition.feed}/probe"
        """A key that holds nothing: asking for it tells whether the store answers."""


class Batcher:
    """Messages are acknowledged only after their objects are stored, so a crash makes them come again.

    A minute that comes again, or late, goes to the next part without what the earlier parts hold already.
    """

    def __init__(
        self, archive: ArchiveFeed, dialer: BusDialer, store: Store, board: HealthBoard, now: NowNs = now_ns
    ) -> None:
        self._archive = archive
        self._dialer = dialer
        self._store = store
        self._check = board.check("nats")
        self._store_check = board.check("store")
        self._now = now
        self._progress = archive.progress
        self._log = get_logger(feed=archive.edition.feed, version=archive.edition.version, actor="batcher")
        self._draining = False
        self._minutes: dict[int, Minute] = {}
        self._newest_ns = 0
        self._arrived_s = 0.0
        self._last_stream_seq = 0
        self._acked_stream_seq = 0
        self._asked_s = float("-inf")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Archive until drained, then store what is there. Raises BusDown or StoreDown, both outages."""
        task_status.started()
        archive = self._archive
        try:
            async with self._dialer.connect() as bus:
                await bus.ensure_stream(archive.stream)
                async with bus.consume(
                    archive.stream.name, archive.edition.durable, archive.edition.subjects
                ) as consumer:
                    self._check.ok()
                    self._progress.begin()
                    self._note_discarded(consumer.discarded)
                    await self._probe_store()
                    await self._follow(bus, consumer)
        finally:
            self._check.fail("not connected")

    def _note_discarded(self, count: int) -> None:
        """Say what the stream's limits took before it was archived; the raw data has it, a reprocess brings it back."""
        if count:
            metrics.ARCHIVER_DISCARDED.labels(self._archive.edition.label).inc(count)
            self._log.error("stream_discarded_unarchived", at_most=count, stream=self._archive.stream.name)

    def drain(self) -> None:
        self._draining = True

    async def _probe_store(self) -> None:
        """Tell at the start whether the store answers; only storing needs that it does."""
        try:
            await self._store.head(self._archive.probe)
        except StoreDown as error:
            self._store_check.fail(str(error))
        else:
            self._store_check.ok()

    async def _follow(self, bus: Bus, consumer: Consumer) -> None:
        while True:
            await self._ask_how_far(bus, consumer)
            messages = await consumer.fetch(FETCH_LIMIT, FETCH_WITHIN_S)
            for message in messages:
                self._take(message)
            self._arrived_s = trio.current_time() if messages else self._arrived_s
            self._report_lag()  # before storing: while the store is away, nobody comes past it
            is_all = not messages or messages[-1].pending == 0
            if self._draining and is_all:
                await self._store_minutes(consumer, NEVER_NS)
                return
            await self._store_minutes(consumer, self._closed_before_ns())
            self._report_lag()

    async def _ask_how_far(self, bus: Bus, consumer: Consumer) -> None:
        """Learn how far the stream goes: once that is archived, the stocktaker may count what was made until now."""
        at_s = trio.current_time()
        if at_s - self._asked_s < ASK_EVERY_S:
            return
        self._asked_s = at_s
        usage = await bus.usage(self._archive.stream.name)
        if usage is None:  # deleted: the next fetch finds out
            return
        self._progress.stream_ends(at_s, usage.last_seq, usage.created_ns)
        if await consumer.left() == 0:
            self._progress.nothing_left(at_s)

    def _take(self, message: Incoming) -> None:
        self._last_stream_seq = message.stream_seq
        try:
            series, header = self._read(message)
        except BadRecord as error:
            metrics.ARCHIVER_POISON.labels(self._archive.edition.label).inc()
            self._log.error("message_unreadable", subject=message.subject, id=message.message_id, error=str(error))
            return
        minute_ns = minute_of(header.recv_ns)
        minute = self._minutes.get(minute_ns) or self._begin(minute_ns, message.stream_seq)
        if not minute.is_ahead:
            self._newest_ns = max(self._newest_ns, header.recv_ns)
        minute.add(series, header, message.payload)
        minute.last_stream_seq = message.stream_seq

    def _begin(self, minute_ns: int, stream_seq: int) -> Minute:
        is_ahead = minute_ns > self._now() + AHEAD_NS
        is_over = minute_ns + NS_PER_MINUTE <= self._newest_ns - GRACE_NS
        held_until_s = trio.current_time() + LATE_HOLD_S if is_over or is_ahead else float("-inf")
        self._minutes[minute_ns] = minute = Minute(stream_seq, held_until_s, is_ahead=is_ahead)
        return minute

    def _read(self, message: Incoming) -> tuple[Series, marketdata.Header]:
        series = self._series_of(message.subject)
        header = marketdata.header(series.type, message.payload)
        if header.symbol != series.symbol:
            raise BadRecord(f"subject {message.subject!r} carries the symbol {header.symbol!r}")
        return series, header

    def _series_of(self, subject: str) -> Series:
        """Return what a subject is about; it will become part of a key."""
        series = self._archive.edition.series_of(subject)
        if series is None:
            raise BadRecord(
                f"subject {subject!r} is none of {self._archive.edition.subjects}: <type>.<symbol> must follow"
            )
        return Series(*series)

    def _closed_before_ns(self) -> int:
        """Return the time before which no more messages are expected.

        Record time decides. Only a silent stream lets the clock close the last minute: while a connector catches up,
        old minutes come in pieces, and the clock would cut each piece into a part of its own.
        """
        closed_ns = self._newest_ns - GRACE_NS
        if trio.current_time() - self._arrived_s < QUIET_S:
            return closed_ns
        return max(closed_ns, self._now() - int(QUIET_S * NS_PER_S))

    def _report_lag(self) -> None:
        oldest_ns = min((minute.oldest_ns for minute in self._minutes.values()), default=self._now())
        metrics.ARCHIVER_LAG.set(max(0.0, (self._now() - oldest_ns) / NS_PER_S))

    # storing -------------------------------------------------------------------------------------------------

    async def _store_minutes(self, consumer: Consumer, closed_before_ns: int) -> None:
        at_s = float("inf") if closed_before_ns == NEVER_NS else trio.current_time()
        closed = [
            minute_ns
            for minute_ns, minute in self._minutes.items()
            if (minute_ns + NS_PER_MINUTE <= closed_before_ns or minute.is_ahead) and minute.held_until_s <= at_s
        ]
        for minute_ns in sorted(closed):
            await self._store_minute(minute_ns)
            del self._minutes[minute_ns]
        await self._acknowledge(consumer)

    async def _store_minute(self, minute_ns: int) -> None:
        try:
            for series, items in self._minutes[minute_ns].series():
                await self._store_series(series, minute_ns, items)
        except StoreDown as error:
            self._store_check.fail(str(error))
            raise
        self._progress.ends(minute_ns, self._minutes[minute_ns].last_stream_seq)
        self._store_check.ok()

    async def _acknowledge(self, consumer: Consumer) -> None:
        """Acknowledge everything in front of the oldest message that is still held."""
        oldest = min((minute.first_stream_seq for minute in self._minutes.values()), default=self._last_stream_seq + 1)
        if oldest - 1 > self._acked_stream_seq:
            await consumer.ack_through(oldest - 1)
            self._acked_stream_seq = oldest - 1
            self._progress.acknowledged(oldest - 1)

    async def _store_series(self, series: Series, minute_ns: int, items: Sequence[Item]) -> None:
        edition = self._archive.edition
        part = 0
        while items:
            if part > MAX_PART:
                raise StoreDown(f"minute {minute_ns} of {series.type} {series.symbol} has {part} parts already")
            key = NormalizedKey(edition.version, edition.feed, series.type, series.symbol, minute_ns, part)
            body = await self._archive.blocking(pack, items)
            try:
                is_new = await self._store.create(key.key, body)
            except AlreadyStored:
                stored = await self._stored(key)
                items = [item for item in items if item.identity not in stored]
                part += 1
                continue
            if is_new:
                self._count(key, items, len(body))
            break

    async def _stored(self, key: NormalizedKey) -> set[Identity]:
        body = await self._store.read(key.key) or b""
        return await self._archive.blocking(identities, key.type, body)

    def _count(self, key: NormalizedKey, items: Sequence[Item], size_bytes: int) -> None:
        feed = self._archive.edition.label
        self._log.debug("object_stored", key=key.key, events=len(items))
        self._progress.add(key.minute_ns, key.type, len(items))
        metrics.ARCHIVED.labels(feed, key.type).inc(len(items))
        metrics.OBJECTS_STORED.labels(feed).inc()
        metrics.ARCHIVER_BYTES_WRITTEN.labels("normalized").inc(size_bytes)
