"""Minutes of which the archive holds fewer events than their raw data gave: each has a mark beside its ledger records.

What the stream's limits take before it is archived leaves no trace in the archive itself. The ledger says how many
events were made, so counting finds it. A reprocess of the same version fills the minute and takes the mark away.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE
from ssmd.codec import blocks
from ssmd.codec.packing import MAX_OBJECT_BYTES, message_ends
from ssmd.errors import AlreadyStored, BadRecord
from ssmd.model import EVENT_TYPES, EventType
from ssmd.protocols.quality import LedgerRecord
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, ShortfallKey, day_prefix, normalized_prefix, quality_prefix

NS_PER_DAY: Final = 1440 * NS_PER_MINUTE

Events = dict[EventType, int]
"""How many, by type; every type is named."""


class Shortfall(Struct, frozen=True):
    """What a mark says. made: events that the normalizer made of the minute. archived: those that can be read there."""

    version: str
    feed: str
    minute: int
    made: Events
    archived: Events

    @property
    def key(self) -> str:
        return ShortfallKey(self.version, self.feed, self.minute).key


def events_made(records: Iterable[LedgerRecord]) -> Events:
    """Return what came of a minute, by the ledger records of all its raw objects."""
    made: Events = dict.fromkeys(EVENT_TYPES, 0)
    for record in records:
        for kind in EVENT_TYPES:
            made[kind] += record.figures.events.get(kind, 0)
    return made


def lacks(archived: Mapping[EventType, int], made: Mapping[EventType, int]) -> int:
    """Return how many events the archive does not have."""
    return sum(max(0, made[kind] - archived.get(kind, 0)) for kind in EVENT_TYPES)


async def count_archived(store: Store, version: str, feed: str, kind: EventType, minute_ns: int) -> int:
    """Return how many events of one type can be read of a minute, all symbols together. Raises StoreDown."""
    count = 0
    for folder in await store.folders(normalized_prefix(version, feed, kind)):
        symbol = folder.rstrip("/").rpartition("/")[2]
        for meta in await store.list(NormalizedKey(version, feed, kind, symbol, minute_ns).minute_prefix):
            body = await store.read(meta.key, meta.size_bytes) or b""
            with suppress(BadRecord):
                count += len(message_ends(blocks.decompress(body, MAX_OBJECT_BYTES)))
    return count


async def put_mark(store: Store, shortfall: Shortfall) -> None:
    """Store a mark; one that says something else about the minute is replaced."""
    body = msgspec.json.encode(shortfall, order="deterministic") + b"\n"
    try:
        await store.create(shortfall.key, body)
    except AlreadyStored:
        await store.delete(shortfall.key)
        await store.create(shortfall.key, body)


async def marks(store: Store, version: str, feed: str, start_ns: int, end_ns: int) -> list[ShortfallKey]:
    """Return the marks of the minutes in [start_ns, end_ns), in order."""
    found: list[ShortfallKey] = []
    for day_ns in range(start_ns - start_ns % NS_PER_DAY, end_ns, NS_PER_DAY):
        for meta in await store.list(day_prefix(quality_prefix(version, feed), day_ns)):
            with suppress(BadRecord):
                found.append(ShortfallKey.parse(meta.key))
    return [mark for mark in found if start_ns <= mark.minute_ns < end_ns]


async def is_marked(store: Store, version: str, feed: str, minute_ns: int) -> bool:
    return await store.head(ShortfallKey(version, feed, minute_ns).key) is not None
