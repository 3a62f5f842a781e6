"""What `ssmd restore` does: objects, environment file, and what was not complete yet made anew from raw data."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import msgspec
from msgspec import Struct, field

from ssmd import settings
from ssmd.backup.backing_up import Extra
from ssmd.backup.inventory import MAX_PROBLEMS, Owner, Reach, Run, newest_run, read_run, run_ids
from ssmd.backup.restoring import Restored, extras_of, restore
from ssmd.cli.backups import ENVIRONMENTS, GATEWAY, LIVE, Copying, FeedTimes, LiveConfig, need_owner
from ssmd.cli.changing import refuse_in_sub_folder
from ssmd.cli.files import write_new
from ssmd.cli.live_view import size
from ssmd.cli.options import Format, Where
from ssmd.cli.output import say, show_record
from ssmd.cli.progress import OBJECTS, Progress, progress
from ssmd.cli.reprocessing import rfc3339
from ssmd.cli.stopping import stoppable
from ssmd.clock import NS_PER_MINUTE
from ssmd.environment.diff import config_differences, some
from ssmd.environment.load import FOLDER, Files, from_files, load
from ssmd.environment.spec import Environment
from ssmd.errors import ConfigError, Conflict
from ssmd.reprocess.run import Job, reprocess
from ssmd.run_files import claim, keep_apart
from ssmd.settings import Settings
from ssmd.trees.backups import Place, backup_place, empty_place
from ssmd.trees.gateway_files import restore_gateway_files
from ssmd.trees.storage import open_store

SHOWN = 20


class Wanted(Struct, frozen=True):
    """Which backup is to be restored, and where to. env: use this environment instead of the backup's file."""

    address: str
    at: str
    env: str
    where: Where
    is_dry: bool


class RestoredReport(Struct):
    """The result as it is printed. found: objects that were there already. rebuilt: made anew from raw data."""

    id: str
    environment: str
    dry_run: bool
    done: bool = False
    to_restore: int = 0
    to_restore_bytes: int = 0
    objects: int = 0
    bytes: int = 0
    found: int = 0
    feeds: list[FeedTimes] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    problem_count: int = 0
    next: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def find(self, *lines: str) -> None:
        self.problem_count += len(lines)
        self.problems += lines[: MAX_PROBLEMS - len(self.problems)]


async def restore_system(wanted: Wanted, output: Format) -> int:
    """Restore and say what came of it. Return the exit code."""
    began_s = time.monotonic()
    values = settings.load(wanted.where.config)
    place = backup_place(wanted.address, values)
    owner = await need_owner(place, wanted.address)
    run = await _run(place, wanted)
    task = _Restoring(wanted, values, place, run)
    stopped_by = await task.work(owner)
    task.report.took_s = round(time.monotonic() - began_s, 3)
    if output == "table":
        _print(task.report)
    else:
        show_record(task.report, output)
    if stopped_by:
        say("stopped: what is restored is whole; the same command goes on")
        return 128 + stopped_by
    await _tell_of_older(place, run)
    return 1 if task.report.problem_count else 0


async def _run(place: Place, wanted: Wanted) -> Run:
    if not wanted.at:
        run = await newest_run(place)
        if run is None:
            raise ConfigError(f"no backup has been finished in {wanted.address}; `ssmd backup` goes on with it")
        return run
    known = await run_ids(place)
    if wanted.at not in known:
        raise ConfigError(
            f"there is no backup {wanted.at!r}; `ssmd backup list --from {wanted.address}` lists all, the newest is {known[-1:]}"
        )
    return await read_run(place, wanted.at)


async def _tell_of_older(place: Place, run: Run) -> None:
    """Say that there was more before: after a disk was lost, the newest backup may be that of an empty one."""
    older = [run_id for run_id in await run_ids(place) if run_id < run.id]
    if run.gone and older:
        say(f"note: the backup before has {run.gone:,} objects more; --at {older[-1]} restores those, beside these")


class _Restoring:
    def __init__(self, wanted: Wanted, values: Settings, place: Place, run: Run) -> None:
        self._wanted = wanted
        self._values = values
        self._place = place
        self._run = run
        self.report = RestoredReport(run.id, run.environment, wanted.is_dry, feeds=list(map(FeedTimes.of, run.feeds)))

    async def work(self, owner: Owner) -> int:
        """Do it in the order in which a failure leaves least behind. Return the signal that stopped it, 0 if none."""
        extras, problems = await extras_of(self._place, self._run)
        self.report.find(*(problem.line() for problem in problems))
        described = self._environment(extras)
        self.report.live = [_live_words(extra, described) for extra in extras if extra.key.startswith(LIVE)]
        with nullcontext() if self._wanted.is_dry else _alone(self._wanted.where.data_dir, owner):
            with progress(f"restore {self._run.environment}", OBJECTS) as bar:
                done = await self._objects(described, bar)
            if bar.stopped_by or done is None:
                return bar.stopped_by
            self._gateway(extras)
            self.report.done = not (self._wanted.is_dry or self.report.problem_count)
            return await self._rebuild(described) if self.report.done else 0

    # environment ---------------------------------------------------------------------------------------------

    def _environment(self, extras: list[Extra]) -> Environment:
        """Return the environment to restore into; write the backup's file where there is none."""
        files = {
            extra.key.removeprefix(ENVIRONMENTS): extra.body for extra in extras if extra.key.startswith(ENVIRONMENTS)
        }
        if self._wanted.env:
            self.report.files = [f"environment {self._wanted.env} was given; the backup's file was not restored"]
            return load(self._wanted.env)
        if f"{self._run.environment}.yaml" not in files:
            raise ConfigError(
                f"the environment file of {self._run.environment} is not in this backup; give one by --env"
            )
        self._check_files(files)
        described = from_files(self._run.environment, files)
        for name, body in files.items():
            self._restore_file(FOLDER / name, body)
        return described

    def _check_files(self, files: Files) -> None:
        for name, body in files.items():
            path = FOLDER / name
            if path.exists() and path.read_bytes() != body:
                raise Conflict(
                    f"{path} is there already and differs from the backup's; nothing was restored. "
                    f"`--env {self._run.environment}` restores the data and leaves your file as it is"
                )
        if not FOLDER.is_dir():
            refuse_in_sub_folder()

    def _restore_file(self, path: Path, body: bytes) -> None:
        if path.exists():
            self.report.files.append(f"{path} is the same already")
        elif self._wanted.is_dry:
            self.report.files.append(f"{path} would be written")
        else:
            write_new(path, body.decode())
            self.report.files.append(f"{path} written")

    def _gateway(self, extras: list[Extra]) -> None:
        files = {e.key.removeprefix(GATEWAY): e.body for e in extras if e.key.startswith(GATEWAY)}
        where = self._wanted.where.data_dir
        self.report.files += restore_gateway_files(files, self._values, where, is_dry=self._wanted.is_dry)

    # objects -------------------------------------------------------------------------------------------------

    async def _objects(self, described: Environment, bar: Progress) -> Restored | None:
        if self._wanted.is_dry and not self._values.storage.endpoint and not self._wanted.where.data_dir.exists():
            into = empty_place()
        else:
            into = open_store(described, self._values, self._wanted.where.data_dir)
        work = partial(restore, self._place, self._run, into, Copying(bar), is_dry=self._wanted.is_dry)
        done = await stoppable(bar, work)
        if done is not None:
            report = self.report
            report.to_restore, report.to_restore_bytes = done.planned, done.planned_bytes
            report.objects, report.bytes, report.found = done.objects, done.size_bytes, done.found
            report.find(*(problem.line() for problem in done.problems))
        return done

    # what was not complete -----------------------------------------------------------------------------------

    async def _rebuild(self, described: Environment) -> int:
        """Make archive and ledger of the minutes whose raw data the backup has and whose archive it had not yet."""
        for reach in self._run.feeds:
            if reach.raw_through is None:
                continue
            self.report.next.append(self._verify_command(reach))
            if reach.complete_through is not None and reach.raw_through > reach.complete_through:
                stopped_by = await self._rebuild_feed(described, reach)
                if stopped_by:
                    return stopped_by
        return 0

    async def _rebuild_feed(self, described: Environment, reach: Reach) -> int:
        assert reach.complete_through is not None and reach.raw_through is not None  # noqa: PT018, S101  # as above
        entry = described.spec.feeds.get(reach.feed)
        span = (reach.complete_through + NS_PER_MINUTE, reach.raw_through + NS_PER_MINUTE)
        words = f"{reach.feed} {rfc3339(span[0])} to {rfc3339(span[1])}"
        if entry is None:
            self.report.rebuilt.append(f"{words}: not made anew, {described.name} has no such feed")
            return 0
        into = partial(open_store, described, self._values, self._wanted.where.data_dir)
        with progress(f"rebuild {reach.feed} {entry.normalizer}") as bar:
            job = Job(reach.feed, entry.normalizer, *span)
            summary = await stoppable(bar, partial(reprocess, job, into, bar))
        if summary is None or bar.stopped_by:
            return bar.stopped_by
        self.report.rebuilt.append(f"{words}: {summary.minutes} minutes, {summary.events} events from raw data")
        self.report.find(*(f"rebuild {reach.feed}  {problem.line()}" for problem in summary.problems))
        return 0

    def _verify_command(self, reach: Reach) -> str:
        start, end = (
            rfc3339(at).removesuffix(":00Z") + "Z"
            for at in (reach.first_minute or 0, (reach.raw_through or 0) + NS_PER_MINUTE)
        )
        env = self._wanted.env or self._run.environment
        place = f" --data-dir {self._wanted.where.data_dir}"
        return f"ssmd verify --feed {reach.feed} --start {start} --end {end} --env {env}{place}"


@contextmanager
def _alone(data_dir: Path, owner: Owner) -> Iterator[None]:
    """Let nothing run in the data directory meanwhile, and keep invented data apart from real data."""
    lock = claim(data_dir, "up")
    try:
        if owner.source in {"simulator", "exchange"}:
            keep_apart(data_dir, "simulator" if owner.source == "simulator" else "exchange")
        yield
    finally:
        os.close(lock)


def _live_words(extra: Extra, described: Environment) -> str:
    """Say whether what ran was what the file says: the next `ssmd up` puts the file's live."""
    live = msgspec.json.decode(extra.body, type=LiveConfig)
    entry = described.spec.feeds.get(live.feed)
    if live.config is None:
        return f"{live.feed}: the live copy could not be used ({live.problem}); `ssmd up` puts the file's in its place"
    if entry is None:
        return f"{live.feed}: was live, and is not in the file any more"
    differs = config_differences(entry.config(), live.config)
    if not differs:
        return f"{live.feed}: what ran is what the file says; `ssmd up` puts it live"
    return f"{live.feed}: what ran was not what the file says: {some(differs)}; `ssmd up` puts the file's live"


def _print(report: RestoredReport) -> None:
    to_restore = f"{report.to_restore:,} objects, {size(report.to_restore_bytes)}"
    word = "dry run" if report.dry_run else "done" if report.done else "not done"
    did = (
        "" if report.dry_run else f"; {report.objects:,} written, {report.found:,} were there, in {report.took_s:.1f} s"
    )
    lines = [f"{word:<9} {report.environment} backup {report.id}: {to_restore}{did}"]
    lines += [f"feed      {feed.words()}" for feed in report.feeds]
    lines += [f"file      {line}" for line in report.files]
    lines += [f"live      {line}" for line in report.live]
    lines += [f"rebuilt   {line}" for line in report.rebuilt]
    lines += [f"next      {line}" for line in report.next]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    for line in report.problems[:SHOWN]:
        say(f"✗ {line}")
    if report.problem_count > SHOWN:
        say(f"and {report.problem_count - SHOWN} more; -o json lists them")
