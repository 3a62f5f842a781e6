"""Delete a version of the archive: first what lets readers use it, last its objects, so that a half is never served."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import trio
from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.model import is_token
from ssmd.reprocess.diff import series_of
from ssmd.reprocess.hold import hold_names, holds
from ssmd.reprocess.report import RangeManifest
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.keys import (
    DIGEST_ENDING,
    SHORTFALL_ENDING,
    DigestKey,
    MinuteKey,
    NormalizedKey,
    QualityKey,
    RangeKey,
    ShortfallKey,
    hold_key,
    minutes_prefix,
    normalized_day_prefix,
    normalized_prefix,
    quality_prefix,
    ranges_prefix,
)

DELETES_AT_ONCE: Final = 8

Parse = Callable[[str], object]
"""Raises BadRecord for a key of another kind."""
OnDeleted = Callable[[int], None]
"""Called with how many objects have just been deleted."""


class Holdings(Struct):
    """What a version holds of a feed. uncovered: the first minutes that no other version has, by key.

    records: of minutes that were reprocessed. quality: the ledger's. held_until_ns: a reprocess of it runs, or was
    killed, and holds its raw data until then.
    """

    version: str
    feed: str
    ranges: int = 0
    records: int = 0
    quality: int = 0
    objects: int = 0
    size_bytes: int = 0
    uncovered: list[str] = []
    held_until_ns: int = 0

    @property
    def total(self) -> int:
        return self.ranges + self.records + self.quality + self.objects


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
    """Return every version that holds something of the feed."""
    found = await _versions_below(store, "normalized/")
    return [version for version in found if await store.folders(normalized_prefix(version, feed))]


async def ledger_versions_of(store: Store, feed: str) -> list[str]:
    """Return every version that has records of the feed in the quality ledger."""
    found = await _versions_below(store, "quality/")
    return [version for version in found if await store.folders(quality_prefix(version, feed))]


async def _versions_below(store: Store, prefix: str) -> list[str]:
    names = [folder.rstrip("/").rpartition("/")[2] for folder in await store.folders(prefix)]
    return [name for name in names if is_token(name)]


async def holdings(store: Store, version: str, feed: str) -> Holdings:
    """Count what would be deleted, and look whether another version has the same minutes."""
    found = Holdings(version, feed, ranges=len(await ranges_of(store, version, feed)))
    found.held_until_ns = max([hold.expires_ns for hold in await holds(store, version, feed)], default=0)
    found.records = await _count(store, minutes_prefix(version, feed), MinuteKey.parse)
    found.quality = await _count(store, quality_prefix(version, feed), _of_the_ledger)
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
    return {key.minute_ns for key, _ in await _objects(store, prefix)}


async def _series_days(store: Store, version: str, feed: str) -> list[str]:
    """Return a prefix for each series and day that the version holds."""
    prefixes = [normalized_prefix(version, feed, *series) for series in await series_of(store, version, feed)]
    return await _days(store, prefixes)


async def _days(store: Store, prefixes: Sequence[str]) -> list[str]:
    """Return the folder of each day below prefixes that go on with a date."""
    for _ in ("year", "month", "day"):
        prefixes = [folder for prefix in prefixes for folder in await store.folders(prefix)]
    return list(prefixes)


async def _count(store: Store, prefix: str, parse: Parse) -> int:
    return sum([len(await _ours(store, day, parse)) for day in await _days(store, [prefix])])


async def _ours(store: Store, prefix: str, parse: Parse) -> list[ObjectMeta]:
    """Return what lies below a prefix and has a key of ours; anything else is somebody else's and stays."""
    return [meta for meta in await store.list(prefix) if _is(parse, meta.key)]


def _is(parse: Parse, key: str) -> bool:
    try:
        parse(key)
    except BadRecord:
        return False
    return True


async def _objects(store: Store, prefix: str) -> list[tuple[NormalizedKey, int]]:
    """Return the objects of one series and day with their sizes."""
    found = await _ours(store, prefix, NormalizedKey.parse)
    return [(NormalizedKey.parse(meta.key), meta.size_bytes) for meta in found]


async def prune(store: Store, version: str, feed: str, on_deleted: OnDeleted = lambda _count: None) -> None:
    """Delete the version's ranges, then the records of its minutes, then the ledger's, then its objects.

    A crash leaves objects that nothing serves and nothing takes for done: running it again deletes the rest.
    """
    spans = await ranges_of(store, version, feed)
    await _delete(store, [span.key for span in spans])
    on_deleted(len(spans))
    for prefix, parse in _dated(version, feed):
        for day in await _days(store, [prefix]):
            on_deleted(await _delete_all(store, await _ours(store, day, parse)))
    for day in await _series_days(store, version, feed):
        on_deleted(await _delete_all(store, await _ours(store, day, NormalizedKey.parse)))
    await _delete(store, [hold_key(name) for name in hold_names(version, feed)])


def _dated(version: str, feed: str) -> Iterable[tuple[str, Parse]]:
    yield minutes_prefix(version, feed), MinuteKey.parse
    yield quality_prefix(version, feed), DigestKey.parse  # first: it must not outlive a record
    yield quality_prefix(version, feed), _of_the_ledger


def _of_the_ledger(key: str) -> QualityKey | ShortfallKey | DigestKey:
    """Return what a record, a mark or a digest is about; BadRecord for any other key."""
    if key.endswith(DIGEST_ENDING):
        return DigestKey.parse(key)
    return ShortfallKey.parse(key) if key.endswith(SHORTFALL_ENDING) else QualityKey.parse(key)


async def _delete_all(store: Store, found: Sequence[ObjectMeta]) -> int:
    await _delete(store, [meta.key for meta in found])
    return len(found)


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
