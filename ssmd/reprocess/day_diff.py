"""Compare one day of one series in two versions: the unit of work of a diff, in any process."""

from collections.abc import Iterator, Sequence
from typing import Final

import trio
from msgspec import Struct, field

from ssmd.codec import blocks, marketdata
from ssmd.codec.packing import MAX_OBJECT_BYTES, message_ends, messages
from ssmd.errors import BadRecord
from ssmd.model import Event, EventType, message_id
from ssmd.reprocess.report import Problem
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.keys import NormalizedKey, normalized_day_prefix

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

    def add(self, more: "SeriesDiff") -> None:
        for name in ("old", "new", "added", "removed", "changed"):
            setattr(self, name, getattr(self, name) + getattr(more, name))
        for name, count in more.fields.items():
            self.fields[name] = self.fields.get(name, 0) + count


class SeriesDay(Struct, frozen=True):
    """What is compared at a time."""

    wanted: Wanted
    type: EventType
    symbol: str
    day_ns: int


class DayDiff(Struct):
    """How one day of one series differs. minutes: those that either version has; identical ones are equal byte for byte."""

    diff: SeriesDiff
    samples: list[Example] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    minutes: int = 0
    identical_minutes: int = 0


async def compare_day(store: Store, day: SeriesDay) -> DayDiff:
    """Return how the two versions differ. Nothing is held but some minutes. Raises StoreDown."""
    old, new = [await _objects(store, day, v) for v in (day.wanted.from_version, day.wanted.to_version)]
    minutes = sorted(old.keys() | new.keys())
    comparison = _Comparison(day)
    pairs: dict[int, _Pair] = {}
    for first in range(0, len(minutes), READS_AT_ONCE):
        some = minutes[first : first + READS_AT_ONCE]
        async with trio.open_nursery() as nursery:
            for minute in some:
                pair = pairs[minute] = _Pair(day.type, old.get(minute, []), new.get(minute, []))
                nursery.start_soon(pair.read, store)
        for minute in some:
            comparison.take(pairs.pop(minute))
    return comparison.found


async def _objects(store: Store, day: SeriesDay, version: str) -> dict[int, list[ObjectMeta]]:
    found: dict[int, list[ObjectMeta]] = {}
    for meta in await store.list(normalized_day_prefix(version, day.wanted.feed, day.type, day.symbol, day.day_ns)):
        key = NormalizedKey.parse(meta.key)
        if day.wanted.start_ns <= key.minute_ns < day.wanted.end_ns:
            found.setdefault(key.minute_ns, []).append(meta)
    return found


class _Comparison:
    def __init__(self, day: SeriesDay) -> None:
        self.found = DayDiff(SeriesDiff(day.type, day.symbol))
        self._sample = day.wanted.sample
        self._shown = {"added": 0, "removed": 0, "changed": 0}

    def take(self, pair: "_Pair") -> None:
        self.found.minutes += 1
        self.found.identical_minutes += pair.is_identical
        try:
            differences = list(pair.differences(self.found.diff))
        except BadRecord as error:
            if len(self.found.problems) < MAX_PROBLEMS:
                self.found.problems.append(Problem(pair.first_key, "unreadable", str(error)))
            return
        for kind, old, new in differences:
            self._count(kind, old, new)

    def _count(self, kind: str, old: Event | None, new: Event | None) -> None:
        diff, event = self.found.diff, new or old
        setattr(diff, kind, getattr(diff, kind) + 1)
        fields = _fields(old, new) if old and new else ()
        for each in fields:
            diff.fields[each.name] = diff.fields.get(each.name, 0) + 1
        if event is not None and self._shown[kind] < self._sample:
            self._shown[kind] += 1
            self.found.samples.append(Example(kind, diff.type, message_id(event), event.recv_ns, fields))


Difference = tuple[str, Event | None, Event | None]


class _Pair:
    """One minute of one series in both versions."""

    def __init__(self, kind: EventType, old: list[ObjectMeta], new: list[ObjectMeta]) -> None:
        self._kind: EventType = kind
        self._old_objects = old
        self._new_objects = new
        self._old: list[bytes] = []
        self._new: list[bytes] = []

    async def read(self, store: Store) -> None:
        self._old = [await store.read(meta.key, meta.size_bytes) or b"" for meta in self._old_objects]
        self._new = [await store.read(meta.key, meta.size_bytes) or b"" for meta in self._new_objects]

    @property
    def first_key(self) -> str:
        return (self._old_objects + self._new_objects)[0].key

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
        there, here = place(was), place(now)
        if there == here:
            i, j = i + 1, j + 1
            if was != now:
                yield "changed", was, now
        elif there < here:
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
    values = ((name, getattr(old, name), getattr(new, name)) for name in old.__struct_fields__)
    return tuple(Field(name, was, now) for name, was, now in values if was != now)
