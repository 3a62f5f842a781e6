"""Count whether the archive has every event that was made, minute by minute, and mark the minutes where it has not.

A minute's ledger record says how many events came of it, and is filed only after all of them were published. So once
everything that the stream had at that time is archived, what is still missing will not come: the stream's limits took
it, or the stream was lost. The raw data has it.
"""

from contextlib import suppress
from itertools import islice
from typing import Final

import trio
from msgspec import Struct

from ssmd import metrics
from ssmd.actors.batcher import ArchiveFeed
from ssmd.actors.stock_book import Kept, StockBook
from ssmd.archive.digest import bind_day
from ssmd.archive.position import BUCKET, Position, decode_position, encode_position
from ssmd.archive.shortfall import (
    NS_PER_DAY,
    NS_PER_HOUR,
    MinuteCounts,
    Shortfall,
    made_by,
    put_mark,
    shortfall_of,
)
from ssmd.bus.base import BusDialer
from ssmd.clock import NowNs, now_ns
from ssmd.errors import BadRecord
from ssmd.log import get_logger
from ssmd.model import EVENT_TYPES
from ssmd.store.base import Store
from ssmd.store.keys import QualityKey, ShortfallKey, day_prefix, quality_prefix

PACE_S: Final = 30.0
WHOLE_EVERY: Final = 20
"""Looks, until it looks at all days and at marked minutes again."""
RECENT_NS: Final = 2 * NS_PER_HOUR
"""Records of this time are expected: yesterday is looked at, too, until so long after midnight."""
MARKS_AGAIN: Final = 60
"""So many marked minutes are looked at again, the newest ones."""


class Stock(Struct, frozen=True):
    """What is counted. position_key: under which it is remembered how far."""

    position_key: str
    kept: Kept = Kept()


class Stocktaker:
    """Everything may be repeated: a mark says the same again. What was counted is remembered beside the stream."""

    def __init__(
        self, archive: ArchiveFeed, stock: Stock, dialer: BusDialer, store: Store, now: NowNs = now_ns
    ) -> None:
        self._version, self._feed = archive.edition.version, archive.edition.feed
        self._label = archive.edition.label
        self._blocking = archive.blocking
        self._progress = archive.progress
        self._stock = stock
        self._dialer = dialer
        self._store = store
        self._now = now
        self._draining = trio.Event()
        self._book = StockBook(None, stock.kept)
        self._marked: set[int] = set()
        self._bound: set[int] = set()
        self._looked_s = 0.0
        self._log = get_logger(feed=self._feed, version=self._version, actor="stocktaker")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Count until drained. Raises BusDown or StoreDown, both outages."""
        task_status.started()
        await self._take_up()
        looks = 0
        while not self._draining.is_set():
            await self._look(is_whole=looks % WHOLE_EVERY == WHOLE_EVERY - 1)
            looks += 1
            with trio.move_on_after(PACE_S):
                await self._draining.wait()

    def drain(self) -> None:
        self._draining.set()

    async def _look(self, *, is_whole: bool) -> None:
        """See which records there are, count what can be counted, and write down how far that is."""
        await self._list(is_whole=is_whole)
        counts = MinuteCounts(self._store, self._version, self._feed, self._blocking)
        for minute_ns in self._book.ripe(self._progress.passed_s):
            if self._draining.is_set():
                break
            if self._book.is_ripe(minute_ns, self._progress.passed_s):  # no record of it has come meanwhile
                await self._count(minute_ns, counts)
            if trio.current_time() - self._looked_s > PACE_S:  # a first count takes long
                await self._write_position()
                await self._list(is_whole=False)
                counts = MinuteCounts(self._store, self._version, self._feed, self._blocking)
        if is_whole:
            await self._look_at_marks()
            await self._bind_days()
        await self._write_position()

    async def _list(self, *, is_whole: bool) -> None:
        keys = await self._recorded(is_whole=is_whole)
        self._looked_s = trio.current_time()  # not before: what was filed while the store listed is younger than that
        for key in keys:
            self._book.note(key, self._looked_s)

    async def _recorded(self, *, is_whole: bool) -> list[QualityKey]:
        """Return the records of the window, or of its end, and note the marks there."""
        found: list[QualityKey] = []
        now_ns = self._now()
        begins_ns = self._book.begins_ns(now_ns)
        first_ns = begins_ns if is_whole else max(begins_ns, min(now_ns - RECENT_NS, self._book.through_ns))
        for day_ns in range(first_ns // NS_PER_DAY * NS_PER_DAY, now_ns, NS_PER_DAY):
            for meta in await self._store.list(day_prefix(quality_prefix(self._version, self._feed), day_ns)):
                with suppress(BadRecord):
                    found.append(QualityKey.parse(meta.key))
                with suppress(BadRecord):
                    self._marked.add(ShortfallKey.parse(meta.key).minute_ns)
        return [key for key in found if begins_ns <= key.minute_ns <= now_ns]

    # one minute ----------------------------------------------------------------------------------------------

    async def _count(self, minute_ns: int, counts: MinuteCounts) -> None:
        """Compare a minute of the archive with the records that were seen, also those that were counted before."""
        made = await made_by(self._store, self._book.keys(minute_ns))
        stored = self._progress.stored(minute_ns)
        if minute_ns in self._marked or any(stored[kind] != made[kind] for kind in EVENT_TYPES):
            found = Shortfall(self._version, self._feed, minute_ns, made, await counts.of(minute_ns))
            if found.missing:
                await self._mark(found)
            elif minute_ns in self._marked:
                await self._unmark(minute_ns)
        self._book.counted(minute_ns, self._progress.take(minute_ns), self._progress.created_ns)

    async def _mark(self, shortfall: Shortfall) -> None:
        self._marked.add(shortfall.minute)
        if not await put_mark(self._store, shortfall):
            return  # it was known
        metrics.ARCHIVER_UNARCHIVED.labels(self._label).inc(shortfall.missing)
        self._log.error(
            "minute_not_archived_whole",
            minute=shortfall.minute,
            missing=shortfall.missing,
            made=shortfall.made,
            archived=shortfall.archived,
            hint="the raw data has them: `ssmd reprocess` with this version fills the minute",
        )

    async def _look_at_marks(self) -> None:
        """Take marks away where the archive has everything by now, whoever has brought it."""
        counts = MinuteCounts(self._store, self._version, self._feed, self._blocking)
        for minute_ns in list(islice(sorted(self._marked, reverse=True), MARKS_AGAIN)):
            found = await shortfall_of(self._store, self._version, self._feed, minute_ns, counts)
            if any(found.made.values()) and not found.missing:
                await self._unmark(minute_ns)

    async def _unmark(self, minute_ns: int) -> None:
        await self._store.delete(ShortfallKey(self._version, self._feed, minute_ns).key)
        self._marked.discard(minute_ns)
        self._log.info("minute_archived_whole", minute=minute_ns)

    async def _bind_days(self) -> None:
        """Bind the records of each day that is over and counted."""
        now_ns = self._now()
        begins_ns = self._book.begins_ns(now_ns)
        for day_ns in range(-(-begins_ns // NS_PER_DAY) * NS_PER_DAY, now_ns - NS_PER_DAY - RECENT_NS, NS_PER_DAY):
            if self._book.is_counted(day_ns) and day_ns not in self._bound:
                if await bind_day(self._store, self._version, self._feed, day_ns):
                    self._log.info("day_bound", day=day_ns)
                self._bound.add(day_ns)

    # how far -------------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        """Go on where an earlier process was."""
        async with self._dialer.connect() as bus:
            entry = await bus.kv_get(BUCKET, self._stock.position_key)
        written: Position | None = None
        try:
            written = None if entry is None else decode_position(entry.value or b"")
        except BadRecord as error:
            self._log.warning("position_unreadable", error=str(error))
        self._book = StockBook(written, self._stock.kept)
        self._book.take_up(await self._recorded(is_whole=True), trio.current_time())

    async def _write_position(self) -> None:
        position = self._book.position(self._now())
        if position is not None and position != self._book.written:
            async with self._dialer.connect() as bus:
                await bus.kv_put(BUCKET, self._stock.position_key, encode_position(position))
            self._book.written = position
