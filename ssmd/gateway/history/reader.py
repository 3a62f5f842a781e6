"""Archive and stream as one sequence: every event once, in the order of the archive, minute by minute."""

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Final, Protocol, Self

import trio
from msgspec import Struct

from ssmd.archive.together import together
from ssmd.blocking import Blocking, in_thread
from ssmd.clock import NS_PER_S, NowNs, now_ns
from ssmd.codec import blocks, marketdata, packing
from ssmd.errors import BadRecord, StoreDown
from ssmd.gateway.access import Series
from ssmd.gateway.history.link import BusSource
from ssmd.gateway.history.objects import NS_PER_DAY, MinuteObjects, ObjectIndex, StoredObject
from ssmd.gateway.history.plan import FIRST_KEY, Plan, Source, Span, key_of
from ssmd.gateway.history.tail import HELD_MESSAGES, Tail, TailMessage, TailMinute, TailPlace
from ssmd.model import Event
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey

BATCH_EVENTS: Final = 5_000
FIRST_OBJECTS: Final = 4
READ_AHEAD_OBJECTS: Final = 64
AHEAD_GROWS: Final = 4
"""So long as an answer goes on; from a store in another house four take as long as one."""
READ_AHEAD_BYTES: Final = 2 << 20
"""Compressed. At least one minute is read, whatever its size."""


class Archive(Struct, frozen=True):
    """Where events are. environment: its name. stream_age_s: how long the stream keeps a message, at most.

    held_messages: of one feed's tail in memory, at most; see `tail`. settled: the same store for ranges that the stream
    has no part in: it may remember listings for a moment. None: there is none that does.
    """

    store: Store
    bus: BusSource
    environment: str
    stream: str = "marketdata"
    stream_age_s: float = 86_400.0
    held_messages: int = HELD_MESSAGES
    now: NowNs = now_ns
    blocking: Blocking = in_thread
    settled: Store | None = None

    def may_be_live(self, span: Span) -> bool:
        """Tell whether the stream may still hold anything of a span: it ages by when it was stored, after it was received."""
        return span.to_ns > self.now() - int(self.stream_age_s * NS_PER_S)

    def store_of(self, span: Span) -> Store:
        """Return the store to read a span from. At the border to the stream each listing is made anew."""
        return self.store if self.settled is None or self.may_be_live(span) else self.settled


class _Step(Struct, frozen=True):
    """One minute: what the archive has of it, and what the tails have."""

    minute_ns: int
    objects: tuple[StoredObject, ...]
    messages: tuple[tuple[str, TailMessage], ...]


class Batch(Struct, frozen=True):
    """Some events in order, at least one, of one minute; the minute may go on with the next batch."""

    minute_ns: int
    events: list[Event]


class MinuteReader:
    """Reads a plan: one minute after the other, each in batches of BATCH_EVENTS at most."""

    def __init__(self, archive: Archive, plan: Plan, index: ObjectIndex, tails: Sequence[tuple[str, Tail]]) -> None:
        self._archive = archive
        self._plan = plan
        self._index = index
        self._tails = tails
        self._next_archived: MinuteObjects | None = None
        self._next_tails: list[TailMinute | None] = []
        self._has_begun = False
        self._steps: list[tuple[_Step, list[tuple[NormalizedKey, bytes]]]] = []
        self._begun: tuple[_Step, Iterator[Event]] | None = None
        self._ahead = FIRST_OBJECTS

    @classmethod
    async def open(cls, archive: Archive, plan: Plan) -> Self:
        """Look at acknowledgements, archive and stream, in this order. Raises Problem unavailable, StoreDown."""
        index = ObjectIndex(archive.store_of(plan.span), plan)
        live = (
            [source for source in plan.sources if source.durable is not None] if archive.may_be_live(plan.span) else []
        )
        tails = [(source.feed, await _tail(archive, plan, source)) for source in live]
        if tails:
            await index.list_since(min(archive.now(), plan.span.to_ns) - NS_PER_DAY)
        for _, tail in tails:
            await tail.load()
        return cls(archive, plan, index, tails)

    async def next(self) -> Batch | None:
        """Return the next events, at least one, or None at the end. Raises BadRecord, StoreDown, Problem unavailable."""
        while (begun := self._begun or await self._begin()) is not None:
            step, events = begun
            batch = await self._archive.blocking(_take, events)
            self._begun = begun if len(batch) == BATCH_EVENTS else None
            if batch:
                return Batch(step.minute_ns, batch)
        return None

    async def _begin(self) -> tuple[_Step, Iterator[Event]] | None:
        if not self._steps:
            await self._read_ahead()
        if not self._steps:
            return None
        step, bodies = self._steps.pop(0)
        return (step, _events_of(self._plan, step.messages, bodies))

    async def _read_ahead(self) -> None:
        """Read the objects of some minutes at once: few at first, since a short answer needs no more."""
        steps: list[_Step] = []
        objects = size_bytes = 0
        while objects < self._ahead and size_bytes < READ_AHEAD_BYTES and (step := await self._step()) is not None:
            steps.append(step)
            objects += max(1, len(step.objects))
            size_bytes += sum(one.size_bytes for one in step.objects)
        self._ahead = min(AHEAD_GROWS * self._ahead, READ_AHEAD_OBJECTS)
        store = self._archive.store_of(self._plan.span)
        bodies = await _bodies(store, [one for step in steps for one in step.objects])
        self._steps = [(step, [(o.key, bodies[o.key.key]) for o in step.objects]) for step in steps]

    async def _step(self) -> _Step | None:
        """Merge the minutes of the archive and of the tails."""
        if not self._has_begun:
            self._has_begun = True
            self._next_archived = await self._index.next()
            self._next_tails = [await tail.next() for _, tail in self._tails]
        waiting = [one.minute_ns for one in (self._next_archived, *self._next_tails) if one is not None]
        if not waiting:
            return None
        minute_ns = max(waiting) if self._plan.newest_first else min(waiting)
        return _Step(minute_ns, await self._objects(minute_ns), await self._messages(minute_ns))

    async def _objects(self, minute_ns: int) -> tuple[StoredObject, ...]:
        if self._next_archived is None or self._next_archived.minute_ns != minute_ns:
            return ()
        found = self._next_archived.objects
        self._next_archived = await self._index.next()
        return found

    async def _messages(self, minute_ns: int) -> tuple[tuple[str, TailMessage], ...]:
        found: list[tuple[str, TailMessage]] = []
        for place, (feed, tail) in enumerate(self._tails):
            present = self._next_tails[place]
            if present is not None and present.minute_ns == minute_ns:
                found += [(feed, message) for message in present.messages]
                self._next_tails[place] = await tail.next()
        return tuple(found)


async def _tail(archive: Archive, plan: Plan, source: Source) -> Tail:
    async with archive.bus.use() as bus:
        acked = await bus.acked_through(archive.stream, source.durable or "")
    place = TailPlace(archive.stream, source.feed, plan.of(source.feed), acked)
    return Tail(archive.bus, place, plan, archive.held_messages)


async def _bodies(store: Store, objects: Sequence[StoredObject]) -> dict[str, bytes]:
    async def read(one: StoredObject) -> bytes:
        body = await store.read(one.key.key, one.size_bytes)
        if body is None:
            raise StoreDown(f"object {one.key.key} was deleted while it was to be read")
        return body

    keys = [one.key.key for one in objects]
    return dict(zip(keys, await together(read, objects, READ_AHEAD_OBJECTS), strict=True))


def _take(events: Iterator[Event]) -> list[Event]:
    return list(islice(events, BATCH_EVENTS))


def _events_of(
    plan: Plan, messages: Sequence[tuple[str, TailMessage]], bodies: Sequence[tuple[NormalizedKey, bytes]]
) -> Iterator[Event]:
    """Give the events of one minute: within the span, behind the position of each feed, in order, each once.

    Decoded only as they are taken: a minute of all symbols may be larger than what is to be held of it.
    """
    sources = [_unpacked(key, body) for key, body in bodies]
    if messages:
        sources.append(_decoded([message for _, message in messages]))
    events = sources[0] if len(sources) == 1 else _once(merge(*sources, key=_order))
    for event in events:
        if event.recv_ns in plan.span and key_of(event) > plan.after.get(event.feed, FIRST_KEY):
            yield event


def _unpacked(key: NormalizedKey, body: bytes) -> Iterator[Event]:
    try:
        yield from marketdata.decode_many(key.type, blocks.decompress(body, packing.MAX_OBJECT_BYTES))
    except BadRecord as error:
        raise BadRecord(f"{key.key}: {error}") from error


def _decoded(messages: Sequence[TailMessage]) -> Iterator[Event]:
    yield from _once(sorted((marketdata.decode(one.type, one.payload) for one in messages), key=_order))


def _order(event: Event) -> tuple[int, str, int, int, str]:
    return (event.recv_ns, event.conn, event.seq, event.n, event.feed)


def _once(events: Iterable[Event]) -> Iterator[Event]:
    """Drop repeated identities; equal ones are neighbours."""
    last: tuple[int, str, int, int, str] | None = None
    for event in events:
        if (name := _order(event)) != last:
            last = name
            yield event


class Sources(Protocol):
    """Knows where the events of a feed are that readers are served."""

    async def source(self, feed: str) -> Source | None: ...


class ArchiveReader:
    """What was, as one sequence: for replays."""

    def __init__(self, archive: Archive, sources: Sources) -> None:
        self._archive = archive
        self._sources = sources

    def events(self, series: Collection[Series], start_ns: int, end_ns: int) -> AsyncIterator[Event]:
        """Give every event of some series that was received in [start_ns, end_ns), in the order of the archive.

        What the stream has and the archive does not have yet is there too. Raises Problem unavailable, StoreDown
        and BadRecord. May be left at any time: it holds nothing open between two events.
        """
        return _Events(self._archive, self._sources, frozenset(series), Span(start_ns, end_ns))


class _Events:
    def __init__(self, archive: Archive, sources: Sources, series: frozenset[Series], span: Span) -> None:
        self._archive = archive
        self._sources = sources
        self._series = series
        self._span = span
        self._reader: MinuteReader | None = None
        self._ready: list[Event] = []

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._reader is None:
            self._reader = await MinuteReader.open(self._archive, await self._plan())
        if not self._ready:
            await trio.lowlevel.checkpoint()
            batch = await self._reader.next()
            self._ready = [] if batch is None else batch.events[::-1]
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.pop()

    async def _plan(self) -> Plan:
        found = [await self._sources.source(feed) for feed in sorted({one.feed for one in self._series})]
        sources = tuple(source for source in found if source is not None)
        known = {source.feed for source in sources}
        return Plan(sources, frozenset(one for one in self._series if one.feed in known), self._span)
