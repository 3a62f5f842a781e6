"""A store that remembers: listings and folders for a moment, and the small objects that they name.

Objects are written once, so what was read stays right as long as a listing names the same object: pruning a version and
making it anew gives other bytes under the same key, and another tag. A listing stays right only for a moment.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import trio
from msgspec import Struct

from ssmd.archive.together import together
from ssmd.clock import NS_PER_MINUTE, NowNs, now_ns
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.keys import day_prefix

KEPT_BYTES: Final = 8 << 20
"""Some days of a feed's ledger, or the pages of some readers."""
LARGEST_BYTES: Final = 64 << 10
KEPT_NAMES: Final = 16_000
"""Of objects in listings, 300 bytes each. A day of a feed has 4,300 in its ledger and its raw data, 1,440 a symbol and type."""

YOUNG_AGE_S: Final = 5.0
"""A new record is seen so much later; pages follow each other faster."""
OLD_AGE_S: Final = 30.0
"""Late parts, a reprocess, a restore or retention change a day that is over; seen so much later."""
OVER_AFTER_NS: Final = 120 * NS_PER_MINUTE

READ_AHEAD: Final = 128
"""Records read at once. Who reads one goes on with the next, and each answer wants the hour behind its end as well."""

LEDGER: Final = ("quality/", "raw/")
RECORDS: Final = "quality/"
YEARS_AND_MONTHS: Final = {"raw": range(2, 4), "quality": range(3, 5)}
"""How many parts the way to a feed has, and to a year of it: who asks for what is below wants all of it."""


class _Listing(Struct, frozen=True):
    """objects: by key, in order; folders have none of the rest."""

    at_s: float
    objects: Mapping[str, ObjectMeta]

    @property
    def age_s(self) -> float:
        return trio.current_time() - self.at_s


class _Listings:
    """What was listed, by prefix; the longest ago goes first when there are too many names."""

    def __init__(self, kept_names: int) -> None:
        self._kept_names = kept_names
        self._names = 0
        self._found: OrderedDict[str, _Listing] = OrderedDict()

    def get(self, prefix: str) -> _Listing | None:
        return self._found.get(prefix)

    def meta(self, key: str) -> ObjectMeta | None:
        """Return what was listed lately of an object in its folder."""
        listing = self._found.get(folder_of(key))
        return None if listing is None or listing.age_s > OLD_AGE_S else listing.objects.get(key)

    def add(self, prefix: str, metas: Sequence[ObjectMeta]) -> None:
        self.drop(prefix)
        self._found[prefix] = _Listing(trio.current_time(), {meta.key: meta for meta in metas})
        self._names += len(metas) + 1
        while self._names > self._kept_names:
            self.drop(next(iter(self._found)))

    def drop(self, prefix: str) -> None:
        dropped = self._found.pop(prefix, None)
        if dropped is not None:
            self._names -= len(dropped.objects) + 1


class _Bodies:
    """Small objects that were read last, by key and tag."""

    def __init__(self, kept_bytes: int) -> None:
        self._kept_bytes = kept_bytes
        self._size_bytes = 0
        self._bodies: OrderedDict[tuple[str, str | None], bytes] = OrderedDict()

    def get(self, meta: ObjectMeta) -> bytes | None:
        body = self._bodies.get((meta.key, meta.etag))
        if body is not None:
            self._bodies.move_to_end((meta.key, meta.etag))
        return body

    def add(self, meta: ObjectMeta, body: bytes) -> None:
        if len(body) > LARGEST_BYTES:
            return
        self._size_bytes += len(body) - len(self._bodies.get((meta.key, meta.etag), b""))
        self._bodies[meta.key, meta.etag] = body
        while self._size_bytes > self._kept_bytes:
            _, oldest = self._bodies.popitem(last=False)
            self._size_bytes -= len(oldest)


class RememberingStore:
    """Implements `ssmd.store.base.Store`. Remembers the ledger: its listings, and its records, of which it reads ahead.

    Listings of events are made anew each time: what the archiver stored and acknowledged must not be missing. `settled`
    is the same store for ranges that the stream has no part in any more, and remembers those as well.
    """

    def __init__(self, store: Store, now: NowNs = now_ns, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._now = now
        self._listings = _Listings(KEPT_NAMES)
        self._bodies = _Bodies(kept_bytes)
        self._under_way: dict[str, trio.Event] = {}
        self.settled = SettledStore(self)

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        meta = self._listings.meta(key)
        if meta is None:
            return await self._store.read(key, size_bytes)
        body = self._bodies.get(meta)
        if body is not None:
            await trio.lowlevel.checkpoint()
            return body
        return await (self._record(meta) if _is_small_record(meta) else self._fetch(meta))

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        if not prefix.startswith(LEDGER):
            return await self._store.list(prefix)
        at_ns = self._now()
        young = (day_prefix("", at_ns), day_prefix("", at_ns - OVER_AFTER_NS))
        return await self.list_within(prefix, YOUNG_AGE_S if prefix.endswith(young) else OLD_AGE_S)

    async def list_within(self, prefix: str, age_s: float) -> Sequence[ObjectMeta]:
        """Return what was listed so long ago at most."""

        async def list_now() -> Sequence[ObjectMeta]:
            return await self._store.list(prefix)

        return list((await self._recent(prefix, age_s, list_now)).values())

    async def folders(self, prefix: str) -> Sequence[str]:
        return await (self.folders_within(prefix) if prefix.startswith(LEDGER) else self._store.folders(prefix))

    async def folders_within(self, prefix: str) -> Sequence[str]:
        """Return what was seen OLD_AGE_S ago at most; of a feed's ledger all levels are looked at, each at once."""

        async def look() -> Sequence[ObjectMeta]:
            found = await self._store.folders(prefix)
            if prefix.count("/") in YEARS_AND_MONTHS.get(prefix.partition("/")[0], ()):
                await together(self.folders_within, found)
            return [ObjectMeta(folder, 0) for folder in found]

        return list(await self._recent(f"folders:{prefix}", OLD_AGE_S, look))

    async def create(self, key: str, body: bytes) -> bool:
        return await self._store.create(key, body)

    async def head(self, key: str) -> ObjectMeta | None:
        return await self._store.head(key)

    async def delete(self, key: str) -> None:
        self._listings.drop(folder_of(key))
        await self._store.delete(key)

    async def _recent(
        self, name: str, age_s: float, look: Callable[[], Awaitable[Sequence[ObjectMeta]]]
    ) -> Mapping[str, ObjectMeta]:
        known = self._listings.get(name)
        if known is not None and known.age_s <= age_s:
            await trio.lowlevel.checkpoint()
            return known.objects
        metas = await look()
        self._listings.add(name, metas)
        return {meta.key: meta for meta in metas}

    async def _fetch(self, meta: ObjectMeta) -> bytes | None:
        body = await self._store.read(meta.key, meta.size_bytes)
        if body is None:  # deleted since it was listed
            self._listings.drop(folder_of(meta.key))
        else:
            self._bodies.add(meta, body)
        return body

    async def _record(self, meta: ObjectMeta) -> bytes | None:
        """Read a record together with those that are listed behind it."""
        under_way = self._under_way.get(meta.key)
        if under_way is not None:
            await under_way.wait()
            body = self._bodies.get(meta)
            return await self._fetch(meta) if body is None else body
        metas = self._ahead(meta)
        done = trio.Event()
        self._under_way |= {one.key: done for one in metas}
        try:
            return (await together(self._fetch, metas, READ_AHEAD))[0]
        finally:
            for one in metas:
                del self._under_way[one.key]
            done.set()

    def _ahead(self, meta: ObjectMeta) -> Sequence[ObjectMeta]:
        """Return the object, and those of its folder's next ones that have to be read."""
        listing = self._listings.get(folder_of(meta.key))
        metas = [] if listing is None else list(listing.objects.values())
        behind = [one for one in metas if meta.key < one.key][: READ_AHEAD - 1]
        missing = [one for one in behind if one.key not in self._under_way and self._bodies.get(one) is None]
        return [meta, *filter(_is_small_record, missing)]


class SettledStore:
    """Implements `ssmd.store.base.Store`: a remembering store that also remembers where events are, and events."""

    def __init__(self, store: RememberingStore) -> None:
        self._store = store

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        return await self._store.read(key, size_bytes)

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        return await self._store.list_within(prefix, OLD_AGE_S)

    async def folders(self, prefix: str) -> Sequence[str]:
        return await self._store.folders_within(prefix)

    async def create(self, key: str, body: bytes) -> bool:
        return await self._store.create(key, body)

    async def head(self, key: str) -> ObjectMeta | None:
        return await self._store.head(key)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)


def _is_small_record(meta: ObjectMeta) -> bool:
    """Tell whether reading an object ahead is worth it: what is not kept would be read again."""
    return meta.key.startswith(RECORDS) and meta.size_bytes <= LARGEST_BYTES


def folder_of(key: str) -> str:
    return key.rpartition("/")[0] + "/"
