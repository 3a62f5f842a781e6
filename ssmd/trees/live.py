"""Read and change what runs: the live copy of each feed's configuration, and what its connectors say of it.

The environment file is the record; its live copy lies on the bus, where every connector follows it. A change is a
compare-and-set: it succeeds on top of the revision that the caller has seen, or not at all.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd.actors import report as status
from ssmd.actors.report import ConnectorReport, digest_of, encode_config, reports_of, value_digest
from ssmd.actors.symbol_watcher import BUCKET, config_key, parse_config
from ssmd.bus.base import Bus, KvEntry, StreamUsage
from ssmd.bus.link import NatsOptions
from ssmd.bus.nats import NatsDialer
from ssmd.clock import NS_PER_S, NowNs, now_ns
from ssmd.environment.check import check_feed
from ssmd.errors import AlreadyStored, ConfigError, Conflict
from ssmd.model import is_token
from ssmd.protocols.decoder import VERSIONS
from ssmd.records import FeedConfig

SHOWN: Final = 5
JUST_AFTER_S: Final = 0.01
APPEAR_WITHIN_S: Final = status.HEARTBEAT_S + 1.0
"""A connector that has just started, or whose bus has, reports within this time."""


class LiveCopy(Struct, frozen=True):
    """What the bus holds of one feed.

    revision: 0 when nothing is there. config: as it was put, so without the bus's revision; None when nothing is
    there or it cannot be used. problem: why it cannot be used, for people.
    """

    revision: int
    config: FeedConfig | None
    problem: str = ""


class Waited(Struct, frozen=True):
    """One connector's answer to a wait.

    running: it runs the revision, and no symbol of the wait is pending. refused: it refused the revision.
    silent: it has said nothing for a while. behind: neither, yet. detail: more, for people; may be empty.
    """

    report: ConnectorReport
    state: Literal["running", "refused", "silent", "behind"]
    detail: str


class LiveLink:
    """One open connection. Every call raises BusDown when the bus is away or goes away."""

    def __init__(self, bus: Bus, now: NowNs = now_ns) -> None:
        self._bus = bus
        self._now = now

    # the live copy -------------------------------------------------------------------------------------------

    async def copy(self, environment: str, feed: str) -> LiveCopy:
        """Return what the bus holds of a feed; a deleted copy counts as nothing there."""
        entry = await self._bus.kv_get(BUCKET, _key_of(environment, feed))
        return LiveCopy(0, None) if entry is None else _copy_of(feed, entry)

    async def copies(self, environment: str) -> Mapping[str, LiveCopy]:
        """Return every feed's, also of feeds that no file names any more."""
        entries = await self._bus.kv_list(BUCKET, config_key(_token(environment), "*"))
        feeds = {entry.key.rpartition(".")[2]: entry for entry in entries}
        return {feed: _copy_of(feed, entry) for feed, entry in feeds.items()}

    async def put(self, environment: str, feed: str, config: FeedConfig, expected_revision: int) -> int:
        """Replace the copy that has the expected revision (0: there is none) and return the new revision.

        Raises Conflict when someone else changed it first, ConfigError for what every connector would refuse.
        """
        check_feed(feed, config, VERSIONS)
        key = _key_of(environment, feed)
        try:
            return await self._bus.kv_put(BUCKET, key, encode_config(config), expected_revision)
        except AlreadyStored as error:
            raise _conflict(environment, feed, expected_revision) from error

    async def remove(self, environment: str, feed: str, expected_revision: int) -> None:
        """Take away the copy that has the expected revision (0: there is none, so nothing to do).

        A connector that still runs keeps what it has. Raises Conflict when someone else changed it first.
        """
        key = _key_of(environment, feed)
        if expected_revision == 0:
            if await self._bus.kv_get(BUCKET, key) is not None:
                raise _conflict(environment, feed, expected_revision)
            return
        try:
            await self._bus.kv_delete(BUCKET, key, expected_revision)
        except AlreadyStored as error:
            raise _conflict(environment, feed, expected_revision) from error

    async def usage(self, stream: str) -> StreamUsage | None:
        """Return how full a stream is, None when there is no such stream."""
        return await self._bus.usage(stream)

    # what runs -----------------------------------------------------------------------------------------------

    async def reports(self, environment: str) -> Sequence[ConnectorReport]:
        """Return the last report of every connector, silent ones too; what is no report is left out."""
        entries = await self._bus.kv_list(status.BUCKET.name, reports_of(_token(environment)))
        found = (_report_of(entry) for entry in entries)
        return [one for one in found if one is not None]

    async def wait(
        self, environment: str, feed: str, revision: int, symbols: Collection[str], within_s: float
    ) -> Sequence[Waited]:
        """Return when every connector of the feed that is not silent runs the revision and none of these symbols pends.

        A later revision will do, if it is of the same bucket. Returns earlier when a connector refuses the revision,
        after `within_s` with what holds then, and with nothing when no connector reports within APPEAR_WITHIN_S.
        """
        goal = _Goal(revision, frozenset(symbols), self._now() + int(APPEAR_WITHIN_S * NS_PER_S))
        key, pattern = _key_of(environment, feed), reports_of(environment, feed)
        for entry in await self._bus.kv_list(status.BUCKET.name, pattern):
            goal.hear(entry)
        goal.look(await self._bus.kv_get(BUCKET, key))
        with trio.move_on_after(within_s):
            await self._until_over(goal, key, pattern)
        return goal.answers(self._now())

    async def _until_over(self, goal: "_Goal", key: str, pattern: str) -> None:
        if goal.is_over(self._now()):
            return
        await self._bus.ensure_bucket(status.BUCKET)  # a watch would make a missing one with other properties
        async with self._bus.kv_watch(status.BUCKET.name, pattern) as changes:
            while not goal.is_over(self._now()):
                with trio.move_on_after(goal.next_silence_s(self._now())):
                    goal.hear(await anext(changes))
                goal.look(await self._bus.kv_get(BUCKET, key))


@asynccontextmanager
async def live_link(nats_url: str) -> AsyncIterator[LiveLink]:
    """Connect to a running system. Raises BusDown within seconds when the bus is not there."""
    async with NatsDialer(nats_url, NatsOptions(name="ssmd-live")).connect() as bus:
        yield LiveLink(bus)


class _Goal:
    """What a wait is for, who answers, and what the bus has held since it began.

    A bucket that was made again counts from 1, so a number alone does not name a value: revision 57 of before is not
    later than revision 1 of now. So a report counts only if it says the same as the bus did under that number.
    """

    def __init__(self, revision: int, symbols: frozenset[str], appear_by_ns: int) -> None:
        self._revision = revision
        self._symbols = symbols
        self._appear_by_ns = appear_by_ns
        self._seen: dict[int, _Digests] = {}
        self._reports: dict[str, ConnectorReport] = {}

    def hear(self, entry: KvEntry) -> None:
        """Take what a connector says; one that has left says nothing any more."""
        report = _report_of(entry)
        self._appear_by_ns = 0  # somebody is there, or was
        if report is None:
            self._reports.pop(entry.key, None)
        else:
            self._reports[entry.key] = report

    def look(self, entry: KvEntry | None) -> None:
        """Take notice of what the bus holds now. Call it after `hear`: what is reported was there before."""
        if entry is not None and entry.value is not None:
            self._seen[entry.revision] = _digests_of(entry.value)

    def is_over(self, now_ns: int) -> bool:
        if not self._reports:
            return now_ns >= self._appear_by_ns
        states = {answer.state for answer in self.answers(now_ns)}
        return "refused" in states or "behind" not in states

    def answers(self, now_ns: int) -> Sequence[Waited]:
        return [self._judge(report, now_ns) for _, report in sorted(self._reports.items())]

    def next_silence_s(self, now_ns: int) -> float:
        """Return in how many seconds the next connector will be silent, or must have appeared."""
        if not self._reports:
            return (self._appear_by_ns - now_ns) / NS_PER_S + JUST_AFTER_S
        heard_ns = [report.reported_ns for report in self._reports.values() if not report.is_silent(now_ns)]
        return status.SILENT_AFTER_S - (now_ns - min(heard_ns, default=now_ns)) / NS_PER_S + JUST_AFTER_S

    def _judge(self, report: ConnectorReport, now_ns: int) -> Waited:
        if report.is_silent(now_ns):
            return Waited(report, "silent", f"no report for {(now_ns - report.reported_ns) / NS_PER_S:.0f} s")
        if report.digest == self._held(report.revision).config:
            return self._judge_symbols(report)
        refused = report.refused_config
        if refused is not None and refused.digest == self._held(refused.revision).value:
            return Waited(report, "refused", refused.reason)
        return Waited(report, "behind", f"runs revision {report.revision}")

    def _judge_symbols(self, report: ConnectorReport) -> Waited:
        if late := sorted(self._symbols.intersection(report.pending)):
            return Waited(report, "behind", f"waits for the exchange to confirm {_listed(late)}")
        if report.leaving:
            return Waited(report, "behind", f"waits for the exchange to end {_listed(report.leaving)}")
        no = [f"{one.symbol} ({one.reason})" for one in report.refused if one.symbol in self._symbols]
        return Waited(report, "running", f"the exchange refuses {_listed(no)}" if no else "")

    def _held(self, revision: int) -> "_Digests":
        return self._seen.get(revision, _NOTHING) if revision >= self._revision else _NOTHING


class _Digests(Struct, frozen=True):
    """What names a live copy: the digest of its bytes, and of the configuration in them; None matches no report."""

    value: str | None = None
    config: str | None = None


_NOTHING: Final = _Digests()


def _digests_of(value: bytes) -> _Digests:
    try:
        config = msgspec.json.decode(value, type=FeedConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Digests(value_digest(value))
    return _Digests(value_digest(value), digest_of(config))


def _report_of(entry: KvEntry) -> ConnectorReport | None:
    try:
        return None if entry.value is None else msgspec.json.decode(entry.value, type=ConnectorReport)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _copy_of(feed: str, entry: KvEntry) -> LiveCopy:
    try:
        config = parse_config(feed, entry, VERSIONS)
    except ConfigError as error:
        return LiveCopy(entry.revision, None, status.for_people(str(error)))
    return LiveCopy(entry.revision, replace(config, revision=0))


def _key_of(environment: str, feed: str) -> str:
    return config_key(_token(environment), _token(feed))


def _token(text: str) -> str:
    if not is_token(text):
        raise ConfigError(f"{text!r} names no environment and no feed; allowed are 1 to 32 of A-Z a-z 0-9 _ -")
    return text


def _conflict(environment: str, feed: str, expected_revision: int) -> Conflict:
    seen = f"at revision {expected_revision}" if expected_revision else "absent"
    return Conflict(f"the live copy of feed {feed} in environment {environment} is no longer {seen}")


def _listed(texts: Sequence[str]) -> str:
    more = len(texts) - SHOWN
    return ", ".join(texts[:SHOWN]) + (f" and {more} more" if more > 0 else "")
