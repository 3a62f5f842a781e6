"""Write a minute's objects: each is created, or is there already and holds the same events."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import trio
from msgspec import Struct, structs

from ssmd.archive.shortfall import made_by, record_keys
from ssmd.codec.packing import Item, pack, unpack
from ssmd.errors import AlreadyStored, BadRecord
from ssmd.model import EVENT_TYPES, Event, EventType, message_id
from ssmd.protocols.quality import Source
from ssmd.reprocess.minute import MinuteRun
from ssmd.reprocess.report import Problem, Stored
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey

WRITES_AT_ONCE: Final = 6
"""Fewer than the store's own limit, so that the next minute can be read meanwhile."""


class Target(Struct, frozen=True):
    """Where to. source: who writes. is_dry: compare with what is there, write nothing.

    marked: minutes that the archive has lost something of.
    """

    version: str
    feed: str
    source: Source
    is_dry: bool = False
    marked: frozenset[int] = frozenset()


class Filling:
    """Whether a minute that the archive has lost something of may be filled: asked only where something is missing.

    Of a type of events that live capture made as many of as we did, and only where a mark says that some were lost.
    Otherwise we know more or less than live capture did, for example a trade of before the warm-up.
    """

    def __init__(self, store: Store, target: Target, minute_ns: int, run: MinuteRun) -> None:
        self._store = store
        self._target = target
        self._minute_ns = minute_ns
        self._run = run
        self._equal: frozenset[EventType] | None = None

    @property
    def is_marked(self) -> bool:
        return self._minute_ns in self._target.marked

    async def may(self, kind: EventType) -> bool:
        if self._equal is None:
            self._equal = frozenset(await self._equal_kinds() if self.is_marked else ())
        return kind in self._equal

    async def _equal_kinds(self) -> Iterable[EventType]:
        keys = await record_keys(self._store, self._target.version, self._target.feed, self._minute_ns)
        made, ours = await made_by(self._store, keys), self._run.figures.events
        return [kind for kind in EVENT_TYPES if made[kind] == ours.get(kind, 0)]


async def write_minute(store: Store, target: Target, minute_ns: int, run: MinuteRun) -> tuple[Stored, ...]:
    """Store every series of the minute; return what is stored now. What differs from ours becomes a problem of the run."""
    stored: list[Stored] = []
    waiting = run.series()
    filling = Filling(store, target, minute_ns, run)

    async def write_next() -> None:
        for series, items in waiting:  # shared: each series goes to one writer
            key = NormalizedKey(target.version, target.feed, series.type, series.symbol, minute_ns)
            body = pack(items)
            try:
                if await _is_new_or_equal(store, key, body, filling, is_dry=target.is_dry):
                    stored.append(Stored(key.key, series.type, series.symbol, len(items), sha256(body).hexdigest()))
                else:
                    stored.extend(await _compare(store, key, items, filling, is_dry=target.is_dry))
            except AlreadyStored as conflict:
                run.problems.append(Problem(key.key, "conflict", str(conflict)))

    async with trio.open_nursery() as nursery:
        for _ in range(WRITES_AT_ONCE):
            nursery.start_soon(write_next)
    return tuple(sorted(stored, key=lambda each: each.key))


async def _is_new_or_equal(store: Store, key: NormalizedKey, body: bytes, filling: Filling, *, is_dry: bool) -> bool:
    may_create = not filling.is_marked or await filling.may(key.type)
    if is_dry or not may_create:
        return await store.read(key.key) in ((None, body) if may_create else (body,))
    try:
        await store.create(key.key, body)
    except AlreadyStored:
        return False
    return True


async def _compare(
    store: Store, key: NormalizedKey, items: Sequence[Item], filling: Filling, *, is_dry: bool
) -> list[Stored]:
    """Return the parts that together hold exactly our events. Raises AlreadyStored with the first difference.

    What the archive has lost is written as a further part.
    """
    parts, theirs = await _stored(store, key)
    ours = unpack(key.type, pack(items))
    difference = first_difference(theirs, ours)
    if not parts:
        raise AlreadyStored("live capture made another number of these events, and some of them were lost")
    if difference and _lacks_only(theirs, ours) and await filling.may(key.type):
        had = {(event.conn, event.seq, event.n) for event in theirs}
        missing = [item for item in items if item.identity not in had]
        further = structs.replace(key, part=NormalizedKey.parse(parts[-1].key).part + 1)
        body = pack(missing)
        if not is_dry:
            await store.create(further.key, body)
        parts.append(Stored(further.key, key.type, key.symbol, len(missing), sha256(body).hexdigest()))
    elif difference:
        raise AlreadyStored(f"it holds other events: {difference}")
    return parts


async def _stored(store: Store, key: NormalizedKey) -> tuple[list[Stored], list[Event]]:
    """Return all parts of a minute and their events together, in order."""
    parts: list[Stored] = []
    events: list[Event] = []
    for meta in await store.list(key.minute_prefix):
        body = await store.read(meta.key) or b""
        try:
            of_part = unpack(key.type, body)
        except BadRecord as error:
            raise AlreadyStored(f"{meta.key} cannot be read: {error}") from error
        events += of_part
        parts.append(Stored(meta.key, key.type, key.symbol, len(of_part), sha256(body).hexdigest()))
    return sorted(parts, key=lambda part: NormalizedKey.parse(part.key).part), sorted(events, key=_place)


def _lacks_only(theirs: Sequence[Event], ours: Sequence[Event]) -> bool:
    """Tell whether everything that is stored is among ours, unchanged and once."""
    known = {_place(event): event for event in ours}
    return len({_place(event) for event in theirs}) == len(theirs) and all(
        known.get(_place(event)) == event for event in theirs
    )


def first_difference(theirs: Sequence[Event], ours: Sequence[Event]) -> str:
    """Return in words where two sorted sequences differ first; nothing where they are equal."""
    for there, here in zip(theirs, ours, strict=False):
        if _place(there) != _place(here):
            is_theirs = _place(there) < _place(here)
            return f"only the stored one has {message_id(there)}" if is_theirs else f"it lacks {message_id(here)}"
        if there != here:
            return f"{message_id(here)} is {there}, ours is {here}"
    if len(theirs) > len(ours):
        return f"only the stored one has {message_id(theirs[len(ours)])}"
    return f"it lacks {message_id(ours[len(theirs)])}" if len(ours) > len(theirs) else ""


def _place(event: Event) -> tuple[int, str, int, int]:
    return event.recv_ns, event.conn, event.seq, event.n
