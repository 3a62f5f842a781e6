"""Share a range out: contiguous chunks of minutes, each with the raw data that its decoder must have seen before.

A decoder knows a connection's books only if it has read everything since the connection's `connected` note, so a chunk
begins to read there (warm-up) and begins to write at its own first minute. A later chunk pays for its warm-up, so
chunks are cut so that all workers end together, where possible right behind a reconnect.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from typing import Final

from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.reprocess.raw_index import (
    NS_PER_DAY,
    Life,
    Listing,
    RawMinute,
    connections_in,
    follow_notes,
    is_cut,
    list_minutes,
)
from ssmd.reprocess.report import Problem
from ssmd.store.base import Store

TRADE_IDS_WARM_UP_NS: Final = 10 * NS_PER_MINUTE
WARM_UP_COST: Final = 0.6
"""Of a minute that is only read, against one that is written as well (bench/reprocess.py)."""
CUTS: Final = 400
"""Places that are looked at for a cut."""
SEARCH_STEPS: Final = 30


class Step(Struct, frozen=True):
    """One minute of a chunk. is_fresh: forget everything before it. writes: False while it only warms up."""

    minute: RawMinute
    writes: bool
    is_fresh: bool = False


class Index(Struct):
    """What is known of the raw data of a range and of the time before it, as far back as needed."""

    start_ns: int
    end_ns: int
    minutes: list[RawMinute]
    lives: dict[str, Life]
    problems: list[Problem]
    taken: frozenset[str] = frozenset()
    """Connections whose beginning retention took with all that is older: nobody can tell any more what they said."""

    @property
    def in_range(self) -> list[RawMinute]:
        return [minute for minute in self.minutes if self.start_ns <= minute.minute_ns < self.end_ns]

    def warm_ns(self, at_ns: int) -> int:
        """Return from which minute on to read so that everything is known at `at_ns`."""
        began = [
            life.began_ns
            for life in self.lives.values()
            if life.began_ns is not None and life.began_ns < at_ns and (life.ended_ns is None or life.ended_ns >= at_ns)
        ]
        return minute_of(min([*began, at_ns - TRADE_IDS_WARM_UP_NS]))


async def read_index(store: Store, feed: str, start_ns: int, end_ns: int) -> Index:
    """Look at names, manifests and notes; back to the beginning of every connection that is alive at the start."""
    listed = await list_minutes(store, feed, start_ns, end_ns)
    before = await list_minutes(store, feed, start_ns - TRADE_IDS_WARM_UP_NS, start_ns)
    index = Index(start_ns, end_ns, before.minutes + listed.minutes, {}, listed.problems)
    await follow_notes(store, index.minutes, index.lives)
    await _find_beginnings(store, feed, index)
    await _find_ends(store, index)
    return index


async def _find_beginnings(store: Store, feed: str, index: Index) -> None:
    """Go back until the `connected` note of each connection that the range begins with was seen."""
    alive: set[str] = set()
    at = bisect_left(index.minutes, index.start_ns, key=_time)
    for minute in index.minutes[max(at - 1, 0) : at + 1]:
        alive |= await connections_in(store, minute)
    unknown = {conn for conn in alive if not _has_begun(index, conn)}
    day_end = index.start_ns - TRADE_IDS_WARM_UP_NS
    while unknown:
        day = day_end - 1 - (day_end - 1) % NS_PER_DAY
        listed = await list_minutes(store, feed, day, day_end)
        unknown = await _read_backwards(store, index, listed, unknown)
        if not listed.minutes:
            break
        day_end = day
    if unknown and await is_cut(store, feed, index.minutes[0]):
        index.taken = frozenset(unknown & await connections_in(store, index.minutes[0]))
    for conn in sorted(unknown):
        detail = (
            f"the raw data does not go back to where connection {conn} began: what it says is rejected until its end"
        )
        index.problems.append(Problem(f"connection {conn}", "begin_unknown", detail))


async def _read_backwards(store: Store, index: Index, listed: Listing, unknown: set[str]) -> set[str]:
    """Read the notes of a day from its end until nothing is unknown; return what still is."""
    for minute in reversed(listed.minutes):
        index.minutes.insert(0, minute)
        await follow_notes(store, [minute], index.lives)
        unknown = {conn for conn in unknown if not _has_begun(index, conn)}
        if not unknown:
            break
    return unknown


def _has_begun(index: Index, conn: str) -> bool:
    return conn in index.lives and index.lives[conn].began_ns is not None


async def _find_ends(store: Store, index: Index) -> None:
    """Find out when connections ended of whose end nobody wrote; else every later chunk would warm up from them."""
    for life in index.lives.values():
        if life.began_ns is None or life.ended_ns is not None:
            continue
        low, high = bisect_left(index.minutes, minute_of(life.began_ns), key=_time), len(index.minutes) - 1
        while low < high:  # it speaks in every minute up to its last one
            middle = (low + high + 1) // 2
            if life.conn in await connections_in(store, index.minutes[middle]):
                low = middle
            else:
                high = middle - 1
        if low < len(index.minutes) - 1:
            life.ended_ns = index.minutes[low].minute_ns + NS_PER_MINUTE - 1


# chunks ------------------------------------------------------------------------------------------------------


def chunks(index: Index, done: Collection[int], parallel: int) -> list[list[Step]]:
    """Return what each worker does, in order. Minutes that are done are read where a later one needs it."""
    wanted = [minute for minute in index.in_range if minute.minute_ns not in done]
    cuts = _cut(index, wanted, parallel)
    return [_steps(index, wanted[begin:end]) for begin, end in pairwise(cuts)]


def _steps(index: Index, wanted: Sequence[RawMinute]) -> list[Step]:
    steps: list[Step] = []
    at = 0  # minutes before this place have been read
    for minute in wanted:
        place = bisect_left(index.minutes, minute.minute_ns, key=_time)
        warm = bisect_left(index.minutes, index.warm_ns(minute.minute_ns), key=_time)
        is_fresh = not steps or warm > at
        first = warm if is_fresh else at
        steps += [Step(each, writes=False) for each in index.minutes[first:place]]
        steps.append(Step(minute, writes=True))
        if is_fresh:
            steps[-1 - (place - first)] = Step(index.minutes[first], writes=first == place, is_fresh=True)
        at = place + 1
    return steps


def _cut(index: Index, wanted: Sequence[RawMinute], parallel: int) -> list[int]:
    """Return the places in `wanted` where chunks begin, and its length: the longest chunk is as short as can be."""
    if not wanted:
        return [0]
    if parallel <= 1:
        return [0, len(wanted)]
    costs = _Costs(index, wanted)
    low, high = 0.0, costs.of(0, len(wanted))
    best = [0, len(wanted)]
    for _ in range(SEARCH_STEPS):
        limit = (low + high) / 2
        found = costs.share(parallel, limit)
        if found is None:
            low = limit
        else:
            best, high = found, limit
    return best


class _Costs:
    """What it costs to read and write the minutes between two places, in lines."""

    def __init__(self, index: Index, wanted: Sequence[RawMinute]) -> None:
        times = [minute.minute_ns for minute in index.minutes]
        read = [0, *accumulate(minute.lines + 1 for minute in index.minutes)]
        self._written = [0, *accumulate(minute.lines + 1 for minute in wanted)]
        every = max(1, len(wanted) // CUTS)
        fresh = {bisect_right(wanted, life.began_ns, key=_time) for life in index.lives.values() if life.began_ns}
        self._places = sorted({*range(0, len(wanted), every), *(place for place in fresh if place < len(wanted))})
        self._places.append(len(wanted))
        self._warm = {}
        for place in self._places[:-1]:
            at_ns = wanted[place].minute_ns
            warm = bisect_left(times, index.warm_ns(at_ns))
            self._warm[place] = WARM_UP_COST * (read[bisect_left(times, at_ns)] - read[warm])

    def of(self, begin: int, end: int) -> float:
        return self._warm[begin] + self._written[end] - self._written[begin]

    def share(self, parallel: int, limit: float) -> list[int] | None:
        """Return chunks none of which costs more, each reaching as far as it can; None if they are too many."""
        cuts = [0]
        while cuts[-1] < len(self._written) - 1:
            if len(cuts) > parallel:
                return None
            within = [place for place in self._places if place > cuts[-1] and self.of(cuts[-1], place) <= limit]
            if not within:
                return None
            if within[-1] == self._places[-1]:
                cuts.append(within[-1])
            else:
                cuts.append(max(within, key=lambda place: (limit - self._warm[place] + self._written[place], place)))
        return cuts


def _time(minute: RawMinute) -> int:
    return minute.minute_ns
