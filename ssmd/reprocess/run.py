"""A reprocess from plan to version manifest. Whatever ends it, running it again goes on and gives the same bytes."""

from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Final, Protocol

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd.archive.shortfall import marks
from ssmd.errors import BadRecord, ConfigError
from ssmd.protocols import exchange, quality
from ssmd.protocols.decoder import VERSIONS, Versions
from ssmd.reprocess.borders import Border, broken_border
from ssmd.reprocess.finish import Summary, finish
from ssmd.reprocess.hold import held, hold_names
from ssmd.reprocess.plan import Index, Step, chunks, read_index
from ssmd.reprocess.processes import OpenStore, Work, here, in_processes, patiently
from ssmd.reprocess.raw_index import NS_PER_DAY, chain_breaks
from ssmd.reprocess.report import MinuteRecord, Problem, RawUsed
from ssmd.reprocess.stretch import Stretch, StretchDone, run_stretch
from ssmd.reprocess.writing import Target
from ssmd.store.base import Hold, Store
from ssmd.store.keys import MinuteKey, day_prefix, minutes_prefix

STRETCH_LINES: Final = 40_000
"""About a second of work: as often progress is shown, and as soon Ctrl-C is obeyed."""


class Job(Struct, frozen=True):
    """What to reprocess: whole minutes in [start_ns, end_ns)."""

    feed: str
    version: str
    start_ns: int
    end_ns: int
    parallel: int = 1
    is_dry: bool = False


class Plan(Struct, frozen=True):
    """How much there is to do. lines: raw lines to read, warm-up included."""

    minutes: int
    done: int
    lines: int
    chunks: int


class Watcher(Protocol):
    """Is told how it goes, and says when to stop."""

    def planned(self, plan: Plan) -> None: ...

    def advanced(self, minutes: int, lines: int, frames: int) -> None: ...

    @property
    def stops(self) -> bool:
        """Whether to end after what is in hand."""
        ...


class Unwatched:
    stops = False

    def planned(self, plan: Plan) -> None:
        del plan

    def advanced(self, minutes: int, lines: int, frames: int) -> None:
        del minutes, lines, frames


async def reprocess(
    job: Job, open_store: OpenStore, watcher: Watcher | None = None, versions: Versions = VERSIONS
) -> Summary:
    """Rebuild a range of one feed with one version of the normalizer. Raises StoreDown, ConfigError.

    Other versions than those of `VERSIONS` run in this process only, so with parallel=1.
    """
    if job.version not in versions:
        raise ConfigError(f"version is {job.version!r}; known are {', '.join(sorted(versions))}")
    if job.parallel > 1 and versions is not VERSIONS:
        raise ConfigError("worker processes know the versions of ssmd only; use parallel=1")
    exchange(job.feed)
    store = open_store()
    index = await read_index(store, job.feed, job.start_ns, job.end_ns)
    from_ns = min([job.start_ns, *(minute.minute_ns for minute in index.minutes[:1])])
    hold = Hold(hold_names(job.version, job.feed)[0], job.feed, from_ns, job.end_ns, 0)
    async with nullcontext() if job.is_dry else held(store, hold):
        work = in_processes(open_store, job.parallel, run_stretch) if job.parallel > 1 else here(store, versions)
        return await _Run(job, store, work, watcher or Unwatched()).run(index)


class _Run:
    def __init__(self, job: Job, store: Store, work: Work, watcher: Watcher) -> None:
        self._job = job
        self._store = store
        self._work = work
        self._watcher = watcher
        self._target = Target(job.version, job.feed, quality.source(), job.is_dry)
        self._summary = Summary(job.version, job.feed, job.start_ns, job.end_ns, self._target.source)
        self._borders: list[Border] = []

    async def run(self, index: Index) -> Summary:
        job, summary = self._job, self._summary
        summary.problems = [*index.problems, *chain_breaks(index.minutes)]
        if not index.in_range:
            summary.problems.append(Problem(f"raw/{job.feed}", "no_raw_data", "there is none of that time"))
            summary.is_empty = True
            return summary
        marked = [mark.minute_ns for mark in await marks(self._store, job.version, job.feed, job.start_ns, job.end_ns)]
        self._target = replace(self._target, marked=frozenset(marked))
        done = set() if job.is_dry else await self._done(index)
        shared = chunks(index, done, job.parallel)
        steps = [step for chunk in shared for step in chunk]
        lines = sum(step.minute.lines for step in steps)
        self._watcher.planned(Plan(len(index.in_range), len(done), lines, len(shared)))
        self._borders = [Border() for _ in shared]
        async with trio.open_nursery() as nursery:
            for number, chunk in enumerate(shared):
                nursery.start_soon(self._run_chunk, number, chunk)
        self._check_borders()
        summary.is_stopped = summary.minutes < len(index.in_range)
        await finish(self._store, index, summary, is_dry=job.is_dry)
        return summary

    async def _done(self, index: Index) -> set[int]:
        """Return the minutes whose record is there and is of the raw objects that there are now."""
        job, wanted = self._job, {minute.minute_ns: minute for minute in index.in_range}
        for minute_ns in self._target.marked:
            wanted.pop(minute_ns, None)  # the archive has lost some of it since
        done: set[int] = set()
        for prefix in _days(minutes_prefix(job.version, job.feed), job.start_ns, job.end_ns):
            for meta in await self._store.list(prefix):
                record = await self._record(meta.key)
                minute = wanted.get(record.minute_ns) if record else None
                if record is None or minute is None:
                    continue
                raw = tuple(RawUsed(p.key.key, p.manifest.sha256 if p.manifest else None) for p in minute.parts)
                if record.raw == raw:
                    done.add(record.minute_ns)
                    self._summary.add(record)
        return done

    async def _record(self, key: str) -> MinuteRecord | None:
        try:
            MinuteKey.parse(key)
            return msgspec.json.decode(await self._store.read(key) or b"", type=MinuteRecord)
        except (BadRecord, msgspec.DecodeError):
            return None

    async def _run_chunk(self, number: int, chunk: Sequence[Step]) -> None:
        state: bytes | None = None
        border = self._borders[number]
        for steps in stretches(chunk):
            if self._watcher.stops:
                return
            done = await patiently(self._work, Stretch(self._target, tuple(steps), state), lambda: self._watcher.stops)
            if done is None:
                return
            state = done.state
            border.take(steps, done)
            self._take(steps, done)

    def _take(self, steps: Sequence[Step], done: StretchDone) -> None:
        frames = 0
        for minute in done.minutes:
            frames += minute.record.figures.frames
            self._summary.conflicts += len(minute.conflicts)
            self._summary.add(minute.record)
        self._watcher.advanced(len(done.minutes), sum(step.minute.lines for step in steps), frames)

    def _check_borders(self) -> None:
        """Prove that each chunk knew at its beginning what the chunk before it knew at its end."""
        for before, after in pairwise(self._borders):
            problem = broken_border(before, after)
            if problem:
                self._summary.conflicts += 1
                self._summary.problems.append(Problem(f"minute {after.first_ns}", "border", problem))


def stretches(chunk: Sequence[Step]) -> "list[list[Step]]":
    """Cut a chunk into stretches; warm-up and writing never share one, so that the state between them is known."""
    found: list[list[Step]] = []
    lines = 0
    for step in chunk:
        is_full = lines + step.minute.lines > STRETCH_LINES
        if not found or is_full or step.writes != found[-1][-1].writes:
            found.append([])
            lines = 0
        found[-1].append(step)
        lines += step.minute.lines
    return found


def _days(prefix: str, start_ns: int, end_ns: int) -> list[str]:
    return [day_prefix(prefix, at) for at in range(start_ns - start_ns % NS_PER_DAY, end_ns, NS_PER_DAY)]
