"""Minutes of which the archive holds fewer events than their raw data gave: each has a mark beside its ledger records.

What the stream's limits take before it is archived leaves no trace in the archive itself. The ledger says how many
events were made, so counting finds it. A reprocess of the same version fills the minute and takes the mark away.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final

import msgspec
import trio
from msgspec import Struct

from ssmd.blocking import Blocking, in_thread
from ssmd.clock import NS_PER_MINUTE
from ssmd.codec import blocks
from ssmd.codec.packing import MAX_OBJECT_BYTES, message_ends
from ssmd.errors import AlreadyStored, BadRecord
from ssmd.model import EVENT_TYPES, EventType, is_symbol
from ssmd.protocols.quality import LedgerRecord, decode_record
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.keys import (
    NormalizedKey,
    QualityKey,
    ShortfallKey,
    day_prefix,
    normalized_hour_prefix,
    normalized_prefix,
    quality_prefix,
)

NS_PER_HOUR: Final = 60 * NS_PER_MINUTE
NS_PER_DAY: Final = 24 * NS_PER_HOUR
AT_ONCE: Final = 8

Events = dict[EventType, int]
"""How many, by type; every type is named."""


class Shortfall(Struct, frozen=True):
    """What a mark says. made: events that the normalizer made of the minute. archived: those that could be read there."""

    version: str
    feed: str
    minute: int
    made: Events
    archived: Events

    @property
    def key(self) -> str:
        return ShortfallKey(self.version, self.feed, self.minute).key

    @property
    def missing(self) -> int:
        return missing_events(self.archived, self.made)


def events_made(records: Iterable[LedgerRecord]) -> Events:
    """Return what came of a minute, by the ledger records of all its raw objects."""
    made: Events = dict.fromkeys(EVENT_TYPES, 0)
    for record in records:
        for kind in EVENT_TYPES:
            made[kind] += record.figures.events.get(kind, 0)
    return made


def missing_events(archived: Mapping[EventType, int], made: Mapping[EventType, int]) -> int:
    """Return how many events the archive does not have."""
    return sum(max(0, made[kind] - archived.get(kind, 0)) for kind in EVENT_TYPES)


class MinuteCounts:
    """Counts the archived events of minutes. Each hour is listed once: take a new one where objects may have come since."""

    def __init__(self, store: Store, version: str, feed: str, blocking: Blocking = in_thread) -> None:
        self._store = store
        self._version = version
        self._feed = feed
        self._blocking = blocking
        self._hour_ns = -1
        self._listed: dict[int, list[tuple[EventType, ObjectMeta]]] = {}

    async def of(self, minute_ns: int) -> Events:
        """Return how many events can be read of a minute, all symbols together. Raises StoreDown."""
        if minute_ns // NS_PER_HOUR * NS_PER_HOUR != self._hour_ns:
            await self._list(minute_ns // NS_PER_HOUR * NS_PER_HOUR)
        counts: Events = dict.fromkeys(EVENT_TYPES, 0)
        waiting = iter(self._listed.get(minute_ns, ()))

        async def count_next() -> None:
            for kind, meta in waiting:  # shared: each object goes to one of them
                found = await self._count(meta)  # first: others add meanwhile
                counts[kind] += found

        await _several(count_next)
        return counts

    async def _count(self, meta: ObjectMeta) -> int:
        body = await self._store.read(meta.key, meta.size_bytes) or b""
        try:
            return await self._blocking(_messages, body)
        except BadRecord:
            return 0

    async def _list(self, hour_ns: int) -> None:
        listed: dict[int, list[tuple[EventType, ObjectMeta]]] = {}
        waiting = iter([series async for series in self._series()])

        async def list_next() -> None:
            for kind, symbol in waiting:
                prefix = normalized_hour_prefix(self._version, self._feed, kind, symbol, hour_ns)
                for meta in await self._store.list(prefix):
                    with suppress(BadRecord):
                        listed.setdefault(NormalizedKey.parse(meta.key).minute_ns, []).append((kind, meta))

        await _several(list_next)
        self._hour_ns, self._listed = hour_ns, listed

    async def _series(self) -> AsyncIterator[tuple[EventType, str]]:
        for kind in EVENT_TYPES:
            for folder in await self._store.folders(normalized_prefix(self._version, self._feed, kind)):
                symbol = folder.rstrip("/").rpartition("/")[2]
                if is_symbol(symbol):
                    yield kind, symbol


async def _several(work: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work)


def _messages(body: bytes) -> int:
    return len(message_ends(blocks.decompress(body, MAX_OBJECT_BYTES)))


async def record_keys(store: Store, version: str, feed: str, minute_ns: int) -> list[QualityKey]:
    """Return the ledger records of a minute."""
    found: list[QualityKey] = []
    for meta in await store.list(QualityKey(version, feed, minute_ns).minute_prefix):
        with suppress(BadRecord):
            found.append(QualityKey.parse(meta.key))
    return found


async def made_by(store: Store, keys: Iterable[QualityKey]) -> Events:
    """Return what came of a minute by some records of it; those that cannot be read count nothing."""
    records: list[LedgerRecord] = []
    for key in keys:
        with suppress(BadRecord):
            records.append(decode_record(await store.read(key.key) or b""))
    return events_made(records)


async def shortfall_of(store: Store, version: str, feed: str, minute_ns: int, counts: MinuteCounts) -> Shortfall:
    """Compare a minute of the archive with all of its ledger records."""
    made = await made_by(store, await record_keys(store, version, feed, minute_ns))
    archived = await counts.of(minute_ns) if any(made.values()) else made
    return Shortfall(version, feed, minute_ns, made, archived)


# marks -------------------------------------------------------------------------------------------------------


async def put_mark(store: Store, shortfall: Shortfall) -> bool:
    """Mark a minute; tell whether it is new. What was said first of a marked minute stands."""
    try:
        return await store.create(shortfall.key, msgspec.json.encode(shortfall, order="deterministic") + b"\n")
    except AlreadyStored:
        return False


async def marks(store: Store, version: str, feed: str, start_ns: int, end_ns: int) -> list[ShortfallKey]:
    """Return the marks of the minutes in [start_ns, end_ns), in order."""
    found: list[ShortfallKey] = []
    for day_ns in range(start_ns - start_ns % NS_PER_DAY, end_ns, NS_PER_DAY):
        for meta in await store.list(day_prefix(quality_prefix(version, feed), day_ns)):
            with suppress(BadRecord):
                found.append(ShortfallKey.parse(meta.key))
    return [mark for mark in found if start_ns <= mark.minute_ns < end_ns]


async def take_mark_if_filled(store: Store, mark: ShortfallKey) -> bool:
    """Take a mark away where the archive has everything by now; tell whether it has."""
    counts = MinuteCounts(store, mark.version, mark.feed)
    found = await shortfall_of(store, mark.version, mark.feed, mark.minute_ns, counts)
    if is_filled := any(found.made.values()) and not found.missing:
        await store.delete(mark.key)
    return is_filled
