"""Read the quality ledger: every minute of a range with one of five answers, none skipped.

A minute's record is written once, but what is wrong with a minute may be found out later: a process that was killed
leaves its gap to the next one to tell. So the reader looks around: back to the last minute before the range, and ahead
over the next LOOK_AHEAD minutes that there are.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Final, Literal

import msgspec
import trio
from msgspec import Struct, field

from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.errors import BadRecord
from ssmd.protocols.coverage import Gap
from ssmd.protocols.manifest import Manifest
from ssmd.protocols.quality import Figures, LedgerRecord, Status, added, decode_record, judge, touches, worst
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.keys import (
    SHORTFALL_ENDING,
    QualityKey,
    RawKey,
    ShortfallKey,
    day_prefix,
    quality_prefix,
    raw_prefix,
)

__all__ = ["Answer", "FeedLedger", "Gap", "MinuteState", "ledger", "merged_gaps"]

LOOK_AHEAD: Final = 60
READS_AT_ONCE: Final = 8
DAYS_KEPT: Final = 3
"""Listed once by one reader: the day before a range, one of it, the one behind it."""
KEYS_KEPT: Final = 4_096
"""Who pages through a day lists it again with every page; taking a key apart costs 9 µs."""
NS_PER_DAY: Final = 1440 * NS_PER_MINUTE

Answer = Status | Literal["not_captured"]

NO_RECORD: Final = "no_record"
"""The feed was to be captured, nothing was stored, and nobody has said why (yet)."""
NOT_YET_ARCHIVED: Final = "not_yet_archived"
"""There is raw data, but this normalizer version has not passed it (yet)."""
UNREADABLE: Final = "unreadable_record"
UNARCHIVED: Final = "unarchived"
"""The archive has fewer events than were made of the minute; the raw data has them. See `shortfall`."""

SILENT_LOSS: Final = frozenset({NO_RECORD, NOT_YET_ARCHIVED, UNREADABLE, UNARCHIVED})
"""Reasons that no gap tells: they are of whole minutes, and which symbols they cost is not known."""


class MinuteState(Struct, frozen=True):
    """What is known of one minute now. records: one for each raw object; none without any.

    gaps: everything known to touch the minute, whole, also what was found out after its records were written.
    """

    minute: int
    answer: Answer
    reasons: tuple[str, ...]
    gaps: tuple[Gap, ...] = ()
    records: tuple[LedgerRecord, ...] = ()

    @property
    def figures(self) -> Figures:
        return added([record.figures for record in self.records])


class _Known(Struct):
    """What is stored of one minute. wanted: when its last object ended; None: an earlier release did not say it."""

    minute: int
    records: list[LedgerRecord] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    wanted: tuple[str, ...] | None = ()
    unnormalized: int = 0
    unreadable: int = 0
    is_short: bool = False


class _OpenGaps:
    """The gaps of a stretch of time, each symbol's once: a later statement tells the end of an open one."""

    def __init__(self) -> None:
        self._end_ns: dict[tuple[int, str, str], int | None] = {}

    def add(self, gaps: Iterable[Gap]) -> None:
        for gap in gaps:
            for symbol in gap.symbols:
                name = (gap.from_ns, gap.reason, symbol)
                if self._end_ns.get(name) is None:
                    self._end_ns[name] = gap.to_ns

    def gaps(self) -> list[Gap]:
        spans: dict[tuple[int, int | None, str], list[str]] = {}
        for (from_ns, reason, symbol), to_ns in self._end_ns.items():
            spans.setdefault((from_ns, to_ns, reason), []).append(symbol)
        found = [
            Gap(from_ns, to_ns, reason, tuple(sorted(symbols))) for (from_ns, to_ns, reason), symbols in spans.items()
        ]
        return sorted(found, key=lambda gap: (gap.from_ns, gap.to_ns or 0, gap.reason, gap.symbols))

    def forget(self, before_ns: int) -> None:
        self._end_ns = {name: end for name, end in self._end_ns.items() if end is None or end >= before_ns}


async def ledger(store: Store, version: str, feed: str, start_ns: int, end_ns: int) -> AsyncIterator[MinuteState]:
    """Give every minute that begins in [start_ns, end_ns), in order. Raises StoreDown.

    verified, unverifiable, suspect, missing: see docs/quality.md. not_captured: nobody wanted anything of the feed.
    """
    reader = _Reader(store, version, feed)
    minute_ns = -(-start_ns // NS_PER_MINUTE) * NS_PER_MINUTE
    gaps = _OpenGaps()
    wanted: tuple[str, ...] | None = ()
    if (before := await reader.last_before(minute_ns)) is not None:
        gaps.add(before.gaps)
        wanted = before.wanted
    while minute_ns < end_ns:
        until_ns = min(end_ns, minute_ns - minute_ns % NS_PER_DAY + NS_PER_DAY)
        known = await reader.between(minute_ns, until_ns)
        for each in [*known.values(), *await reader.ahead(until_ns)]:
            gaps.add(each.gaps)
        gaps.forget(minute_ns)
        listed = gaps.gaps()
        for at_ns in range(minute_ns, until_ns, NS_PER_MINUTE):
            yield _state(at_ns, known.get(at_ns), listed, wanted)
            if at_ns in known:
                wanted = known[at_ns].wanted
        minute_ns = -(-until_ns // NS_PER_MINUTE) * NS_PER_MINUTE


def _state(minute_ns: int, known: _Known | None, gaps: Sequence[Gap], wanted: tuple[str, ...] | None) -> MinuteState:
    near = tuple(gap for gap in gaps if touches(gap, minute_ns, minute_ns + NS_PER_MINUTE))
    if known is None:
        if near:
            return MinuteState(minute_ns, "missing", tuple(sorted({gap.reason for gap in near})), near)
        if wanted is None or wanted:
            return MinuteState(minute_ns, "missing", (NO_RECORD,))
        return MinuteState(minute_ns, "not_captured", ())
    status, reasons = judge(added([record.figures for record in known.records]), near, minute_ns)
    more = {reason for record in known.records for reason in record.reasons if reason == "frames"}
    if more:
        status = worst((status, "suspect"))
    if lost := _lost(known):
        more |= lost
        status, reasons = "missing", tuple(reason for reason in reasons if reason != "unproven")
    return MinuteState(minute_ns, status, tuple(sorted({*reasons, *more})), near, tuple(known.records))


def _lost(known: _Known) -> set[str]:
    found = {NOT_YET_ARCHIVED: known.unnormalized, UNREADABLE: known.unreadable, UNARCHIVED: known.is_short}
    return {reason for reason, is_so in found.items() if is_so}


class _Reader:
    """Reads ledger records, and the manifests of raw objects that have none."""

    def __init__(self, store: Store, version: str, feed: str) -> None:
        self._store = store
        self._version = version
        self._feed = feed
        self._listed: dict[int, Sequence[RawKey]] = {}
        self._short: dict[int, frozenset[int]] = {}
        """By day: the minutes with a mark."""

    async def between(self, from_ns: int, to_ns: int) -> dict[int, _Known]:
        """Return what is stored of the minutes of a span within one day, in order."""
        keys = [key for key in await self._keys(from_ns) if from_ns <= key.minute_ns < to_ns]
        return await self._read(keys)

    async def last_before(self, minute_ns: int) -> _Known | None:
        """Return the last minute before a time of which anything is stored."""
        for day_ns in reversed(await self._days(0, minute_ns)):
            keys = [key for key in await self._keys(day_ns) if key.minute_ns < minute_ns]
            if keys:
                (last,) = (await self._read([key for key in keys if key.minute_ns == keys[-1].minute_ns])).values()
                return last
        return None

    async def ahead(self, from_ns: int) -> Sequence[_Known]:
        """Return the next minutes of which anything is stored."""
        found: list[_Known] = []
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
                del self._listed[oldest], self._short[oldest]
            self._short[day_ns] = frozenset(_marked(named))
            self._listed[day_ns] = sorted(keys, key=lambda key: (key.minute_ns, key.part))
        return self._listed[day_ns]

    async def _read(self, keys: Sequence[RawKey]) -> dict[int, _Known]:
        stored: dict[RawKey, LedgerRecord | Manifest | None] = {}
        waiting = iter(keys)

        async def read_next() -> None:
            for key in waiting:  # shared: each goes to one reader
                stored[key] = await self._one(key)

        async with trio.open_nursery() as nursery:
            for _ in range(READS_AT_ONCE):
                nursery.start_soon(read_next)
        known: dict[int, _Known] = {}
        for key in keys:
            _add(known.setdefault(key.minute_ns, _Known(key.minute_ns)), stored[key])
        for minute_ns, of_minute in known.items():
            of_minute.is_short = minute_ns in self._short[minute_ns - minute_ns % NS_PER_DAY]
        return known

    async def _one(self, key: RawKey) -> LedgerRecord | Manifest | None:
        text = await self._store.read(QualityKey.of(self._version, key).key)
        try:
            if text is not None:
                return decode_record(text)
            text = await self._store.read(key.manifest)
            return None if text is None else msgspec.json.decode(text, type=Manifest)
        except (BadRecord, msgspec.MsgspecError):
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


def _add(known: _Known, stored: LedgerRecord | Manifest | None) -> None:
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


async def merged_gaps(states: AsyncIterator[MinuteState]) -> list[Gap]:
    """Return each gap of the minutes once, in order of time; minutes without any word become gaps too.

    Those have the reason and the whole minutes that they last; which symbols they cost is not known.
    """
    gaps = _OpenGaps()
    silent: list[Gap] = []
    async for state in states:
        gaps.add(state.gaps)
        for reason in SILENT_LOSS.intersection(state.reasons):
            end_ns = state.minute + NS_PER_MINUTE
            last = next((gap for gap in reversed(silent) if gap.reason == reason), None)
            if last is not None and last.to_ns == state.minute:
                silent.remove(last)
                silent.append(Gap(last.from_ns, end_ns, reason, ()))
            else:
                silent.append(Gap(state.minute, end_ns, reason, ()))
    return sorted([*gaps.gaps(), *silent], key=lambda gap: (gap.from_ns, gap.to_ns or 0, gap.reason))


class FeedLedger:
    """The ledger of one feed and version."""

    def __init__(self, store: Store, version: str, feed: str) -> None:
        self._place = (store, version, feed)

    def minutes(self, start_ns: int, end_ns: int) -> AsyncIterator[MinuteState]:
        return ledger(*self._place, start_ns, end_ns)

    async def last_minute(self, at_ns: int) -> int | None:
        """Return the last minute up to the one of a time of which anything is stored."""
        known = await _Reader(*self._place).last_before(minute_of(at_ns) + NS_PER_MINUTE)
        return None if known is None else known.minute

    async def settled_ns(self, at_ns: int) -> int:
        """Return up to when there must be records by now: a minute gets its own some seconds after its end."""
        last = await self.last_minute(at_ns)
        before_ns = minute_of(at_ns) - NS_PER_MINUTE
        return before_ns if last is None else max(before_ns, last + NS_PER_MINUTE)
