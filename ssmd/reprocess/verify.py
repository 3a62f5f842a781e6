"""Prove an archive from its raw data: hashes, chains, lines, order, gaps, ledger, and the events themselves.

One pass in the order of capture. Held at any time: one raw object as stored, the events of one minute, the names of a
day's objects and a line for each manifest of the range.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio
from msgspec import Struct

from ssmd.archive.digest import unbind
from ssmd.codec import marketdata
from ssmd.codec.packing import Item, Series, once
from ssmd.errors import BadRecord, ConfigError
from ssmd.model import Event, type_of
from ssmd.protocols import exchange
from ssmd.protocols.decoder import VERSIONS, FeedDecoder, Versions, decoder
from ssmd.protocols.manifest import Manifest
from ssmd.protocols.quality import MinuteFold, Tally, decode_record
from ssmd.records import Record
from ssmd.reprocess.plan import Index, Step, chunks, read_index
from ssmd.reprocess.raw_index import RawMinute, RawPart
from ssmd.reprocess.verify_archive import NS_PER_DAY, Minutes, archive_problems, objects_of_day, record_problem
from ssmd.reprocess.verify_raw import (
    Order,
    Seen,
    Writer,
    chain_problems,
    content_problems,
    gap_problems,
    manifest_problems,
    read_object,
)
from ssmd.reprocess.verify_report import Finding, MinuteResult, Report
from ssmd.store.base import Store
from ssmd.store.keys import DIGEST_ENDING, SHORTFALL_ENDING, DigestKey, QualityKey, RawKey, day_prefix, quality_prefix

__all__ = ["Finding", "MinuteResult", "Report", "VerifySpec", "verify"]

ORDER_SHOWN: Final = 3

OnMinute = Callable[[MinuteResult, int], None]
"""Called after each minute with its result and how many minutes there are."""


class VerifySpec(Struct, frozen=True):
    """What to verify: minutes that begin in [start_ns, end_ns). sample: of so many of them the events; None: of all."""

    feed: str
    version: str
    start_ns: int
    end_ns: int
    sample: int | None = None
    versions: Versions = msgspec.field(default_factory=lambda: VERSIONS)


async def verify(store: Store, spec: VerifySpec, on_minute: OnMinute = lambda _result, _total: None) -> Report:
    """Check everything of a range and return what is wrong. Raises StoreDown; ConfigError for an unknown version."""
    if spec.version not in spec.versions:
        raise ConfigError(f"version is {spec.version!r}; known are {', '.join(sorted(spec.versions))}")
    index = await read_index(store, spec.feed, spec.start_ns, spec.end_ns)
    return await _Verifier(store, spec, index).run(on_minute)


class _Minute(Struct):
    """One minute at work. wanted: it is reported, else it only warms up. step: None where nothing is normalized."""

    raw: RawMinute
    step: Step | None
    wanted: bool
    result: MinuteResult
    made: dict[Series, list[Item]] = {}  # a struct copies its default for each instance

    @property
    def compares(self) -> bool:
        return self.step is not None and self.step.writes


class _Verifier:
    def __init__(self, store: Store, spec: VerifySpec, index: Index) -> None:
        self._store = store
        self._spec = spec
        self._index = index
        self._report = Report(spec.feed, spec.version, spec.start_ns, spec.end_ns)
        self._findings: dict[int, int] = {}
        self._order = Order()
        self._writers: dict[str, Writer] = {}
        self._decoder = self._new_decoder()
        self._is_whole = False
        """Whether the decoder has read the feed from its beginning."""
        self._has_read = False
        self._followers: set[str] = set()
        """Writers whose chain began when the decoder had read another one's data already."""
        self._raw_keys = {part.key for minute in index.in_range for part in minute.parts}
        self._day_ns = _day_of(spec.start_ns) - NS_PER_DAY
        self._archived: Minutes = {}
        self._recorded: set[RawKey] = set()
        """Raw objects of the day that have a ledger record."""
        self._digest: dict[RawKey, bytes] = {}

    async def run(self, on_minute: OnMinute) -> Report:
        self._report.ledger = bool(await self._store.folders(quality_prefix(self._spec.version, self._spec.feed)))
        self._check_names()
        steps, total = self._steps(), len(self._index.in_range)
        before = -1
        for place, raw in enumerate(self._index.minutes):
            is_wanted = raw.minute_ns >= self._spec.start_ns
            if not is_wanted and raw.minute_ns not in steps:
                continue
            if before != place - 1:
                self._order.jump()
                self._writers.clear()
            before = place
            minute = _Minute(raw, steps.get(raw.minute_ns), is_wanted, MinuteResult(raw.minute_ns, len(raw.parts)))
            await self._minute(minute)
            if is_wanted:
                self._report.add(minute.result)
                on_minute(minute.result, total)
        await self._enter_day(self._spec.end_ns - 1)
        self._find_lone()
        return self._report

    def _find(self, *findings: Finding) -> None:
        for finding in findings:
            self._report.find(finding)
            if finding.minute is not None:
                self._findings[finding.minute] = self._findings.get(finding.minute, 0) + 1

    def _check_names(self) -> None:
        """Find what names and manifests alone tell."""
        self._report.unprovable = sorted(self._index.taken)
        taken = {f"connection {conn}" for conn in self._index.taken}
        for problem in self._index.problems:
            if problem.kind == "begin_unknown" and problem.key in taken:
                continue
            self._find(Finding(problem.kind, problem.key, problem.detail, _minute_of_key(problem.key)))
        for finding in chain_problems(self._index.minutes):
            if finding.minute is not None and finding.minute >= self._spec.start_ns:
                self._find(finding)

    def _steps(self) -> dict[int, Step]:
        """Return what the decoder reads: every minute that is compared, and the warm-ups in front of them."""
        minutes = [minute.minute_ns for minute in self._index.in_range]
        if not minutes:
            return {}
        skipped = set(minutes) - sampled(minutes, self._spec.sample)
        return {step.minute.minute_ns: step for steps in chunks(self._index, skipped, 1) for step in steps}

    def _new_decoder(self) -> FeedDecoder:
        spec = self._spec
        return decoder(spec.version, spec.feed, exchange(spec.feed), versions=spec.versions)

    # one minute ----------------------------------------------------------------------------------------------

    async def _minute(self, minute: _Minute) -> None:
        if minute.step is not None and minute.step.is_fresh:
            self._decoder = self._new_decoder()
            self._is_whole = _begins_a_chain(minute.raw)
            self._has_read = False
        if minute.wanted:
            await self._enter_day(minute.raw.minute_ns)
        for part in minute.raw.parts:
            await self._part(minute, part)
        problems = self._order.end_minute()
        if not minute.wanted:
            return
        if problems:
            detail = f"{len(problems)} places: {'; '.join(problems[:ORDER_SHOWN])}"
            self._find(Finding("order", minute.raw.parts[0].key.key, detail, minute.raw.minute_ns))
        archived = self._archived.pop(minute.raw.minute_ns, {})
        if minute.compares:
            expected = {series: once(sorted(items)) for series, items in minute.made.items()}
            minute.result.compared = True
            minute.result.events = sum(map(len, expected.values()))
            self._find(*await archive_problems(self._store, expected, archived, self._index.taken))
        minute.result.findings = self._findings.pop(minute.raw.minute_ns, 0)

    async def _part(self, minute: _Minute, part: RawPart) -> None:
        manifest = await self._manifest(part)
        writer = self._writer(manifest)
        if manifest is not None and manifest.previous_sha256 is None and self._has_read:
            self._followers.add(manifest.writer)
        self._has_read |= minute.step is not None
        reading = _Pass(self._order, writer, self._decoder if minute.step is not None else None)
        body = await self._store.read(part.key.key) or b""
        seen = Seen()
        for _ in read_object(body, part.key.minute_ns, reading.take, seen):
            await trio.lowlevel.checkpoint()
        if minute.wanted:
            minute.result.frames += seen.lines - seen.notes
            minute.result.notes += seen.notes
            self._find(*content_problems(seen, part.key.key, part.key.minute_ns))
            if manifest is not None:
                self._report.writers[manifest.writer] = self._report.writers.get(manifest.writer, 0) + 1
                self._find(*manifest_problems(manifest, part, body, seen))
                self._find(*gap_problems(writer, manifest, part.key.manifest))
        if minute.compares:
            tally = None if reading.conns & self._index.taken else reading.tally()
            await self._check_record(part.key, manifest, tally)
            for series, items in reading.items.items():
                minute.made.setdefault(series, []).extend(items)
        writer.coverage.forget(part.key.minute_ns)

    async def _manifest(self, part: RawPart) -> Manifest | None:
        """Return the manifest; that it is missing is told elsewhere."""
        text = await self._store.read(part.key.manifest)
        try:
            return None if text is None else msgspec.json.decode(text, type=Manifest)
        except msgspec.MsgspecError:
            return None

    def _writer(self, manifest: Manifest | None) -> Writer:
        name = "" if manifest is None else manifest.writer
        if name not in self._writers:
            self._writers[name] = Writer(is_whole=manifest is not None and manifest.previous_sha256 is None)
        return self._writers[name]

    async def _check_record(self, key: RawKey, manifest: Manifest | None, tally: Tally | None) -> None:
        """Compare the ledger's record with one made anew. tally: None where the raw data cannot tell all of it."""
        if not self._report.ledger or manifest is None:
            return
        name = QualityKey.of(self._spec.version, key).key
        text = await self._store.read(name)
        if text is None:
            self._find(Finding("ledger", name, "there is no record", key.minute_ns))
            return
        if self._digest.get(key, text) != text:
            self._find(Finding("ledger", name, "the digest of the day says something else", key.minute_ns))
        if tally is None:
            return
        self._report.ledger_records += 1
        try:
            is_follower = manifest.writer in self._followers
            problem = record_problem(
                decode_record(text), manifest, tally, is_whole=self._is_whole, is_follower=is_follower
            )
        except BadRecord as error:
            problem = str(error)
        if problem:
            self._find(Finding("ledger", name, problem, key.minute_ns))

    # one day -------------------------------------------------------------------------------------------------

    async def _enter_day(self, at_ns: int) -> None:
        """Look at the names of each day up to this one, and tell what the days before it hold without raw data."""
        while self._day_ns < _day_of(at_ns):
            self._find_lone()
            self._day_ns += NS_PER_DAY
            spec = self._spec
            self._archived = await objects_of_day(self._store, spec.version, spec.feed, self._day_ns)
            prefix = day_prefix(quality_prefix(spec.version, spec.feed), self._day_ns)
            others = (SHORTFALL_ENDING, DIGEST_ENDING)
            named = [meta.key for meta in await self._store.list(prefix)]
            self._recorded = {QualityKey.parse(key).raw for key in named if not key.endswith(others)}
            self._digest = await self._unbound() if f"{prefix.rstrip('/')}{DIGEST_ENDING}" in named else {}

    async def _unbound(self) -> dict[RawKey, bytes]:
        key = DigestKey(self._spec.version, self._spec.feed, self._day_ns).key
        try:
            return unbind(await self._store.read(key) or b"")
        except BadRecord as error:
            self._find(Finding("ledger", key, f"the digest of the day cannot be read: {error}", self._day_ns))
            return {}

    def _find_lone(self) -> None:
        for minute_ns in sorted(self._archived):
            if self._spec.start_ns <= minute_ns < self._spec.end_ns:
                name = next(iter(self._archived[minute_ns].values()))[0].key
                self._find(Finding("archive", name, "there is no raw data of this minute", minute_ns))
        for raw in sorted(self._recorded - self._raw_keys, key=lambda key: (key.minute_ns, key.part)):
            if self._spec.start_ns <= raw.minute_ns < self._spec.end_ns:
                name = QualityKey.of(self._spec.version, raw).key
                self._find(Finding("ledger", name, f"there is no {raw.key}", raw.minute_ns))


class _Pass:
    """What takes the records of one object: order and coverage always, the decoder where events are wanted."""

    def __init__(self, order: Order, writer: Writer, feed_decoder: FeedDecoder | None) -> None:
        self.items: dict[Series, list[Item]] = {}
        self.conns: set[str] = set()
        self._order = order
        self._coverage = writer.coverage
        self._decoder = feed_decoder
        self._fold = None if feed_decoder is None else MinuteFold(feed_decoder.counts)

    def take(self, record: Record) -> None:
        self._order.take(record)
        if record.note is not None:
            self._coverage.note(record)
        if self._decoder is not None and self._fold is not None:
            self.conns.add(record.conn)
            self._fold.take(record.conn, record.seq)
            for event in self._decoder.feed(record).events:
                self._keep(event, self._fold)

    def _keep(self, event: Event, fold: MinuteFold) -> None:
        try:
            payload = marketdata.encode(event)
        except BadRecord:
            fold.reject_event(type_of(event))
            return
        item = Item(event.recv_ns, event.conn, event.seq, event.n, payload)
        self.items.setdefault(Series(type_of(event), event.symbol), []).append(item)

    def tally(self) -> Tally | None:
        if self._decoder is None or self._fold is None:
            return None
        return self._fold.tally(self._decoder.counts)


def sampled(minutes: Sequence[int], count: int | None) -> set[int]:
    """Return so many of the minutes, evenly spread, first and last among them; all when there are not more."""
    if count is None or count >= len(minutes):
        return set(minutes)
    if count <= 1:
        return set(minutes[-count:]) if count else set()
    return {minutes[round(place * (len(minutes) - 1) / (count - 1))] for place in range(count)}


def _begins_a_chain(minute: RawMinute) -> bool:
    return all(part.manifest is not None and part.manifest.previous_sha256 is None for part in minute.parts[:1])


def _minute_of_key(key: str) -> int | None:
    for parse in (RawKey.parse, RawKey.parse_manifest):
        try:
            return parse(key).minute_ns
        except BadRecord:
            continue
    return None


def _day_of(at_ns: int) -> int:
    return at_ns - at_ns % NS_PER_DAY
