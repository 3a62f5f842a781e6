"""Compare two versions of the archive, minute by minute, by identity. Nothing is held but one minute of one series."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

import msgspec
import trio
from msgspec import Struct, field

from ssmd.codec import blocks, marketdata
from ssmd.codec.packing import MAX_OBJECT_BYTES, message_ends, messages
from ssmd.errors import BadRecord, ConfigError
from ssmd.model import EVENT_TYPES, Event, EventType, is_token, message_id
from ssmd.reprocess.raw_index import NS_PER_DAY
from ssmd.reprocess.report import Problem
from ssmd.reprocess.run import Plan, Unwatched, Watcher
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, normalized_day_prefix, normalized_prefix

READS_AT_ONCE: Final = 8
MAX_PROBLEMS: Final = 100


class Wanted(Struct, frozen=True):
    """What to compare. symbols: a glob. sample: how many events to show of each kind of difference and series."""

    feed: str
    from_version: str
    to_version: str
    start_ns: int
    end_ns: int
    symbols: str = "*"
    sample: int = 5


class Field(Struct, frozen=True):
    name: str
    old: object
    new: object


class Example(Struct, frozen=True):
    """One event that differs. kind: added, removed or changed."""

    kind: str
    type: EventType
    id: str
    recv_ns: int
    fields: tuple[Field, ...]


class SeriesDiff(Struct):
    """How one type of one symbol differs. fields: how often which one did."""

    type: EventType
    symbol: str
    old: int = 0
    new: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    fields: dict[str, int] = field(default_factory=dict)


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


async def compare_versions(store: Store, wanted: Wanted, watcher: Watcher | None = None) -> Comparison:
    """Return how two versions of a range differ. Raises ConfigError for a version that has nothing of the feed."""
    report = Comparison(wanted.feed, wanted.from_version, wanted.to_version, wanted.start_ns, wanted.end_ns)
    series = await _series(store, wanted)
    days = range(wanted.start_ns - wanted.start_ns % NS_PER_DAY, wanted.end_ns, NS_PER_DAY)
    watcher = watcher or Unwatched()
    watcher.planned(Plan(len(series) * len(days), 0, len(series) * len(days), 1))
    for kind, symbol in series:
        found = _SeriesComparison(store, wanted, SeriesDiff(kind, symbol))
        for day_ns in days:
            before = found.diff.old
            await found.compare_day(day_ns, report)
            watcher.advanced(1, 1, found.diff.old - before)
        if found.diff.old or found.diff.new:
            report.series.append(found.diff)
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


class _SeriesComparison:
    def __init__(self, store: Store, wanted: Wanted, diff: SeriesDiff) -> None:
        self.diff = diff
        self._store = store
        self._wanted = wanted
        self._shown = {"added": 0, "removed": 0, "changed": 0}

    async def compare_day(self, day_ns: int, report: Comparison) -> None:
        old, new = [await self._keys(v, day_ns) for v in (self._wanted.from_version, self._wanted.to_version)]
        minutes = sorted(old.keys() | new.keys())
        pairs: dict[int, _Pair] = {}
        for first in range(0, len(minutes), READS_AT_ONCE):  # so many minutes are held at a time
            some = minutes[first : first + READS_AT_ONCE]
            async with trio.open_nursery() as nursery:
                for minute in some:
                    pair = pairs[minute] = _Pair(self.diff.type, old.get(minute, []), new.get(minute, []))
                    nursery.start_soon(pair.read, self._store)
            for minute in some:
                self._take(pairs.pop(minute), report)

    async def _keys(self, version: str, day_ns: int) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        prefix = normalized_day_prefix(version, self._wanted.feed, self.diff.type, self.diff.symbol, day_ns)
        for meta in await self._store.list(prefix):
            key = NormalizedKey.parse(meta.key)
            if self._wanted.start_ns <= key.minute_ns < self._wanted.end_ns:
                found.setdefault(key.minute_ns, []).append(meta.key)
        return found

    def _take(self, pair: "_Pair", report: Comparison) -> None:
        report.minutes += 1
        report.identical_minutes += pair.is_identical
        try:
            differences = list(pair.differences(self.diff))
        except BadRecord as error:
            if len(report.problems) < MAX_PROBLEMS:
                report.problems.append(Problem((pair.old_keys + pair.new_keys)[0], "unreadable", str(error)))
            return
        for kind, old, new in differences:
            self._count(kind, old, new, report)

    def _count(self, kind: str, old: Event | None, new: Event | None, report: Comparison) -> None:
        diff, event = self.diff, new or old
        setattr(diff, kind, getattr(diff, kind) + 1)
        fields = _fields(old, new) if old and new else ()
        for each in fields:
            diff.fields[each.name] = diff.fields.get(each.name, 0) + 1
        if event is not None and self._shown[kind] < self._wanted.sample:
            self._shown[kind] += 1
            report.samples.append(Example(kind, diff.type, message_id(event), event.recv_ns, fields))


Difference = tuple[str, Event | None, Event | None]


class _Pair:
    """One minute of one series in both versions."""

    def __init__(self, kind: EventType, old_keys: list[str], new_keys: list[str]) -> None:
        self.old_keys = old_keys
        self.new_keys = new_keys
        self._kind: EventType = kind
        self._old: list[bytes] = []
        self._new: list[bytes] = []

    async def read(self, store: Store) -> None:
        self._old = [await store.read(key) or b"" for key in self.old_keys]
        self._new = [await store.read(key) or b"" for key in self.new_keys]

    @property
    def is_identical(self) -> bool:
        return self._old == self._new

    def differences(self, diff: SeriesDiff) -> Iterator[Difference]:
        """Count the events of both sides and give those that differ. Raises BadRecord for an object that is damaged."""
        if self.is_identical:
            count = sum(len(message_ends(blocks.decompress(body, MAX_OBJECT_BYTES))) for body in self._old)
            diff.old += count
            diff.new += count
            return
        old, new = self._messages(self._old), self._messages(self._new)
        diff.old += len(old)
        diff.new += len(new)
        yield from merge(self._kind, old, new)

    def _messages(self, bodies: Sequence[bytes]) -> list[bytes]:
        found = [message for body in bodies for message in messages(blocks.decompress(body, MAX_OBJECT_BYTES))]
        if len(bodies) > 1:  # parts are ordered within themselves only
            found.sort(key=lambda message: place(marketdata.decode(self._kind, message)))
        return found


def merge(kind: EventType, old: Sequence[bytes], new: Sequence[bytes]) -> Iterator[Difference]:
    """Give what differs between two ordered sequences of messages; equal bytes are never decoded."""
    i = j = 0
    while i < len(old) and j < len(new):
        if old[i] == new[j]:
            i, j = i + 1, j + 1
            continue
        was, now = marketdata.decode(kind, old[i]), marketdata.decode(kind, new[j])
        if place(was) == place(now):
            i, j = i + 1, j + 1
            if was != now:
                yield "changed", was, now
        elif place(was) < place(now):
            i += 1
            yield "removed", was, None
        else:
            j += 1
            yield "added", None, now
    for message in old[i:]:
        yield "removed", marketdata.decode(kind, message), None
    for message in new[j:]:
        yield "added", None, marketdata.decode(kind, message)


def place(event: Event) -> tuple[int, str, int, int]:
    return event.recv_ns, event.conn, event.seq, event.n


def _fields(old: Event, new: Event) -> tuple[Field, ...]:
    was, now = msgspec.structs.asdict(old), msgspec.structs.asdict(new)
    return tuple(Field(name, was[name], now[name]) for name in was if was[name] != now[name])
