"""What `ssmd feed gaps` and `ssmd feed status` do: what the archive says of itself, and what connectors say now."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec import Struct

from ssmd import settings
from ssmd.archive.ledger import UNARCHIVED, FeedLedger, Gap, MinuteState, merged_gaps
from ssmd.archive.remembering import RememberingStore
from ssmd.cli.options import Format, Where, parse_duration_s
from ssmd.cli.output import say, show_rows
from ssmd.cli.reprocessing import opener, rfc3339, time_ns
from ssmd.cli.running import NoBus, find_bus
from ssmd.clock import NS_PER_S, minute_of, now_ns
from ssmd.environment.load import load
from ssmd.environment.spec import Environment, FeedEntry
from ssmd.errors import BusDown, ConfigError
from ssmd.reprocess.prune import ledger_versions_of
from ssmd.trees import ConnectorReport, live_link

DAY_S: Final = 86_400
DEFAULT_VERSION: Final = "v1"


class Times(Struct, frozen=True):
    """Which time is asked about: the last while, or from start to end."""

    last: str = "24h"
    start: str = ""
    end: str = ""

    def span_ns(self, at_ns: int) -> tuple[int, int]:
        """Return [start, end) in nanoseconds. Raises ConfigError for a span that is none."""
        end_ns = time_ns("--end", self.end, is_end=True) if self.end else at_ns
        if self.start:
            start_ns = time_ns("--start", self.start)
        else:
            start_ns = max(0, end_ns - int(parse_duration_s(self.last) * NS_PER_S))
        if end_ns <= start_ns:
            raise ConfigError(f"--end {self.end or 'now'} is not after --start {self.start}")
        return minute_of(start_ns), min(end_ns, at_ns)


class GapRow(Struct, frozen=True):
    """symbols: empty where it is not known which. end: `open` while it lasts, and then `length_s` is up to now."""

    start: str
    end: str
    length_s: float
    reason: str
    symbols: tuple[str, ...]


class SymbolStatus(Struct, frozen=True):
    """One symbol. now: what connectors say. verified_24h: the share of the minutes that were to be captured."""

    feed: str
    symbol: str
    now: str
    last_minute: str
    messages_last_minute: int
    gaps_24h: int
    missing_s_24h: float
    verified_24h: str


# gaps --------------------------------------------------------------------------------------------------------


async def show_gaps(feed: str, times: Times, env: str, where: Where, output: Format) -> int:
    """List the gaps of a feed. Return 1 while one of them is open."""
    at_ns, environment = now_ns(), load(env)
    store, version = RememberingStore(opener(env, where)()), version_of(environment, feed)
    held = await ledger_versions_of(store, feed)
    if feed not in environment.spec.feeds and not held:
        known = ", ".join(environment.spec.feeds) or "none"
        raise ConfigError(f"there is nothing of a feed {feed!r}; environment {env} has {known}, --env names another")
    if held and version not in held:
        say(f"note: there is no quality ledger of {feed} in version {version}; it may have been pruned")
    found = FeedLedger(store, version, feed)
    start_ns, end_ns = times.span_ns(at_ns)
    end_ns = min(end_ns, await found.settled_ns(at_ns))
    gaps = await merged_gaps(found.minutes(start_ns, end_ns))
    show_rows([_row(gap, at_ns) for gap in gaps], output, f"no gap in {feed} from {_time(start_ns)} to {_time(end_ns)}")
    _say_how_to_fill(feed, version, env, gaps)
    return 1 if any(gap.to_ns is None for gap in gaps) else 0


def _say_how_to_fill(feed: str, version: str, env: str, gaps: Sequence[Gap]) -> None:
    lost = [gap for gap in gaps if gap.reason == UNARCHIVED and gap.to_ns is not None]
    if lost:
        span = f"--start {rfc3339(lost[0].from_ns)} --end {rfc3339(max(gap.to_ns or 0 for gap in lost))}"
        say(
            "hint: the raw data has what is unarchived; "
            f"ssmd reprocess run --feed {feed} {span} --version {version} --env {env} fills it"
        )


def _row(gap: Gap, at_ns: int) -> GapRow:
    end_ns = at_ns if gap.to_ns is None else gap.to_ns
    length_s = round((end_ns - gap.from_ns) / NS_PER_S, 3)
    return GapRow(
        _time(gap.from_ns), "open" if gap.to_ns is None else _time(gap.to_ns), length_s, gap.reason, gap.symbols
    )


# status ------------------------------------------------------------------------------------------------------


async def show_feed_status(feed: str, env: str, where: Where, output: Format) -> int:
    """Show each symbol of a feed, or of every feed. Return 1 if one that is to be captured has an open gap."""
    environment, at_ns = load(env), now_ns()
    if feed and feed not in environment.spec.feeds:
        raise ConfigError(
            f"environment {env} has no feed {feed!r}; it has {', '.join(environment.spec.feeds) or 'none'}"
        )
    reports = await _reports(environment, where)
    store = RememberingStore(opener(env, where)())
    rows: list[SymbolStatus] = []
    is_well = True
    for name, entry in environment.spec.feeds.items():
        if feed in {"", name}:
            archived = await _archived(FeedLedger(store, entry.normalizer, name), at_ns)
            said = None if reports is None else [report for report in reports if report.feed == name]
            rows += _rows(name, entry, archived, _Now(said))
            is_well = is_well and not (entry.enabled and archived.is_open)
    show_rows(rows, output, f"no symbol in {env}; `ssmd feed add` adds one")
    return 0 if is_well else 1


class _Now(Struct, frozen=True):
    """What connectors say of a feed; None where they could not be asked."""

    reports: list[ConnectorReport] | None

    def of(self, symbol: str, at_ns: int) -> str:
        if self.reports is None:
            return "unknown"
        speaking = [report for report in self.reports if not report.is_silent(at_ns)]
        if any(symbol in report.live for report in speaking):
            return "live"
        if any(symbol in report.pending for report in speaking):
            return "pending"
        if any(symbol == refused.symbol for report in speaking for refused in report.refused):
            return "refused"
        return "silent" if self.reports and not speaking else "not captured"


class _Archived(Struct):
    """What the archive says of a feed's last day."""

    last: int | None
    states: list[MinuteState]
    gaps: list[Gap]
    at_ns: int

    @property
    def is_open(self) -> bool:
        return any(gap.to_ns is None for gap in self.gaps)

    def share_verified(self, symbol: str) -> str:
        """Return the share of the minutes in which somebody wanted the feed, `-` without any."""
        wanted = [state for state in self.states if state.answer != "not_captured"]
        good = [state for state in wanted if state.answer == "verified" or _is_of_others(state, symbol)]
        return f"{100 * len(good) / len(wanted):.1f}%" if wanted else "-"

    def messages(self, symbol: str) -> int:
        last = next((state for state in reversed(self.states) if state.minute == self.last), None)
        return 0 if last is None else last.figures.messages.get(symbol, 0)


def _is_of_others(state: MinuteState, symbol: str) -> bool:
    """Tell whether all that is wrong with a minute are gaps of other symbols."""
    if not state.gaps or any(symbol in gap.symbols for gap in state.gaps) or not state.records:
        return False
    return set(state.reasons) == {gap.reason for gap in state.gaps} and state.figures.checksums_verified > 0


async def _archived(found: FeedLedger, at_ns: int) -> _Archived:
    start_ns, end_ns = minute_of(at_ns - DAY_S * NS_PER_S), await found.settled_ns(at_ns)
    states = [state async for state in found.minutes(start_ns, end_ns)]
    last = await found.last_minute(at_ns)
    return _Archived(last, states, await merged_gaps(_each(states)), at_ns)


async def _each(states: Sequence[MinuteState]) -> AsyncIterator[MinuteState]:
    for state in states:
        yield state


def _rows(feed: str, entry: FeedEntry, archived: _Archived, now: _Now) -> list[SymbolStatus]:
    rows = []
    for symbol in sorted(spec.internal for spec in entry.symbols):
        gaps = [gap for gap in archived.gaps if symbol in gap.symbols or not gap.symbols]
        day_ns = archived.at_ns - DAY_S * NS_PER_S
        spans = [(max(gap.from_ns, day_ns), archived.at_ns if gap.to_ns is None else gap.to_ns) for gap in gaps]
        rows.append(
            SymbolStatus(
                feed,
                symbol,
                now.of(symbol, archived.at_ns) if entry.enabled else "disabled",
                "-" if archived.last is None else _time(archived.last),
                archived.messages(symbol),
                len(gaps),
                round(_covered_ns(spans) / NS_PER_S, 1),
                archived.share_verified(symbol),
            )
        )
    return rows


def _covered_ns(spans: Sequence[tuple[int, int]]) -> int:
    """Return how long the spans last together, overlaps counted once."""
    total, reached = 0, 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


async def _reports(environment: Environment, where: Where) -> Sequence[ConnectorReport] | None:
    """Return what connectors say, None where nobody can be asked."""
    bus = find_bus(settings.load(where.config), where.data_dir, environment.name)
    if isinstance(bus, NoBus):
        say(f"note: {bus.reason}; showing the archive only")
        return None
    try:
        async with live_link(bus.url) as link:
            return await link.reports(environment.name)
    except BusDown as error:
        say(f"note: NATS cannot be reached ({error}); showing the archive only")
        return None


def version_of(environment: Environment, feed: str) -> str:
    """Return the normalizer version of a feed; the first one where the environment does not know the feed."""
    entry = environment.spec.feeds.get(feed)
    return DEFAULT_VERSION if entry is None else entry.normalizer


def _time(at_ns: int) -> str:
    """Return a time with its nanoseconds, as `ssmd` prints times."""
    return f"{rfc3339(at_ns).removesuffix('Z')}.{at_ns % NS_PER_S:09d}Z"
