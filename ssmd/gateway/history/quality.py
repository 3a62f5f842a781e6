"""What is known of the quality of a span: the ledger, and beyond its end what the connectors say now."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.archive.ledger import NOT_YET_ARCHIVED, SILENT_LOSS, UNARCHIVED, FeedLedger, MinuteState
from ssmd.archive.together import plain_outages
from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.gateway.history.plan import Doubt, Span
from ssmd.gateway.times import rfc3339
from ssmd.protocols.coverage import Gap
from ssmd.protocols.quality import BOOK_ONLY, Status, touches, worst
from ssmd.store.base import Store

LIVE: Final = "live"
"""Too young for the ledger; nothing speaks against it so far."""
NOT_CAPTURED: Final = "not_captured"
SILENT: Final = "silent"
UNPROVEN: Final = "unproven"
UNCOUNTED: Final = "uncounted"
"""The stream has lost something before it was archived, or was made anew; what that was is being counted."""

YOUNG_NS: Final = 2 * NS_PER_MINUTE
"""So long after its end a minute may still wait for its ledger record; that it has none says nothing yet."""

_WAITING: Final = SILENT_LOSS - {UNARCHIVED}
_DOUBTS: Final = frozenset({"checksum", "rejected", "trade_ids", "frames"})


class Window(Struct, frozen=True):
    """A stretch of time that is not verified. symbols: none means every one. end_ns: None while it lasts."""

    start_ns: int
    end_ns: int | None
    feed: str
    symbols: tuple[str, ...]
    status: Status
    reason: str


class Coverage(Struct, frozen=True):
    """How many minutes of the span there are, by status, over all feeds; those that the span cuts count whole."""

    minutes: int = 0
    verified: int = 0
    unverifiable: int = 0
    suspect: int = 0
    missing: int = 0


class Quality(Struct, frozen=True):
    """The worst of the windows, the windows themselves, and the figures behind them."""

    status: Status
    versions: dict[str, str]
    windows: tuple[Window, ...] = ()
    coverage: Coverage = Coverage()
    checksums_verified: int = 0
    checksums_failed: int = 0


class LiveView(Struct, frozen=True):
    """What the connectors of a feed say now. is_heard: one at least has reported lately. pending: not captured now."""

    is_heard: bool
    pending: frozenset[str] = frozenset()


class Asked(Struct, frozen=True):
    """One feed of the span. is_live: the version is the one that is made of live data now.

    uncounted: of these minutes the archive may lack what nobody has missed yet.
    """

    feed: str
    version: str
    symbols: frozenset[str]
    is_live: bool
    live: LiveView
    uncounted: Doubt | None = None


async def quality_of(store: Store, asked: Sequence[Asked], span: Span, now_ns: int) -> Quality:
    """Return what is known of these symbols in a span. Raises StoreDown."""
    folded = [await _fold(FeedLedger(store, one.version, one.feed), one, span, now_ns) for one in asked]
    windows = sorted((window for fold in folded for window in fold.windows()), key=_place)
    counts = [sum(fold.counts.get(status, 0) for fold in folded) for status in Coverage.__struct_fields__[1:]]
    return Quality(
        worst(window.status for window in windows),
        {one.feed: one.version for one in asked},
        tuple(windows),
        Coverage(sum(counts), *counts),
        sum(fold.checksums_verified for fold in folded),
        sum(fold.checksums_failed for fold in folded),
    )


async def _fold(ledger: FeedLedger, asked: Asked, span: Span, now_ns: int) -> "_Fold":
    fold = _Fold(asked, span)
    with plain_outages():
        settled_ns = minute_of(now_ns) - NS_PER_MINUTE
        if span.to_ns > settled_ns:
            settled_ns = await ledger.settled_ns(now_ns)
        first_ns = minute_of(span.from_ns)
        async for state in ledger.minutes(max(0, first_ns - NS_PER_MINUTE), min(span.to_ns, settled_ns)):
            if asked.is_live and _is_waiting(state, now_ns):
                settled_ns = min(settled_ns, state.minute)
            if first_ns <= state.minute < settled_ns:
                fold.add(state)
            fold.wanted_before = _wanted(state)
    if settled_ns < min(span.to_ns, now_ns):
        fold.add_live(max(settled_ns, minute_of(span.from_ns)), min(span.to_ns, now_ns))
    return fold


def _is_waiting(state: MinuteState, now_ns: int) -> bool:
    """Tell whether a minute is so young that its record may still come."""
    is_young = now_ns - state.minute < YOUNG_NS + NS_PER_MINUTE
    return is_young and bool(state.reasons) and _WAITING.issuperset(state.reasons)


class _Fold:
    """Collects the windows of one feed. What touches its neighbour and says the same becomes one."""

    def __init__(self, asked: Asked, span: Span) -> None:
        self.counts: dict[str, int] = {}
        self.checksums_verified = 0
        self.checksums_failed = 0
        self.wanted_before: frozenset[str] | None = None
        """What was to be captured when the minute before the next one ended; None: not known."""
        self._asked = asked
        self._span = span
        self._gaps: dict[tuple[int, int | None, str], set[str]] = {}
        self._open: dict[tuple[str, tuple[str, ...]], Window] = {}
        self._done: list[Window] = []

    def add(self, state: MinuteState) -> None:
        """Take what the ledger says of the next minute."""
        gaps = [gap for gap in state.gaps if self._concerns(gap)]
        for gap in gaps:
            self._gaps.setdefault((gap.from_ns, gap.to_ns, gap.reason), set()).update(gap.symbols)
        self.checksums_verified += state.figures.checksums_verified
        self.checksums_failed += state.figures.checksums_failed
        statuses = [_gap_status(gap.reason) for gap in gaps]
        for status, reason, symbols in self._doubts(state, gaps):
            self._extend(state.minute, state.minute + NS_PER_MINUTE, (status, reason, symbols))
            statuses.append(status)
        self._count(worst(statuses))

    def add_live(self, from_ns: int, to_ns: int) -> None:
        """Take what the ledger cannot know yet."""
        asked = self._asked
        pending = tuple(sorted(asked.symbols & asked.live.pending))
        found: list[tuple[Status, str, tuple[str, ...]]] = []
        if not asked.is_live:
            found.append(("missing", NOT_YET_ARCHIVED, ()))
        elif not asked.live.is_heard:
            found.append(("missing", SILENT, ()))
        else:
            found.append(("unverifiable", LIVE, ()))
            found += [("missing", NOT_CAPTURED, pending)] if pending else []
        for what in found:
            self._extend(from_ns, to_ns, what)
        self._count(worst(status for status, _, _ in found), -(-(to_ns - from_ns) // NS_PER_MINUTE))

    def windows(self) -> list[Window]:
        gaps = [
            Window(from_ns, to_ns, self._asked.feed, tuple(sorted(symbols)), _gap_status(reason), reason)
            for (from_ns, to_ns, reason), symbols in self._gaps.items()
        ]
        return [*gaps, *self._done, *self._open.values()]

    def _concerns(self, gap: Gap) -> bool:
        return (not gap.symbols or bool(self._asked.symbols.intersection(gap.symbols))) and touches(
            gap, self._span.from_ns, self._span.to_ns
        )

    def _doubts(self, state: MinuteState, gaps: Collection[Gap]) -> Iterable[tuple[Status, str, tuple[str, ...]]]:
        """Give what is said of the whole minute, beside gaps."""
        if state.answer == NOT_CAPTURED:
            yield "missing", NOT_CAPTURED, ()
            return
        about_others = {gap.reason for gap in state.gaps}
        for reason in state.reasons:
            if reason in SILENT_LOSS:
                yield "missing", reason, ()
            elif reason in _DOUBTS and reason not in about_others:
                yield "suspect", reason, ()
        if not gaps and not SILENT_LOSS.intersection(state.reasons) and not state.figures.checksums_verified:
            yield "unverifiable", UNPROVEN, ()
        if self._is_uncounted(state):
            yield "unverifiable", UNCOUNTED, ()
        if unwanted := self._unwanted(state):
            yield "missing", NOT_CAPTURED, unwanted

    def _is_uncounted(self, state: MinuteState) -> bool:
        uncounted = self._asked.uncounted
        return uncounted is not None and state.minute in uncounted and any(state.figures.events.values())

    def _unwanted(self, state: MinuteState) -> tuple[str, ...]:
        """Return the symbols that were not to be captured at the beginning or at the end of a minute.

        When within the minute that changed, the ledger does not say.
        """
        begin, end = self.wanted_before, _wanted(state)
        if not state.records or end is None:
            return ()
        return tuple(sorted(self._asked.symbols.difference(end if begin is None else end & begin)))

    def _count(self, status: Status, minutes: int = 1) -> None:
        self.counts[status] = self.counts.get(status, 0) + minutes

    def _extend(self, from_ns: int, to_ns: int, what: tuple[Status, str, tuple[str, ...]]) -> None:
        status, reason, symbols = what
        from_ns, to_ns = max(from_ns, self._span.from_ns), min(to_ns, self._span.to_ns)
        present = self._open.get((reason, symbols))
        if present is not None and present.end_ns == from_ns:
            from_ns = present.start_ns
        elif present is not None:
            self._done.append(present)
        self._open[reason, symbols] = Window(from_ns, to_ns, self._asked.feed, symbols, status, reason)


def _wanted(state: MinuteState) -> frozenset[str] | None:
    """Return the symbols that were to be captured when a minute ended; None where that is not known."""
    if state.answer == NOT_CAPTURED:
        return frozenset()
    wanted = [record.wanted for record in state.records]
    if not wanted or any(one is None for one in wanted):
        return None
    return frozenset().union(*(one for one in wanted if one is not None))


def _gap_status(reason: str) -> Status:
    return "suspect" if reason in BOOK_ONLY else "missing"


def _place(window: Window) -> tuple[int, int, str, str]:
    return (window.start_ns, window.end_ns or 0, window.feed, window.reason)


def window_members(window: Window) -> Mapping[str, object]:
    """Return a window as clients see it. frames: nobody has counted what did not come."""
    return {
        "start": rfc3339(window.start_ns),
        "end": None if window.end_ns is None else rfc3339(window.end_ns),
        "feed": window.feed,
        "symbols": window.symbols,
        "status": window.status,
        "reason": window.reason,
        "frames": None,
    }


def quality_members(quality: Quality, most_windows: int | None = None) -> Mapping[str, object]:
    """Return the quality block as clients see it; most_windows: the worst ones, for where there is little room."""
    windows: Sequence[Window] = quality.windows
    members: dict[str, object] = {"status": quality.status, "versions": quality.versions}
    if most_windows is not None and len(windows) > most_windows:
        members["windows_left_out"] = len(windows) - most_windows
        kept = sorted(windows, key=lambda w: worst((w.status, "verified")) == quality.status, reverse=True)
        windows = sorted(kept[:most_windows], key=_place)
    members["windows"] = [window_members(window) for window in windows]
    members["coverage"] = quality.coverage
    members["checksums"] = {"verified": quality.checksums_verified, "failed": quality.checksums_failed}
    return members


def quality_json(quality: Quality, most_windows: int | None = None) -> str:
    return msgspec.json.encode(quality_members(quality, most_windows)).decode()
