"""The unit of work: some minutes after one another, from one decoder state to the next. A worker does one at a time."""

from collections.abc import Mapping, Sequence

import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd.errors import AlreadyStored, BadRecord
from ssmd.protocols import exchange, quality
from ssmd.protocols.decoder import VERSIONS, FeedDecoder, Versions, decoder
from ssmd.protocols.quality import LedgerRecord, ledger_record
from ssmd.reprocess.minute import MinuteRun
from ssmd.reprocess.plan import Step
from ssmd.reprocess.raw_index import RawMinute
from ssmd.reprocess.report import MinuteRecord, Problem, RawUsed, encode, same_apart_from_source
from ssmd.reprocess.writing import Target, write_minute
from ssmd.store.base import Store
from ssmd.store.keys import MinuteKey, QualityKey


class Stretch(Struct, frozen=True):
    """state: the decoder's, from the stretch before; None begins anew."""

    target: Target
    steps: tuple[Step, ...]
    state: bytes | None = None


class MinuteDone(Struct, frozen=True):
    """What came of one minute that is written. trade_ids: of what was published, by symbol."""

    record: MinuteRecord
    trade_ids: Mapping[str, Sequence[str]]

    @property
    def conflicts(self) -> list[Problem]:
        return [problem for problem in self.record.problems if problem.kind == "conflict"]


class StretchDone(Struct, frozen=True):
    state: bytes
    minutes: tuple[MinuteDone, ...]


async def run_stretch(store: Store, stretch: Stretch, versions: Versions = VERSIONS) -> StretchDone:
    """Do it; repeating it is harmless. While one minute is written the next one is read already. Raises StoreDown."""
    target = stretch.target
    current = _decoder(target, stretch.state, versions)
    done: list[MinuteDone] = []
    written = trio.Event()
    written.set()
    async with trio.open_nursery() as nursery:
        for step in stretch.steps:
            if step.is_fresh:
                current = _decoder(target, None, versions)
            run = MinuteRun(step.minute, current, keeps=step.writes)
            await run.run(store)
            if step.writes:
                await written.wait()
                written = trio.Event()
                minute = _Minute(store, target, step.minute, run)
                nursery.start_soon(minute.finish, done, written)
    done.sort(key=lambda each: each.record.minute_ns)
    return StretchDone(current.state(), tuple(done))


def _decoder(target: Target, state: bytes | None, versions: Versions) -> FeedDecoder:
    return decoder(target.version, target.feed, exchange(target.feed), state, versions)


class _Minute:
    """A minute that was decoded and is now stored."""

    def __init__(self, store: Store, target: Target, minute: RawMinute, run: MinuteRun) -> None:
        self._store = store
        self._target = target
        self._minute = minute
        self._run = run
        self._figures = run.figures

    async def finish(self, done: list[MinuteDone], written: trio.Event) -> None:
        """Store the objects, then, if all of them are as they must be, the minute's record."""
        minute_ns, target = self._minute.minute_ns, self._target
        objects = await write_minute(self._store, target, minute_ns, self._run)
        if not target.is_dry:
            await self._put_ledger()
        raw = tuple(
            RawUsed(part.key.key, part.manifest.sha256 if part.manifest else None) for part in self._minute.parts
        )
        problems = tuple(sorted(self._run.problems))
        record = MinuteRecord(
            target.version,
            target.feed,
            minute_ns,
            target.source,
            raw,
            objects,
            self._run.notes,
            self._figures,
            problems,
        )
        result = MinuteDone(record, self._run.trade_ids)
        if not target.is_dry and not result.conflicts:
            await put_minute_record(self._store, record)
        done.append(result)
        written.set()

    async def _put_ledger(self) -> None:
        """Say in the quality ledger what came of each raw object; live capture wrote the same, if it ran this version."""
        target = self._target
        for part, tally in self._run.tallies:
            if part.manifest is None:
                continue
            record = ledger_record(target.version, part.manifest, tally, target.source)
            key = QualityKey.of(target.version, part.key).key
            try:
                await self._store.create(key, quality.encode(record))
            except AlreadyStored:
                stored = await self._store.read(key) or b""
                if not _same_ledger(stored, record):
                    self._run.problems.append(Problem(key, "ledger_differs", "the quality ledger says something else"))


def _same_ledger(stored: bytes, record: LedgerRecord) -> bool:
    """Tell whether two records say the same, apart from what a warm-up of some minutes need not know.

    That is where the trade ids of a symbol without a trade in the warm-up went on, and what follows from it.
    """
    try:
        there = quality.decode_record(stored)
    except BadRecord:
        return False
    figures = replace(there.figures, trade_id_gaps=record.figures.trade_id_gaps)
    return replace(record, status=there.status, reasons=there.reasons, source=there.source) == replace(
        there, figures=figures
    )


async def put_minute_record(store: Store, record: MinuteRecord) -> None:
    """Store the record. One of other content is of raw data that has changed since, and is replaced."""
    key, body = MinuteKey(record.version, record.feed, record.minute_ns).key, encode(record)
    try:
        await store.create(key, body)
    except AlreadyStored:
        stored = await store.read(key)
        if stored is None or not same_apart_from_source(stored, body, MinuteRecord):
            await store.delete(key)
            await store.create(key, body)
