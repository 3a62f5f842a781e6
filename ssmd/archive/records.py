"""What is stored of the minutes of a feed: ledger records, marks, and the manifests of raw objects without a record."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final

import msgspec
import trio
from msgspec import Struct, field

from ssmd.archive.digest import unbind
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.protocols.coverage import Gap
from ssmd.protocols.manifest import Manifest
from ssmd.protocols.quality import LedgerRecord, decode_record
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.keys import (
    DIGEST_ENDING,
    SHORTFALL_ENDING,
    QualityKey,
    RawKey,
    ShortfallKey,
    day_prefix,
    quality_prefix,
    raw_prefix,
)

LOOK_AHEAD: Final = 60
READS_AT_ONCE: Final = 8
DIGEST_FROM: Final = 100
"""Records of a day: so many are worth its digest. A page and the hour behind it need fewer, and are remembered."""
DAYS_KEPT: Final = 3
"""Listed once by one reader: the day before a range, one of it, the one behind it."""
KEYS_KEPT: Final = 4_096
"""Who pages through a day lists it again with every page; taking a key apart costs 9 µs."""
NS_PER_DAY: Final = 1440 * NS_PER_MINUTE


class Known(Struct):
    """What is stored of one minute. wanted: when its last object ended; None: an earlier release did not say it."""

    minute: int
    records: list[LedgerRecord] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    wanted: tuple[str, ...] | None = ()
    unnormalized: int = 0
    unreadable: int = 0
    is_short: bool = False


class RecordReader:
    """Reads ledger records, and the manifests of raw objects that have none."""

    def __init__(self, store: Store, version: str, feed: str) -> None:
        self._store = store
        self._version = version
        self._feed = feed
        self._listed: dict[int, Sequence[RawKey]] = {}
        self._named: dict[int, Sequence[ObjectMeta]] = {}
        """By day: what the ledger has of it."""

    async def between(self, from_ns: int, to_ns: int) -> dict[int, Known]:
        """Return what is stored of the minutes of a span within one day, in order."""
        keys = [key for key in await self._keys(from_ns) if from_ns <= key.minute_ns < to_ns]
        return await self._read(keys)

    async def last_before(self, minute_ns: int) -> Known | None:
        """Return the last minute before a time of which anything is stored."""
        for day_ns in reversed(await self._days(0, minute_ns)):
            keys = [key for key in await self._keys(day_ns) if key.minute_ns < minute_ns]
            if keys:
                (last,) = (await self._read([key for key in keys if key.minute_ns == keys[-1].minute_ns])).values()
                return last
        return None

    async def ahead(self, from_ns: int) -> Sequence[Known]:
        """Return the next minutes of which anything is stored."""
        found: list[Known] = []
        for day_ns in await self._days(from_ns, 1 << 62):
            keys = [key for key in await self._keys(day_ns) if key.minute_ns >= from_ns]
            minutes = sorted({key.minute_ns for key in keys})[: LOOK_AHEAD - len(found)]
            found += (await self._read([key for key in keys if key.minute_ns in minutes])).values()
            if len(found) >= LOOK_AHEAD:
                break
        return found

    async def _days(self, from_ns: int, to_ns: int) -> list[int]:
        """Return the days that hold anything, from the one of `from_ns` up to the one of `to_ns`, by their start."""
        found: set[int] = set()
        for prefix in (raw_prefix(self._feed), quality_prefix(self._version, self._feed)):
            for year in await self._store.folders(prefix):
                for month in await self._store.folders(year):
                    found |= {_day_ns(folder) for folder in await self._store.folders(month)}
        return sorted(day for day in found if from_ns - NS_PER_DAY < day < to_ns)

    async def _keys(self, day_ns: int) -> Sequence[RawKey]:
        """Return the raw objects of a day in the order of capture, also those that only the ledger still knows."""
        if day_ns not in self._listed:
            metas = await self._store.list(day_prefix(raw_prefix(self._feed), day_ns))
            keys = {_raw_key(meta.key) for meta in metas if not meta.key.endswith(".manifest.json")}
            named = await self._store.list(day_prefix(quality_prefix(self._version, self._feed), day_ns))
            keys |= {key for meta in named if (key := _raw_key_of_record(meta.key)) is not None}
            while len(self._listed) >= DAYS_KEPT:
                oldest = next(iter(self._listed))
                del self._listed[oldest], self._named[oldest]
            self._named[day_ns] = named
            self._listed[day_ns] = sorted(keys, key=lambda key: (key.minute_ns, key.part))
        return self._listed[day_ns]

    async def _read(self, keys: Sequence[RawKey]) -> dict[int, Known]:
        """Return what is stored of some minutes of one day."""
        if not keys:
            return {}
        named = self._named[keys[0].minute_ns // NS_PER_DAY * NS_PER_DAY]
        bound = await self._digest(named) if len(keys) >= DIGEST_FROM else {}
        stored: dict[RawKey, LedgerRecord | Manifest | None] = {}
        waiting = iter(keys)

        async def read_next() -> None:
            for key in waiting:  # shared: each goes to one reader
                stored[key] = _decoded(bound[key]) if key in bound else await self._one(key)

        async with trio.open_nursery() as nursery:
            for _ in range(READS_AT_ONCE):
                nursery.start_soon(read_next)
        known: dict[int, Known] = {}
        for key in keys:
            _add(known.setdefault(key.minute_ns, Known(key.minute_ns)), stored[key])
        for minute_ns in _marked(named):
            if minute_ns in known:
                known[minute_ns].is_short = True
        return known

    async def _digest(self, named: Sequence[ObjectMeta]) -> dict[RawKey, bytes]:
        """Return the listed records of a day that its digest has; nothing without a digest that can be read."""
        for meta in named:
            if meta.key.endswith(DIGEST_ENDING):
                sizes = {_raw_key_of_record(each.key): each.size_bytes for each in named}
                with suppress(BadRecord):
                    bound = unbind(await self._store.read(meta.key, meta.size_bytes) or b"")
                    return {key: text for key, text in bound.items() if sizes.get(key) == len(text)}
        return {}

    async def _one(self, key: RawKey) -> LedgerRecord | Manifest | None:
        text = await self._store.read(QualityKey.of(self._version, key).key)
        if text is not None:
            return _decoded(text)
        text = await self._store.read(key.manifest)
        try:
            return None if text is None else msgspec.json.decode(text, type=Manifest)
        except msgspec.MsgspecError:
            return None


def _decoded(text: bytes) -> LedgerRecord | None:
    try:
        return decode_record(text)
    except BadRecord:
        return None


@lru_cache(maxsize=KEYS_KEPT)
def _raw_key(key: str) -> RawKey:
    return RawKey.parse(key)


@lru_cache(maxsize=KEYS_KEPT)
def _raw_key_of_record(key: str) -> RawKey | None:
    """Return what a record is about; None for another key of its folder, such as a mark."""
    try:
        return QualityKey.parse(key).raw
    except BadRecord:
        return None


def _marked(metas: Iterable[ObjectMeta]) -> Iterator[int]:
    for meta in metas:
        if meta.key.endswith(SHORTFALL_ENDING):
            with suppress(BadRecord):
                yield ShortfallKey.parse(meta.key).minute_ns


def _add(known: Known, stored: LedgerRecord | Manifest | None) -> None:
    if stored is None:
        known.unreadable += 1
        return
    known.gaps += stored.gaps
    known.wanted = stored.wanted
    if isinstance(stored, LedgerRecord):
        known.records.append(stored)
    else:
        known.unnormalized += 1


def _day_ns(folder: str) -> int:
    year, month, day = folder.rstrip("/").split("/")[-3:]
    return RawKey.parse(f"raw/x/{year}/{month}/{day}/00/00-00.jsonl.zst").minute_ns
