"""Delete a version of the archive: first what lets readers use it, last its objects, so that a half is never served."""

from collections.abc import Sequence
from typing import Final

import msgspec
import trio
from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.reprocess.diff import series_of
from ssmd.reprocess.report import RangeManifest
from ssmd.store.base import Store
from ssmd.store.keys import (
    NormalizedKey,
    RangeKey,
    minutes_prefix,
    normalized_day_prefix,
    normalized_prefix,
    ranges_prefix,
)

DELETES_AT_ONCE: Final = 8


class Holdings(Struct):
    """What a version holds of a feed. uncovered: the first minutes that no other version has, by key."""

    version: str
    feed: str
    ranges: int = 0
    objects: int = 0
    size_bytes: int = 0
    uncovered: list[str] = []


async def ranges_of(store: Store, version: str, feed: str) -> list[RangeKey]:
    """Return the ranges that a version is complete for."""
    found = []
    for meta in await store.list(ranges_prefix(version, feed)):
        try:
            found.append(RangeKey.parse(meta.key))
        except BadRecord:
            continue
    return found


async def range_manifest(store: Store, key: RangeKey) -> RangeManifest | None:
    """Return what is known of a range; None if it is not there or cannot be read."""
    try:
        return msgspec.json.decode(await store.read(key.key) or b"", type=RangeManifest)
    except msgspec.DecodeError:
        return None


async def versions_of(store: Store, feed: str) -> list[str]:
    """Return every version that may hold something of the feed."""
    found = [folder.rstrip("/").rpartition("/")[2] for folder in await store.folders("normalized/")]
    return [version for version in found if await store.folders(normalized_prefix(version, feed))]


async def holdings(store: Store, version: str, feed: str) -> Holdings:
    """Count what would be deleted, and look whether another version has the same minutes."""
    found = Holdings(version, feed, ranges=len(await ranges_of(store, version, feed)))
    others = [other for other in await versions_of(store, feed) if other != version]
    covered = [span for other in others for span in await ranges_of(store, other, feed)]
    for prefix in await _series_days(store, version, feed):
        keys = await _objects(store, prefix)
        found.objects += len(keys)
        found.size_bytes += sum(size for _, size in keys)
        left = [key for key, _ in keys if not any(r.start_ns <= key.minute_ns < r.end_ns for r in covered)]
        if left:
            elsewhere = {at for other in others for at in await _minutes_of(store, other, left[0])}
            found.uncovered += [key.key for key in left if key.minute_ns not in elsewhere][: 10 - len(found.uncovered)]
    return found


async def _minutes_of(store: Store, version: str, like: NormalizedKey) -> set[int]:
    """Return the minutes that another version has of the same series on the same day."""
    prefix = normalized_day_prefix(version, like.feed, like.type, like.symbol, like.minute_ns)
    return {NormalizedKey.parse(meta.key).minute_ns for meta in await store.list(prefix)}


async def _series_days(store: Store, version: str, feed: str) -> list[str]:
    """Return a prefix for each series and day that the version holds."""
    prefixes = [normalized_prefix(version, feed, *series) for series in await series_of(store, version, feed)]
    for _ in ("year", "month", "day"):
        prefixes = [folder for prefix in prefixes for folder in await store.folders(prefix)]
    return prefixes


async def _objects(store: Store, prefix: str) -> list[tuple[NormalizedKey, int]]:
    """Return the objects of one series and day with their sizes."""
    return [(NormalizedKey.parse(meta.key), meta.size_bytes) for meta in await store.list(prefix)]


async def prune(store: Store, version: str, feed: str) -> int:
    """Delete the version's ranges, then its minutes' records, then its objects; return how many objects it were.

    A crash leaves objects that nothing serves and nothing takes for done: running it again deletes the rest.
    """
    for span in await ranges_of(store, version, feed):
        await store.delete(span.key)
    records = await store.list(minutes_prefix(version, feed))
    await _delete(store, [meta.key for meta in records])
    count = 0
    for prefix in await _series_days(store, version, feed):
        keys = await _objects(store, prefix)
        await _delete(store, [key.key for key, _ in keys])
        count += len(keys)
    return count


async def _delete(store: Store, keys: Sequence[str]) -> None:
    waiting = iter(keys)

    async def delete_next() -> None:
        for key in waiting:  # shared: each key goes to one of them
            await store.delete(key)

    async with trio.open_nursery() as nursery:
        for _ in range(DELETES_AT_ONCE):
            nursery.start_soon(delete_next)


async def covers(store: Store, version: str, feed: str, at_ns: int) -> bool:
    """Tell whether a version is complete for a minute."""
    at_ns -= at_ns % NS_PER_MINUTE
    return any(span.start_ns <= at_ns < span.end_ns for span in await ranges_of(store, version, feed))
