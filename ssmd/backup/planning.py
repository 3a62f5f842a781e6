"""What of one day is to be copied. Held: the names of that day, here, in the place, and in the run before."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, field

from ssmd.backup.inventory import (
    UNDATED,
    Entry,
    Part,
    Reach,
    Run,
    read_part,
    unfinished_lists,
)
from ssmd.backup.walk import feed_of, key_time
from ssmd.errors import BadRecord
from ssmd.store.base import ObjectMeta, Store


class Todo(Struct, frozen=True):
    """One object to copy. known: what an earlier run stored of this key. is_there: that copy was seen in the place."""

    meta: ObjectMeta
    known: Entry | None = None
    is_there: bool = False


class DayPlan(Struct):
    """keeps: what need not even be read. gone: what the source no longer has. lost: nor does the place."""

    name: str
    keeps: list[Entry] = field(default_factory=list)
    todo: list[Todo] = field(default_factory=list)
    gone: int = 0

    @property
    def todo_bytes(self) -> int:
        return sum(each.meta.size_bytes for each in self.todo)


class Planner:
    """feeds: those that are backed up; what earlier runs listed of others stays listed as it is."""

    def __init__(self, source: Store, place: Store, before: Run | None, reaches: Mapping[str, Reach]) -> None:
        self._source = source
        self._place = place
        self._reaches = reaches
        self._parts: dict[str, Part] = {part.name: part for part in before.parts} if before else {}

    def names(self, days: Iterable[str]) -> list[str]:
        """Return every day that is here or in the run before, in order."""
        return sorted({*days, *self._parts, UNDATED})

    async def plan(self, name: str, prefixes: Sequence[str]) -> DayPlan:
        known = await self._known(name)
        here = [meta for prefix in prefixes for meta in await self._source.list(prefix)]
        there = {meta.key: meta.size_bytes for prefix in prefixes for meta in await self._place.list(prefix)}
        plan = DayPlan(name)
        for meta in wanted(here, self._reaches):
            entry = known.get(meta.key)
            is_there = entry is not None and await self._is_there(entry, there)
            if entry is not None and is_there and (entry.size_bytes, entry.etag) == (meta.size_bytes, meta.etag or ""):
                plan.keeps.append(entry)
            else:
                plan.todo.append(Todo(meta, entry, is_there))
        self._carry_over(plan, known.values(), {meta.key for meta in here})
        return plan

    def _carry_over(self, plan: DayPlan, known: Iterable[Entry], here: Collection[str]) -> None:
        """Keep what earlier runs listed of feeds that are not asked for; count what the source has lost of others."""
        for entry in known:
            feed = feed_of(entry.key)
            if feed is not None and feed not in self._reaches:
                plan.keeps.append(entry)
            elif feed is not None and entry.key not in here:
                plan.gone += 1

    async def _known(self, name: str) -> dict[str, Entry]:
        """Return what the run before has of a day; where it has nothing, what runs that never ended have."""
        part = self._parts.get(name)
        if part is not None:
            try:
                return {entry.key: entry for entry in await read_part(self._place, part)}
            except BadRecord:
                pass  # a damaged list is made anew from what there is
        return {entry.key: entry for entry in await unfinished_lists(self._place, name)}

    async def _is_there(self, entry: Entry, there: Mapping[str, int]) -> bool:
        if entry.place:
            found = await self._place.head(entry.place)
            return found is not None and found.size_bytes == entry.size_bytes
        return there.get(entry.key) == entry.size_bytes

    async def extras(self) -> dict[str, Entry]:
        """Return what the run before has of things that lie in no store."""
        return {key: entry for key, entry in (await self._known(UNDATED)).items() if feed_of(key) is None}


def wanted(here: Iterable[ObjectMeta], reaches: Mapping[str, Reach]) -> Iterator[ObjectMeta]:
    """Give what belongs into a backup: raw data in whole pairs, and what was made of it as far as it is complete.

    What was made of later raw data may be there in part. It would spoil a restored archive, and a restore makes it
    anew from the raw data, so it is left to the next run.
    """
    listed = list(here)
    names = {meta.key for meta in listed}
    for meta in listed:
        time = key_time(meta.key)
        reach = reaches.get(time.feed) if time is not None else None
        if time is None or reach is None or _is_wanted(meta.key, time.minute_ns, reach, names):
            yield meta


def _is_wanted(key: str, minute_ns: int, reach: Reach, names: Collection[str]) -> bool:
    if reach.raw_through is None:
        return not key.startswith("raw/")  # nothing is sealed, or nothing of it is kept any more
    if key.startswith("raw/"):  # the newest minute may be about to be sealed
        return minute_ns < reach.raw_through or (minute_ns == reach.raw_through and _other_half(key) in names)
    until = reach.raw_through if reach.complete_through is None else reach.complete_through
    return minute_ns <= until


def _other_half(key: str) -> str:
    object_end, manifest_end = ".jsonl.zst", ".manifest.json"
    if key.endswith(object_end):
        return key.removesuffix(object_end) + manifest_end
    return key.removesuffix(manifest_end) + object_end
