"""What `ssmd reprocess run` and `diff` do."""

import sys
import time
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final

from msgspec import Struct

from ssmd import settings
from ssmd.cli.options import Format, Where
from ssmd.cli.output import say, show_record, show_rows
from ssmd.cli.progress import Progress, progress
from ssmd.cli.stopping import stoppable, unless_stopped
from ssmd.clock import NS_PER_MINUTE, minute_of, now_ns
from ssmd.environment import load as environment
from ssmd.errors import ConfigError
from ssmd.reprocess.day_diff import Wanted
from ssmd.reprocess.diff import Comparison, compare_versions
from ssmd.reprocess.finish import Summary
from ssmd.reprocess.processes import OpenStore, WorkerLost, settle
from ssmd.reprocess.report import MAX_PROBLEMS
from ssmd.reprocess.run import Job, reprocess
from ssmd.trees.storage import open_store

SHOWN: Final = 20
MAX_PARALLEL: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Asked(Struct, frozen=True):
    """Which time of which feed, and where the data are."""

    feed: str
    start: str
    end: str
    env: str
    where: Where

    def opener(self) -> OpenStore:
        return opener(self.env, self.where)

    def span(self) -> tuple[int, int]:
        return span_ns(self.start, self.end)


def opener(env: str, where: Where) -> OpenStore:
    """Return what opens the store that holds an environment's data, here or in another process."""
    return partial(open_store, environment.load(env), settings.load(where.config), where.data_dir)


def span_ns(start: str, end: str) -> tuple[int, int]:
    """Return [start, end) in nanoseconds. Raises ConfigError for what is no time, or no time that can be meant."""
    from_ns, to_ns = time_ns("--start", start), time_ns("--end", end, is_end=True)
    if to_ns <= from_ns:
        raise ConfigError(f"--end {end} is not after --start {start}")
    last_ns = minute_of(now_ns())
    if from_ns >= last_ns:
        raise ConfigError(f"--start {start} lies in the future")
    if to_ns > last_ns:
        say(f"note: --end {end} lies in the future; taken up to {rfc3339(last_ns)}")
    return from_ns, min(to_ns, last_ns)


def time_ns(option: str, text: str, *, is_end: bool = False) -> int:
    """Return a whole minute. A bare date is its beginning, or its end where `is_end`."""
    try:
        if len(text) == len("2025-12-01"):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return _ns(day + timedelta(days=1) if is_end else day)
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{option} is {text!r}; write a date, or a time such as 2025-12-01T14:00Z") from error
    if found.tzinfo is None:
        raise ConfigError(f"{option} is {text!r}; say of which time zone it is, such as {text}Z")
    if found.second or found.microsecond or found.astimezone(UTC) < _EPOCH:
        raise ConfigError(f"{option} is {text!r}; objects are whole minutes, so write a whole minute since 1970")
    return _ns(found)


def _ns(when: datetime) -> int:
    return (when - _EPOCH) // timedelta(minutes=1) * NS_PER_MINUTE


def rfc3339(at_ns: int) -> str:
    return f"{_EPOCH + timedelta(seconds=at_ns // 10**9):%Y-%m-%dT%H:%M:%SZ}"


# run ---------------------------------------------------------------------------------------------------------


class Rebuilt(Struct, frozen=True):
    """The result as it is printed."""

    version: str
    feed: str
    start: str
    end: str
    minutes: int
    objects: int
    rows: int
    frames: int
    digest: str
    checksums_verified: int
    checksums_failed: int
    rejected: dict[str, int]
    counts: dict[str, dict[str, int]]
    complete: bool
    dry_run: bool
    manifest: str
    marked: int
    filled: int
    problems: list[str]
    problem_count: int
    took_s: float


async def rebuild(asked: Asked, what: tuple[str, int, bool], output: Format) -> int:
    """Reprocess and say what came of it. Return the exit code."""
    version, parallel, is_dry = what
    _check_parallel(parallel)
    start_ns, end_ns = asked.span()
    job = Job(asked.feed, version, start_ns, end_ns, parallel, is_dry)
    settle()
    began_s = time.monotonic()
    with progress(f"reprocess {asked.feed} {version}") as bar:
        summary = await stoppable(bar, partial(reprocess, job, asked.opener(), bar))
    if summary is None:  # asked twice
        return 128 + bar.stopped_by
    result = _result(summary, time.monotonic() - began_s, is_dry=is_dry)
    if output == "table":
        _print(result)
    else:
        show_record(result, output)
    if bar.stopped_by:
        say(f"stopped: {result.minutes} minutes are done; the same command goes on from there")
        return 128 + bar.stopped_by
    return 0 if summary.is_well else 1


def _check_parallel(parallel: int) -> None:
    if not 1 <= parallel <= MAX_PARALLEL:
        raise ConfigError(f"--parallel is {parallel}; allowed are 1 to {MAX_PARALLEL}")


def _result(summary: Summary, took_s: float, *, is_dry: bool) -> Rebuilt:
    return Rebuilt(
        version=summary.version,
        feed=summary.feed,
        start=rfc3339(summary.start_ns),
        end=rfc3339(summary.end_ns),
        minutes=summary.minutes,
        objects=summary.objects,
        rows=summary.events,
        frames=summary.figures.frames,
        digest=summary.objects_sha256,
        checksums_verified=summary.figures.checksums_verified,
        checksums_failed=summary.figures.checksums_failed,
        rejected=summary.figures.rejects,
        counts=summary.counts,
        complete=summary.is_complete,
        dry_run=is_dry,
        manifest=summary.manifest,
        marked=summary.marked,
        filled=summary.filled,
        problems=[problem.line() for problem in summary.problems[:MAX_PROBLEMS]],
        problem_count=len(summary.problems),
        took_s=round(took_s, 3),
    )


def _print(result: Rebuilt) -> None:
    wrote = "dry run, nothing written" if result.dry_run else f"wrote normalized/{result.version}/{result.feed}"
    word = "done" if result.complete else "not complete"
    sys.stdout.write(
        f"{word}  {result.minutes} minutes  {result.frames} frames  {result.rows} rows  {result.objects} objects  "
        f"digest {result.digest[:16]}  {wrote}\n"
    )
    rejected = sum(result.rejected.values())
    sys.stdout.write(
        f"checksums  {result.checksums_verified} verified  {result.checksums_failed} failed  rejected {rejected} frames\n"
    )
    if result.marked:
        did = "would look at" if result.dry_run else f"filled  {result.filled} of"
        sys.stdout.write(f"{did} {result.marked} minutes that the archive had lost something of\n")
    if result.manifest:
        sys.stdout.write(f"published  {result.manifest}\n")
    sys.stdout.flush()
    for line in result.problems[:SHOWN]:
        say(f"! {line}")
    if result.problem_count > SHOWN:
        say(f"! and {result.problem_count - SHOWN} more; -o json lists them")


# diff --------------------------------------------------------------------------------------------------------


async def compare(asked: Asked, versions: tuple[str, str], how: tuple[str, int, int], output: Format) -> int:
    """Compare two versions and say how they differ. Return the exit code."""
    symbols, sample, parallel = how
    _check_parallel(parallel)
    wanted = Wanted(asked.feed, *versions, *asked.span(), symbols, sample)
    settle()
    with progress(f"diff {asked.feed} {versions[0]} {versions[1]}") as bar:
        found = await _whole_or_nothing(wanted, asked.opener(), parallel, bar)
    if found is None:
        say("stopped: of a comparison that is not whole nothing is told")
        return 128 + bar.stopped_by
    if output == "table":
        _print_comparison(found)
    else:
        show_record(found, output)
    return 0 if found.is_equal else 1


async def _whole_or_nothing(wanted: Wanted, open_store: OpenStore, parallel: int, bar: Progress) -> Comparison | None:
    """Compare; None once a signal has come. Nothing is written, so nothing has to be finished first."""
    try:
        return await unless_stopped(bar, partial(compare_versions, open_store, wanted, bar, parallel))
    except* WorkerLost:
        if not bar.stopped_by:  # a terminal sends Ctrl-C to a worker that is just starting, too
            raise
    return None


def _print_comparison(found: Comparison) -> None:
    show_rows(found.series, "table", "neither version holds anything of that time")
    for example in found.samples:
        say(f"{example.kind} {example.id}" + "".join(f"  {f.name}: {f.old} -> {f.new}" for f in example.fields))
    for problem in found.problems:
        say(f"! {problem.line()}")
    figures = f"{found.events_from} events in {found.from_version}, {found.events_to} in {found.to_version}"
    word = (
        "equal"
        if found.is_equal
        else f"different: {found.added} added, {found.removed} removed, {found.changed} changed"
    )
    sys.stdout.write(f"{word}  ({figures})\n")
