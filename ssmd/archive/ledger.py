"""Read the quality ledger: every minute of a range with one of five answers, none skipped.

A minute's record is written once, but what is wrong with a minute may be found out later: a process that was killed
leaves its gap to the next one to tell. So the reader looks around: back to the last minute before the range, and ahead
over the next LOOK_AHEAD minutes that there are.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct

from ssmd.archive.records import NS_PER_DAY, Known, RecordReader
from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.protocols.coverage import Gap
from ssmd.protocols.quality import Figures, LedgerRecord, Status, added, judge, touches, worst
from ssmd.store.base import Store

__all__ = ["Answer", "FeedLedger", "Gap", "MinuteState", "ledger", "merged_gaps"]


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
    reader = RecordReader(store, version, feed)
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


def _state(minute_ns: int, known: Known | None, gaps: Sequence[Gap], wanted: tuple[str, ...] | None) -> MinuteState:
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


def _lost(known: Known) -> set[str]:
    found = {NOT_YET_ARCHIVED: known.unnormalized, UNREADABLE: known.unreadable, UNARCHIVED: known.is_short}
    return {reason for reason, is_so in found.items() if is_so}


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
        known = await RecordReader(*self._place).last_before(minute_of(at_ns) + NS_PER_MINUTE)
        return None if known is None else known.minute

    async def settled_ns(self, at_ns: int) -> int:
        """Return up to when there must be records by now: a minute gets its own some seconds after its end."""
        last = await self.last_minute(at_ns)
        before_ns = minute_of(at_ns) - NS_PER_MINUTE
        return before_ns if last is None else max(before_ns, last + NS_PER_MINUTE)
