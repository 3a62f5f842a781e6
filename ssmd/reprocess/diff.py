"""Compare two versions of the archive by identity, each day of each series by itself, in one or several processes.

The report is put together in a fixed order, so it is the same for any number of processes.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import partial

import trio
from msgspec import Struct, field

from ssmd.errors import ConfigError
from ssmd.model import EVENT_TYPES, EventType, is_token
from ssmd.reprocess.day_diff import MAX_PROBLEMS, DayDiff, Example, SeriesDay, SeriesDiff, Wanted, compare_day
from ssmd.reprocess.processes import OpenStore, in_processes
from ssmd.reprocess.raw_index import NS_PER_DAY
from ssmd.reprocess.report import Problem
from ssmd.reprocess.run import Plan, Unwatched, Watcher
from ssmd.store.base import Store
from ssmd.store.keys import normalized_prefix


class Comparison(Struct):
    """The report. minutes: of one series each; identical ones are equal byte for byte."""

    feed: str
    from_version: str
    to_version: str
    start_ns: int
    end_ns: int
    series: list[SeriesDiff] = field(default_factory=list)
    samples: list[Example] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    minutes: int = 0
    identical_minutes: int = 0

    @property
    def added(self) -> int:
        return sum(each.added for each in self.series)

    @property
    def removed(self) -> int:
        return sum(each.removed for each in self.series)

    @property
    def changed(self) -> int:
        return sum(each.changed for each in self.series)

    @property
    def events_from(self) -> int:
        return sum(each.old for each in self.series)

    @property
    def events_to(self) -> int:
        return sum(each.new for each in self.series)

    @property
    def is_equal(self) -> bool:
        return not (self.added or self.removed or self.changed or self.problems)


async def compare_versions(
    open_store: OpenStore, wanted: Wanted, watcher: Watcher | None = None, parallel: int = 1
) -> Comparison:
    """Return how two versions of a range differ. Raises ConfigError for a version that has nothing of the feed.

    Raises StoreDown, and WorkerLost when a process of several is killed: there is no report of a part.
    """
    store = open_store()
    series = await _series(store, wanted)
    starts = range(wanted.start_ns - wanted.start_ns % NS_PER_DAY, wanted.end_ns, NS_PER_DAY)
    days = [SeriesDay(wanted, kind, symbol, day_ns) for kind, symbol in series for day_ns in starts]
    watcher = watcher or Unwatched()
    watcher.planned(Plan(len(days), 0, len(days), 1))
    work = in_processes(open_store, parallel, compare_day) if parallel > 1 else partial(compare_day, store)
    found: dict[SeriesDay, DayDiff] = {}
    waiting = iter(days)

    async def compare_next() -> None:
        for day in waiting:  # shared: each day goes to one task
            found[day] = await work(day)
            watcher.advanced(1, 1, found[day].diff.old)

    async with trio.open_nursery() as nursery:
        for _ in range(parallel):
            nursery.start_soon(compare_next)
    return _report(wanted, [found[day] for day in days])


def _report(wanted: Wanted, days: Iterable[DayDiff]) -> Comparison:
    """Add up the days, which come ordered by series, then by time."""
    report = Comparison(wanted.feed, wanted.from_version, wanted.to_version, wanted.start_ns, wanted.end_ns)
    series: dict[tuple[str, str], SeriesDiff] = {}
    shown: dict[tuple[str, str, str], int] = {}
    for day in days:
        name = (day.diff.type, day.diff.symbol)
        series.setdefault(name, SeriesDiff(*name)).add(day.diff)
        for example in day.samples:
            count = shown[*name, example.kind] = shown.get((*name, example.kind), 0) + 1
            if count <= wanted.sample:
                report.samples.append(example)
        report.problems += day.problems
        report.minutes += day.minutes
        report.identical_minutes += day.identical_minutes
    report.series = [diff for diff in series.values() if diff.old or diff.new]
    del report.problems[MAX_PROBLEMS:]
    return report


async def _series(store: Store, wanted: Wanted) -> list[tuple[EventType, str]]:
    found: set[tuple[EventType, str]] = set()
    for version in (wanted.from_version, wanted.to_version):
        if not is_token(version):
            raise ConfigError(f"version is {version[:40]!r}; write one such as v1")
        here = await series_of(store, version, wanted.feed)
        if not here:
            raise ConfigError(f"there is nothing of feed {wanted.feed} in version {version}; it may have been pruned")
        found |= {(kind, symbol) for kind, symbol in here if fnmatchcase(symbol, wanted.symbols)}
    return sorted(found)


async def series_of(store: Store, version: str, feed: str) -> list[tuple[EventType, str]]:
    """Return every type and symbol that a version holds of a feed."""
    found: list[tuple[EventType, str]] = []
    for kind in EVENT_TYPES:
        folders = await store.folders(normalized_prefix(version, feed, kind))
        found += [(kind, folder.rstrip("/").rpartition("/")[2]) for folder in folders]
    return found
