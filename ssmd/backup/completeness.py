"""Up to which minute a feed is all there: raw objects sealed, ledger records filed, events archived.

Known from the store alone, without a clock. A ledger record is filed once the raw object is stored and the normalizer
has passed it, and says how many events came of it; so a minute whose archived objects hold that many is over. Each
writer seals, normalizes and archives in order, hence what is missing in an older minute is not on its way: it is
missing, and `ssmd verify` says so here as there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct

from ssmd.archive.shortfall import MinuteCounts, events_made
from ssmd.backup.inventory import Reach
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.model import EVENT_TYPES
from ssmd.protocols.manifest import Manifest
from ssmd.protocols.quality import decode_record
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.keys import (
    QualityKey,
    RawKey,
    day_prefix,
    quality_prefix,
    raw_prefix,
)

LOOK_BACK_DAYS: Final = 3
"""Days with raw data. If nothing of them is complete, it is not known what is on its way."""

GOES_ALONG_NS: Final = 10 * NS_PER_MINUTE
"""A version with records as new as that is waited for, for example a second normalizer beside the first one."""

State = Literal["complete", "idle", "open"]
"""idle: nothing had to be archived, so the minute tells nothing about how far the archive has come."""


class _Day(Struct, frozen=True):
    """The raw objects of a day that have a manifest, by minute, and which of them have a record in which version."""

    pairs: Mapping[int, Sequence[RawKey]]
    recorded: Mapping[str, frozenset[RawKey]]


async def reach_of(store: Store, feed: str) -> Reach:
    """Return which minutes of a feed there are, and which are complete. Look before listing what is to be copied."""
    days = await _days(store, feed)
    if not days:
        return Reach(feed)
    oldest = await _pairs(store, days[0])
    recent = [await _day(store, feed, day) for day in days[: -LOOK_BACK_DAYS - 1 : -1]]
    search = _Search(store, _begun(recent))
    for day in recent:
        await search.look(day)
    return Reach(feed, min(oldest, default=None), search.raw_through, search.complete_through)


def _begun(recent: Sequence[_Day]) -> dict[str, int]:
    """Return since when each version goes along: those whose newest record is about as new as any."""
    minutes: dict[str, list[int]] = {}
    for day in recent:
        for version, recorded in day.recorded.items():
            minutes.setdefault(version, []).extend(key.minute_ns for key in recorded)
    found = {version: each for version, each in minutes.items() if each}
    newest = max(map(max, found.values()), default=0)
    return {version: min(each) for version, each in found.items() if max(each) >= newest - GOES_ALONG_NS}


class _Search:
    """Goes back from the newest minute to the last one that is complete, and on for writers that are behind it."""

    def __init__(self, store: Store, begun: Mapping[str, int]) -> None:
        self.raw_through: int | None = None
        self._store = store
        self._begun = begun
        self._found: int | None = None
        self._idle: int | None = None
        """The newest of the idle minutes right above; they are complete if the one below them is."""
        self._newer: list[QualityKey] = []
        """Records of what was passed already, newest first."""
        self._passed: set[str] = set()
        """The writers of those that were read so far."""

    @property
    def complete_through(self) -> int | None:
        return self._idle if self._found is None else self._found

    async def look(self, day: _Day) -> None:
        for minute in sorted(day.pairs, reverse=True):
            pairs = day.pairs[minute]
            self.raw_through = minute if self.raw_through is None else self.raw_through
            if not self._begun:
                return  # without a ledger nothing is known
            if await self._is_on_its_way(day, pairs):
                self._found = self._idle = None
            elif self._found is None:
                self._take(minute, await self._state(day, pairs))
            for version, recorded in day.recorded.items():
                self._newer += [QualityKey.of(version, pair) for pair in pairs if pair in recorded]

    def _take(self, minute: int, state: State) -> None:
        if state == "open":
            self._idle = None
        elif self._idle is None:
            self._idle = minute
        if state == "complete":
            self._found = self._idle

    async def _is_on_its_way(self, day: _Day, pairs: Sequence[RawKey]) -> bool:
        """Tell whether a record is missing whose writer has filed none of a later object."""
        known = frozenset[RawKey]().union(*day.recorded.values())
        for pair in pairs:
            if pair not in known and not await self._has_passed(await _writer(self._store, pair)):
                return True
        return False

    async def _has_passed(self, writer: str) -> bool:
        while writer not in self._passed and self._newer:
            text = await self._store.read(self._newer.pop(0).key)
            try:
                self._passed.add(decode_record(text or b"").writer)
            except BadRecord:
                continue
        return writer in self._passed

    async def _state(self, day: _Day, pairs: Sequence[RawKey]) -> State:
        """Return the worst state of the versions that go along in this minute."""
        versions = [version for version, begun in self._begun.items() if begun <= pairs[0].minute_ns]
        states: set[State] = set()
        for version in versions:
            is_recorded = day.recorded.get(version, frozenset()).issuperset(pairs)
            states.add(await self._state_in(version, pairs) if is_recorded else "open")
        return "open" if "open" in states or not states else "complete" if "complete" in states else "idle"

    async def _state_in(self, version: str, pairs: Sequence[RawKey]) -> State:
        try:
            records = [decode_record(await self._store.read(QualityKey.of(version, pair).key) or b"") for pair in pairs]
        except BadRecord:
            return "open"
        made = events_made(records)
        if not any(made.values()):
            return "idle"
        archived = await MinuteCounts(self._store, version, pairs[0].feed).of(pairs[0].minute_ns)
        if any(made[kind] and archived[kind] != made[kind] for kind in EVENT_TYPES):
            return "open"
        return "complete"


async def _days(store: Store, feed: str) -> list[str]:
    """Return the prefixes of the days with raw data, oldest first."""
    years = await store.folders(raw_prefix(feed))
    return [day for year in years for month in await store.folders(year) for day in await store.folders(month)]


async def _pairs(store: Store, day: str) -> dict[int, list[RawKey]]:
    """Return the raw objects of a day that have a manifest, by minute."""
    names = {meta.key for meta in await store.list(day)}
    found: dict[int, list[RawKey]] = {}
    for name in names:
        try:
            key = RawKey.parse(name)
        except BadRecord:
            continue
        if key.manifest in names:
            found.setdefault(key.minute_ns, []).append(key)
    return found


async def _day(store: Store, feed: str, day: str) -> _Day:
    pairs = await _pairs(store, day)
    recorded: dict[str, frozenset[RawKey]] = {}
    if pairs:
        for folder in await store.folders("quality/"):
            version = folder.rstrip("/").rpartition("/")[2]
            prefix = day_prefix(quality_prefix(version, feed), min(pairs))
            recorded[version] = frozenset(_raws_of(await store.list(prefix)))
    return _Day(pairs, recorded)


def _raws_of(records: Sequence[ObjectMeta]) -> Iterator[RawKey]:
    for meta in records:
        try:
            yield QualityKey.parse(meta.key).raw
        except BadRecord:
            continue


async def _writer(store: Store, pair: RawKey) -> str:
    try:
        return msgspec.json.decode(await store.read(pair.manifest) or b"", type=Manifest).writer
    except msgspec.MsgspecError:
        return ""
