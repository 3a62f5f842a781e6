"""Count whether the archive has every event that was made, minute by minute, and mark the minutes where it has not.

A minute's ledger record says how many events came of it, and is filed only after all of them were published. So once
everything that the stream had at that time is archived, what is still missing will not come: the stream's limits took
it, or the stream was lost. The raw data has it.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import trio
from msgspec import Struct

from ssmd import metrics
from ssmd.actors.batcher import ArchiveFeed
from ssmd.archive.position import BUCKET, DAYS, DAYS_NS, Position, decode_position, encode_position
from ssmd.archive.shortfall import NS_PER_DAY, Events, Shortfall, count_archived, events_made, lacks, put_mark
from ssmd.bus.base import BusDialer
from ssmd.clock import NS_PER_MINUTE, NowNs, now_ns
from ssmd.errors import BadRecord
from ssmd.log import get_logger
from ssmd.model import EVENT_TYPES
from ssmd.protocols.quality import LedgerRecord, decode_record
from ssmd.store.base import Store
from ssmd.store.keys import QualityKey, ShortfallKey, day_prefix, quality_prefix

PACE_S: Final = 30.0
RETENTION_SLACK_NS: Final = 60 * NS_PER_MINUTE
"""Minutes that are deleted soon are left alone: what is gone by then would seem to be lost."""
OLD_DAYS_EVERY: Final = 20
"""Looks, until it looks at the days before today again: a record that comes so late is of a connector that was away."""


class Stock(Struct, frozen=True):
    """What is counted. position_key: under which it is remembered how far. kept_days: -1: retention takes nothing."""

    position_key: str
    kept_days: int = -1


class Stocktaker:
    """Everything may be repeated: a mark says the same again. What was counted is remembered beside the stream."""

    def __init__(
        self, archive: ArchiveFeed, stock: Stock, dialer: BusDialer, store: Store, now: NowNs = now_ns
    ) -> None:
        self._version, self._feed = archive.edition.version, archive.edition.feed
        self._label = archive.edition.label
        self._progress = archive.progress
        self._position_key = stock.position_key
        self._kept_ns = stock.kept_days * NS_PER_DAY - RETENTION_SLACK_NS if stock.kept_days > 0 else DAYS_NS
        self._dialer = dialer
        self._store = store
        self._now = now
        self._draining = trio.Event()
        self._records: dict[int, set[QualityKey]] = {}
        """By minute, all that were seen."""
        self._waiting: dict[int, float] = {}
        """Minutes that are not counted with all their records, and when (trio's clock) the newest was seen."""
        self._marked: set[int] = set()
        self._written: Position | None = None
        self._log = get_logger(feed=self._feed, version=self._version, actor="stocktaker")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Count until drained. Raises BusDown or StoreDown, both outages."""
        task_status.started()
        await self._take_up()
        looks = 0
        while not self._draining.is_set():
            await self.look(1 if looks % OLD_DAYS_EVERY else DAYS)
            looks += 1
            with trio.move_on_after(PACE_S):
                await self._draining.wait()

    def drain(self) -> None:
        self._draining.set()

    async def look(self, days: int = DAYS) -> None:
        """See which records there are, count what can be counted, and write down how far that is."""
        for day_ns in self._days(days):
            for key in await self._recorded(day_ns):
                if self._note(key):
                    self._waiting[key.minute_ns] = trio.current_time()
        ripe = [minute_ns for minute_ns, seen_s in self._waiting.items() if seen_s <= self._progress.passed_s]
        for minute_ns in sorted(ripe):
            if self._draining.is_set():
                break
            await self._count(minute_ns)
        await self._write_position()

    def _note(self, key: QualityKey) -> bool:
        """Remember a record; tell whether it is new."""
        known = self._records.setdefault(key.minute_ns, set())
        is_new = key not in known
        known.add(key)
        return is_new

    async def _recorded(self, day_ns: int) -> Sequence[QualityKey]:
        """Return the records of a day whose events retention leaves alone, and note the day's marks."""
        found: list[QualityKey] = []
        oldest_ns = self._now() - self._kept_ns
        for meta in await self._store.list(day_prefix(quality_prefix(self._version, self._feed), day_ns)):
            with suppress(BadRecord):
                found.append(QualityKey.parse(meta.key))
            with suppress(BadRecord):
                self._marked.add(ShortfallKey.parse(meta.key).minute_ns)
        return [key for key in found if key.minute_ns >= oldest_ns]

    def _days(self, days: int) -> range:
        today_ns = self._now() // NS_PER_DAY * NS_PER_DAY
        return range(today_ns - (days - 1) * NS_PER_DAY, today_ns + NS_PER_DAY, NS_PER_DAY)

    # one minute ----------------------------------------------------------------------------------------------

    async def _count(self, minute_ns: int) -> None:
        """Compare a minute of the archive with all of its records, also those that were counted before."""
        records = [await self._record(key) for key in self._records[minute_ns]]
        made = events_made(record for record in records if record is not None)
        archived = await self._archived(minute_ns, made)
        if missing := lacks(archived, made):
            await self._mark(Shortfall(self._version, self._feed, minute_ns, made, archived), missing)
        elif minute_ns in self._marked:
            await self._store.delete(ShortfallKey(self._version, self._feed, minute_ns).key)
            self._marked.discard(minute_ns)
        del self._waiting[minute_ns]
        self._progress.forget(minute_ns)

    async def _record(self, key: QualityKey) -> LedgerRecord | None:
        """Return a record; None for one that cannot be read: readers are told so by the ledger."""
        try:
            return decode_record(await self._store.read(key.key) or b"")
        except BadRecord:
            return None

    async def _archived(self, minute_ns: int, made: Events) -> Events:
        """Return what is archived: as this process remembers, and where that does not fit, as the store says."""
        stored = self._progress.stored(minute_ns)
        if all(stored[kind] == made[kind] for kind in EVENT_TYPES):
            return made
        return {
            kind: await count_archived(self._store, self._version, self._feed, kind, minute_ns) if made[kind] else 0
            for kind in EVENT_TYPES
        }

    async def _mark(self, shortfall: Shortfall, missing: int) -> None:
        await put_mark(self._store, shortfall)
        self._marked.add(shortfall.minute)
        metrics.ARCHIVER_UNARCHIVED.labels(self._label).inc(missing)
        self._log.error(
            "minute_not_archived_whole",
            minute=shortfall.minute,
            missing=missing,
            made=shortfall.made,
            archived=shortfall.archived,
            hint="the raw data has them: `ssmd reprocess` with this version fills the minute",
        )

    # how far -------------------------------------------------------------------------------------------------

    async def _take_up(self) -> None:
        """Go on where an earlier process was. A day that has more records than it had counted is counted again."""
        async with self._dialer.connect() as bus:
            entry = await bus.kv_get(BUCKET, self._position_key)
        try:
            self._written = None if entry is None else decode_position(entry.value or b"")
        except BadRecord as error:
            self._log.warning("position_unreadable", error=str(error))
        position = self._written or Position(0)
        self._records, self._waiting = {}, {}
        for day_ns in self._days(DAYS):
            known = [key for key in await self._recorded(day_ns) if key.minute_ns <= position.through_ns]
            if len(known) <= position.days.get(day_ns, 0):
                for key in known:
                    self._note(key)

    async def _write_position(self) -> None:
        position = self._position()
        if position is not None and position != self._written:
            async with self._dialer.connect() as bus:
                await bus.kv_put(BUCKET, self._position_key, encode_position(position))
            self._written = position

    def _position(self) -> Position | None:
        """Return how far everything is counted; None before anything is."""
        first_ns = max(min(self._days(DAYS)), self._now() - self._kept_ns)
        self._records = {minute: keys for minute, keys in self._records.items() if minute >= first_ns}
        self._waiting = {minute: seen_s for minute, seen_s in self._waiting.items() if minute >= first_ns}
        counted = self._records.keys() - self._waiting.keys()
        through_ns = max(counted, default=0 if self._written is None else self._written.through_ns)
        if self._waiting:
            through_ns = min(through_ns, min(self._waiting) - NS_PER_MINUTE)
        if not through_ns:
            return None
        days: dict[int, int] = {}
        for minute_ns in counted:
            if minute_ns <= through_ns:
                day_ns = minute_ns // NS_PER_DAY * NS_PER_DAY
                days[day_ns] = days.get(day_ns, 0) + len(self._records[minute_ns])
        return Position(through_ns, days)
