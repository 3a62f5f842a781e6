"""Find what is too old in an archive that does not fit into memory: day by day, oldest first, by the time in the key."""

import re
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.model import EVENT_TYPES
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.key_rules import MAX_PART
from ssmd.store.keys import (
    DIGEST_ENDING,
    SHORTFALL_ENDING,
    DigestKey,
    MinuteKey,
    NormalizedKey,
    QualityKey,
    RangeKey,
    RawKey,
    ShortfallKey,
    day_prefix,
)

_RANGES: Final = "ranges/"
_NUMBER: Final = re.compile(r"(?:[0-9]{4}|[0-9]{2})")


class Expiry(Struct, frozen=True):
    """What was received before these times goes; None: nothing does. feed: only this one's, empty: every feed's."""

    raw_ns: int | None
    normalized_ns: int | None
    feed: str = ""

    @property
    def quality_ns(self) -> int | None:
        """What is known of a minute stays as long as anything of the minute does."""
        return None if self.raw_ns is None or self.normalized_ns is None else min(self.raw_ns, self.normalized_ns)


class Expired(Struct, frozen=True):
    """One object that may go. bucket: what it counts as."""

    meta: ObjectMeta
    bucket: str
    feed: str
    from_ns: int
    to_ns: int


class _Dated(Struct, frozen=True):
    feed: str
    minute_ns: int
    part: int
    is_proof: bool


class _Series(Struct, frozen=True):
    """Keys that go on with a date, or, for ranges, with a start and an end."""

    base: str
    bucket: str
    before_ns: int


async def expired(store: Store, expiry: Expiry) -> AsyncGenerator[Sequence[Expired]]:
    """Give what may be deleted, in the order in which it should be, a day of one series at a time.

    A manifest comes before its object: it is the promise that the object is there. A crash between the two leaves what
    a crash while sealing leaves, an object that nothing speaks of, and never a promise that is broken. Minutes come in
    order, so that of a chain of manifests an unbroken end remains. What cannot be understood is left out.
    """
    for series in [*await _raw(store, expiry), *await _normalized(store, expiry), *await _quality(store, expiry)]:
        if series.base.endswith(_RANGES):
            yield await _ranges(store, series)
            continue
        for day in await _days(store, series):
            yield await _in_day(store, day, series)


async def _raw(store: Store, expiry: Expiry) -> Sequence[_Series]:
    if expiry.raw_ns is None:
        return []
    return [_Series(feed, "raw", expiry.raw_ns) for feed in await _folders(store, "raw/", expiry.feed)]


async def _quality(store: Store, expiry: Expiry) -> Sequence[_Series]:
    if expiry.quality_ns is None:
        return []
    feeds = await _feeds_of_versions(store, "quality/", expiry.feed)
    return [_Series(feed, "normalized", expiry.quality_ns) for feed in feeds]


async def _normalized(store: Store, expiry: Expiry) -> Sequence[_Series]:
    """Return for each feed what promises first, then the events."""
    if expiry.normalized_ns is None:
        return []
    bases: list[str] = []
    for feed in await _feeds_of_versions(store, "normalized/", expiry.feed):
        bases += (f"{feed}{_RANGES}", f"{feed}minutes/")
        for kind in EVENT_TYPES:
            bases += await store.folders(f"{feed}{kind}/")
    return [_Series(base, "normalized", expiry.normalized_ns) for base in bases]


async def _feeds_of_versions(store: Store, prefix: str, only: str) -> Sequence[str]:
    return [feed for version in await store.folders(prefix) for feed in await _folders(store, version, only)]


async def _folders(store: Store, prefix: str, only: str) -> Sequence[str]:
    return [folder for folder in await store.folders(prefix) if not only or folder == f"{prefix}{only}/"]


async def _ranges(store: Store, series: _Series) -> Sequence[Expired]:
    found = []
    for meta in await store.list(series.base):
        try:
            key = RangeKey.parse(meta.key)
        except BadRecord:
            continue
        if key.end_ns <= series.before_ns:
            found.append(Expired(meta, series.bucket, key.feed, key.start_ns, key.end_ns))
    return found


async def _days(store: Store, series: _Series) -> Sequence[str]:
    """Return the folders of the days that may hold something too old, oldest first."""
    last_day = day_prefix(series.base, series.before_ns)
    found = [series.base]
    for _ in ("years", "months", "days"):
        found = [deeper for folder in found for deeper in await _numbered(store, folder, last_day)]
    return found


async def _numbered(store: Store, prefix: str, last_day: str) -> Sequence[str]:
    """Return the folders of a year, month or day that are not after the last day."""
    folders = await store.folders(prefix)
    numbered = [folder for folder in folders if _NUMBER.fullmatch(folder[len(prefix) : -1])]
    return [folder for folder in numbered if folder <= last_day[: len(folder)]]


async def _in_day(store: Store, day: str, series: _Series) -> Sequence[Expired]:
    dated = [(_dated(meta.key), meta) for meta in await store.list(day)]
    found = [(key, meta) for key, meta in dated if key is not None and key.minute_ns < series.before_ns]
    found.sort(key=lambda each: (each[0].minute_ns, each[0].part, not each[0].is_proof))
    return [Expired(meta, series.bucket, key.feed, key.minute_ns, key.minute_ns + NS_PER_MINUTE) for key, meta in found]


def _dated(key: str) -> _Dated | None:
    """Return the feed and minute that a key names, None for a key that we cannot read."""
    for parse in (RawKey.parse, RawKey.parse_manifest, NormalizedKey.parse, QualityKey.parse):
        try:
            named = parse(key)
        except BadRecord:
            continue
        return _Dated(named.feed, named.minute_ns, named.part, parse == RawKey.parse_manifest)
    try:
        if key.endswith(SHORTFALL_ENDING):
            mark = ShortfallKey.parse(key)
            return _Dated(mark.feed, mark.minute_ns, MAX_PART + 1, is_proof=False)  # a doubt goes last
        if key.endswith(DIGEST_ENDING):
            digest = DigestKey.parse(key)
            return _Dated(digest.feed, digest.minute_ns, 0, is_proof=True)
        minute = MinuteKey.parse(key)
    except BadRecord:
        return None
    return _Dated(minute.feed, minute.minute_ns, 0, is_proof=True)
