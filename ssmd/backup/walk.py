"""Which days a store holds of which feeds, and which minute a key is about: a day's names are held at a time."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from msgspec import Struct, field

from ssmd.backup.inventory import UNDATED
from ssmd.backup.parallel import in_parallel
from ssmd.errors import BadRecord
from ssmd.model import EVENT_TYPES, is_token
from ssmd.store.base import Store
from ssmd.store.keys import (
    KEPT_PREFIXES,
    DigestKey,
    MinuteKey,
    NormalizedKey,
    QualityKey,
    RawKey,
    ShortfallKey,
    raw_prefix,
)

DATED_BELOW: Final = ("minutes", *EVENT_TYPES)
"""What lies below a feed of normalized data and has days; anything else there is taken whole."""
KIND_AT: Final = 3


class Walk(Struct, frozen=True):
    """The prefixes of each day (`2025-12-06`, and UNDATED), and every feed that was seen."""

    days: dict[str, list[str]] = field(default_factory=dict)
    feeds: set[str] = field(default_factory=set)


class KeyTime(Struct, frozen=True):
    feed: str
    minute_ns: int


async def walk(store: Store, feeds: Collection[str] = ()) -> Walk:
    """Return the days of these feeds, of every feed if none is named."""
    found = Walk()
    roots = [
        (root, feed)
        for kind in KEPT_PREFIXES
        for root in await _feed_roots(store, kind)
        if (feed := _name(root)) in feeds or not feeds
    ]

    async def look(root_and_feed: tuple[str, str]) -> None:
        root, feed = root_and_feed
        found.feeds.add(feed)
        for series in await _series(store, root):
            await _add_days(store, series, found.days)

    await in_parallel(roots, look)
    for prefixes in found.days.values():
        prefixes.sort()
    return found


async def has_raw(store: Store, feed: str) -> bool:
    """Tell whether there is raw data of a feed, or was a moment ago; a name that no feed can have has none."""
    return is_token(feed) and bool(await store.folders(raw_prefix(feed)))


async def _feed_roots(store: Store, kind: str) -> Sequence[str]:
    """Return the folders of feeds: raw/<feed>/, and <kind>/<version>/<feed>/ of others."""
    if kind == "raw/":
        return await store.folders(kind)
    return [feed for version in await store.folders(kind) for feed in await store.folders(version)]


async def _series(store: Store, root: str) -> list[str]:
    """Return the folders below a feed's one that have years in them, or, ending in no year, whole others."""
    if not root.startswith("normalized/"):
        return [root]
    found: list[str] = []
    for folder in await store.folders(root):
        if _name(folder) in EVENT_TYPES:
            found += await store.folders(folder)
        else:
            found.append(folder)
    return found


async def _add_days(store: Store, series: str, days: dict[str, list[str]]) -> None:
    if series.startswith("normalized/") and series.split("/")[KIND_AT] not in DATED_BELOW:
        days.setdefault(UNDATED, []).append(series)
        return
    for year in await store.folders(series):
        for month in await store.folders(year):
            for day in await store.folders(month):
                days.setdefault("-".join(map(_name, (year, month, day))), []).append(day)


def _name(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[2]


def feed_of(key: str) -> str | None:
    """Return the feed that a key of a store is about."""
    parts = key.split("/")
    place = {"raw": 1, "normalized": 2, "quality": 2}.get(parts[0])
    return parts[place] if place is not None and len(parts) > place else None


_PARSERS: Final[
    dict[str, tuple[Callable[[str], RawKey | QualityKey | ShortfallKey | DigestKey | NormalizedKey | MinuteKey], ...]]
] = {
    "raw": (RawKey.parse, RawKey.parse_manifest),
    "quality": (QualityKey.parse, ShortfallKey.parse, DigestKey.parse),
    "normalized": (NormalizedKey.parse, MinuteKey.parse),
}


def key_time(key: str) -> KeyTime | None:
    """Return the feed and minute that a key is about; None for a key that names no minute."""
    for parse in _PARSERS.get(key.partition("/")[0], ()):
        try:
            found = parse(key)
        except BadRecord:
            continue
        return KeyTime(found.feed, found.minute_ns)
    return None
