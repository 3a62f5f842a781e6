"""Read what the store holds, in the order in which it was captured."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import trio

from ssmd.codec import blocks, marketdata, raw
from ssmd.errors import BadRecord
from ssmd.model import Event, EventType
from ssmd.records import Record
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, RawKey, normalized_prefix, raw_prefix

MAX_OBJECT_BYTES: Final = 4 << 30


async def raw_keys(store: Store, feed: str) -> Sequence[RawKey]:
    """Return the raw objects of a feed in the order of capture; manifests are left out."""
    objects = await store.list(raw_prefix(feed))
    keys = [RawKey.parse(meta.key) for meta in objects if not meta.key.endswith(".manifest.json")]
    return sorted(keys, key=lambda key: (key.minute_ns, key.part))


async def raw_records(store: Store, key: RawKey) -> AsyncIterator[Sequence[Record]]:
    """Give an object's records in blocks. Raises BadRecord where it is torn, after everything before the tear."""
    body = await store.read(key.key)
    if body is None:
        raise BadRecord(f"raw object {key.key} is missing")
    rest = b""
    for block in blocks.iter_decompress(body, MAX_OBJECT_BYTES):
        whole, newline, rest = (rest + block).rpartition(b"\n")
        if newline:
            yield [raw.read_line(line) for line in whole.split(b"\n")]
        await trio.lowlevel.checkpoint()
    if rest:
        raise BadRecord(f"raw object {key.key} ends within a line")


async def archived_events(store: Store, version: str, feed: str, kind: EventType) -> Sequence[Event]:
    """Return every archived event of one type in the archive's order: by receive time, then identity."""
    events: list[Event] = []
    for meta in await store.list(normalized_prefix(version, feed, kind)):
        key = NormalizedKey.parse(meta.key)
        body = await store.read(key.key) or b""
        events.extend(marketdata.decode_many(key.type, blocks.decompress(body, MAX_OBJECT_BYTES)))
    return sorted(events, key=lambda event: (event.recv_ns, event.conn, event.seq, event.n))
