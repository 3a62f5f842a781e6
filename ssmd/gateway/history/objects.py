"""Which archive objects a plan needs, by minute; listed day by day, so that no range is too long."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from ssmd.archive.together import together
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.gateway.access import Series
from ssmd.gateway.history.plan import Plan, Span
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.keys import NormalizedKey, normalized_day_prefix, normalized_prefix

NS_PER_DAY: Final = 1440 * NS_PER_MINUTE
KEYS_KEPT: Final = 4_096
"""Who pages through a day lists it again with every page; taking a key apart costs 9 µs."""
FEW_DAYS: Final = 3
"""So many days are listed without asking first which of them there are. Who reads backwards begins with so many."""


class StoredObject(Struct, frozen=True):
    key: NormalizedKey
    size_bytes: int


class MinuteObjects(Struct, frozen=True):
    """Everything that is archived of one minute."""

    minute_ns: int
    objects: tuple[StoredObject, ...] = ()


class ObjectIndex:
    """Gives the minutes of a plan one after the other, in its direction. Raises StoreDown."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self._store = store
        self._plan = plan
        self._prefixes = [(s.version, series) for s in plan.sources for series in sorted(plan.of(s.feed))]
        self._later = _stretches(plan)
        self._days: list[int] = []
        self._listed: dict[int, list[MinuteObjects]] = {}
        self._ready: list[MinuteObjects] = []

    async def list_since(self, from_ns: int) -> None:
        """List the plan's days from this one on now rather than when it is their turn."""
        first_ns = from_ns - from_ns % NS_PER_DAY
        while self._later and self._later[-1].to_ns > first_ns:
            await self._find_days()
        days = [day_ns for day_ns in self._days if day_ns >= first_ns]
        self._listed |= dict(zip(days, await together(self._list_day, days), strict=True))

    async def next(self) -> MinuteObjects | None:
        while not self._ready and (self._days or self._later):
            if not self._days:
                await self._find_days()
                continue
            day_ns = self._days.pop()
            listed = self._listed.pop(day_ns, None)
            self._ready = await self._list_day(day_ns) if listed is None else listed
            self._ready.sort(key=lambda minute: minute.minute_ns, reverse=not self._plan.newest_first)
        return self._ready.pop() if self._ready else None

    async def _find_days(self) -> None:
        """Find the days of the next stretch; the next day of all stands last."""
        found = sorted(await days_of(self._store, self._prefixes, self._later.pop()))
        self._days = [*(found if self._plan.newest_first else found[::-1]), *self._days]

    async def _list_day(self, day_ns: int) -> list[MinuteObjects]:
        found: dict[int, list[StoredObject]] = {}
        for one in await list_day(self._store, self._prefixes, day_ns):
            if self._plan.span.from_ns - NS_PER_MINUTE < one.key.minute_ns < self._plan.span.to_ns:
                found.setdefault(one.key.minute_ns, []).append(one)
        return [MinuteObjects(minute_ns, tuple(objects)) for minute_ns, objects in found.items()]


def _stretches(plan: Plan) -> list[Span]:
    """Return what to look for days in, the next stretch last: who reads backwards seldom needs more than the last days."""
    span, newest_ns = plan.span, plan.span.to_ns - plan.span.to_ns % NS_PER_DAY - (FEW_DAYS - 1) * NS_PER_DAY
    if not plan.newest_first or newest_ns <= span.from_ns:
        return [span]
    return [Span(span.from_ns, newest_ns), Span(newest_ns, span.to_ns)]


async def list_day(store: Store, prefixes: Sequence[tuple[str, Series]], day_ns: int) -> list[StoredObject]:
    """Return the objects of one day of some series of some versions."""

    async def list_one(of: tuple[str, Series]) -> list[StoredObject]:
        version, series = of
        prefix = normalized_day_prefix(version, series.feed, series.type, series.symbol, day_ns)
        return _ours(await store.list(prefix))

    return [one for listed in await together(list_one, prefixes) for one in listed]


@lru_cache(maxsize=KEYS_KEPT)
def _parsed(key: str) -> NormalizedKey:
    return NormalizedKey.parse(key)


def _ours(metas: Iterable[ObjectMeta]) -> list[StoredObject]:
    found: list[StoredObject] = []
    for meta in metas:
        try:
            found.append(StoredObject(_parsed(meta.key), meta.size_bytes))
        except BadRecord:
            continue  # nobody of ours has put it there
    return found


async def days_of(store: Store, prefixes: Sequence[tuple[str, Series]], span: Span) -> set[int]:
    """Return the days of a span, by their start, that have objects; some of a short span may have none."""
    first_ns = span.from_ns - span.from_ns % NS_PER_DAY
    if span.to_ns - first_ns <= FEW_DAYS * NS_PER_DAY:
        return set(range(first_ns, max(span.to_ns, first_ns), NS_PER_DAY))

    async def walk(of: tuple[str, Series]) -> list[int]:
        return await series_days(store, *of, span)

    return {day_ns for days in await together(walk, prefixes) for day_ns in days}


async def series_days(store: Store, version: str, series: Series, span: Span) -> list[int]:
    """Return the days within a span that have objects of a series, in order."""
    found = [normalized_prefix(version, series.feed, series.type, series.symbol)]
    for _ in ("years", "months", "days"):
        below = await together(store.folders, found)
        found = [folder for folders in below for folder in folders if _may_hold(folder, span)]
    return sorted(_start_ns(day) for day in found)


def _may_hold(folder: str, span: Span) -> bool:
    """Tell whether a folder of a year, a month or a day may hold something of a span."""
    try:
        first_ns = _start_ns(folder)
    except BadRecord:
        return False  # nobody of ours has made it
    longest_days = (366, 31, 1)[folder.count("/") - 6]
    return first_ns < span.to_ns and first_ns + longest_days * NS_PER_DAY > span.from_ns


def _start_ns(folder: str) -> int:
    """Return when the year, month or day of a folder begins."""
    parts = folder.rstrip("/").split("/")
    parts += ["01"] * (8 - len(parts))
    return NormalizedKey.parse("/".join([*parts, "00-00.capnp.zst"])).minute_ns
