"""What `ssmd backup` does."""

import sys
import time
from functools import partial

import msgspec
import trio
from msgspec import Struct

from ssmd import settings
from ssmd.backup.backing_up import Extra, Job, Outcome, back_up
from ssmd.backup.inventory import FORMAT, MAX_PROBLEMS, Owner
from ssmd.backup.walk import has_raw
from ssmd.cli.backups import ENVIRONMENTS, GATEWAY, LIVE, Copying, FeedTimes, LiveConfig
from ssmd.cli.live_view import size
from ssmd.cli.options import Format, Where
from ssmd.cli.output import say, show_record
from ssmd.cli.progress import OBJECTS, progress
from ssmd.cli.running import NoBus, find_bus
from ssmd.cli.stopping import stoppable
from ssmd.environment.load import files_of, find, load
from ssmd.environment.spec import Environment
from ssmd.errors import BusDown, ConfigError
from ssmd.run_files import source_of
from ssmd.settings import Settings, without_passwords
from ssmd.trees import live_link
from ssmd.trees.backups import Place, backup_place, empty_place, is_missing, unsealed
from ssmd.trees.gateway_files import gateway_files
from ssmd.trees.storage import open_store

SHOWN = 20


class Asked(Struct, frozen=True):
    """What to back up, and where to."""

    to: str
    env: str
    where: Where
    feeds: tuple[str, ...]
    is_dry: bool


class BackedUp(Struct, frozen=True):
    """The result as it is printed. to_copy: what was planned. not_sealed: journal segments that the next run will have."""

    id: str
    environment: str
    done: bool
    dry_run: bool
    objects: int
    bytes: int
    to_copy: int
    to_copy_bytes: int
    copied: int
    copied_bytes: int
    gone: int
    feeds: list[FeedTimes]
    live: str
    gateway: str
    not_sealed: dict[str, int]
    problems: list[str]
    problem_count: int
    took_s: float


async def back_up_system(asked: Asked, output: Format) -> int:
    """Back up and say what came of it. Return the exit code."""
    began_s = time.monotonic()
    values = settings.load(asked.where.config)
    described = load(asked.env)
    source = _source(described, values, asked)
    await _need_feeds(source, described, asked.feeds)
    place = _place(described, values, asked)
    job = await _job(described, values, asked)
    with progress(f"backup {described.name}", OBJECTS) as bar:
        outcome = await stoppable(bar, partial(back_up, job, source, place, Copying(bar)))
    if outcome is None:  # asked twice
        return 128 + bar.stopped_by
    result = _result(outcome, job, _waiting(asked, values), time.monotonic() - began_s)
    if output == "table":
        _print(result, asked)
    else:
        show_record(result, output)
    if bar.stopped_by:
        say(f"stopped: {outcome.copied} objects are copied, but this is no backup yet; the same command goes on")
        return 128 + bar.stopped_by
    return 1 if result.problem_count else 0


def _source(described: Environment, values: Settings, asked: Asked) -> Place:
    if not values.storage.endpoint and not asked.where.data_dir.is_dir():
        raise ConfigError(f"there is no data directory {asked.where.data_dir}; give the one of `ssmd up` by --data-dir")
    return open_store(described, values, asked.where.data_dir)


def _place(described: Environment, values: Settings, asked: Asked) -> Place:
    source = (described, asked.where.data_dir)
    if asked.is_dry and is_missing(asked.to):
        return empty_place()
    return backup_place(asked.to, values, source, makes=True)


async def _job(described: Environment, values: Settings, asked: Asked) -> Job:
    files = files_of(find(asked.env))
    extras = [Extra(f"{ENVIRONMENTS}{name}", body) for name, body in files.items()]
    copies, words = await _live(described, values, asked.where)
    secrets, gateway = await trio.to_thread.run_sync(gateway_files, values, asked.where.data_dir)
    extras += [Extra(f"{GATEWAY}{name}", body) for name, body in secrets.items()]
    owner = Owner(FORMAT, described.name, source_of(asked.where.data_dir))
    return Job(owner, asked.feeds, (*extras, *copies), words, gateway, asked.is_dry)


async def _live(described: Environment, values: Settings, where: Where) -> tuple[list[Extra], str]:
    """Return the live configuration of each feed, and what to say of it. It is a copy of the file, so it may be missing."""
    bus = find_bus(values, where.data_dir, described.name)
    if isinstance(bus, NoBus):
        return [], f"not read, the file is backed up: {bus.reason}"
    try:
        async with live_link(bus.url) as link:
            copies = await link.copies(described.name)
    except BusDown as error:
        return [], without_passwords(f"not read, the file is backed up: NATS at {bus.url} cannot be reached: {error}")
    found = [LiveConfig(feed, copy.revision, copy.config, copy.problem) for feed, copy in sorted(copies.items())]
    extras = [Extra(f"{LIVE}{each.feed}.json", msgspec.json.encode(each) + b"\n") for each in found]
    return extras, f"read: {', '.join(each.feed for each in found) or 'no feed is live'}"


async def _need_feeds(source: Place, described: Environment, feeds: tuple[str, ...]) -> None:
    """Refuse a feed that nobody captures and that there is nothing of: it is misspelled."""
    for feed in feeds:
        if feed not in described.spec.feeds and not await has_raw(source, feed):
            raise ConfigError(
                f"there is nothing of feed {feed!r}; {described.name} has {', '.join(described.spec.feeds) or 'none'}"
            )


def _waiting(asked: Asked, values: Settings) -> dict[str, int]:
    """Return what a system that is not running has left in its journal."""
    if isinstance(find_bus(settings.Settings(), asked.where.data_dir), NoBus) and not values.nats.url:
        return unsealed(asked.where.data_dir)
    return {}


def _result(outcome: Outcome, job: Job, not_sealed: dict[str, int], took_s: float) -> BackedUp:
    run = outcome.run
    return BackedUp(
        id=run.id if run else "",
        environment=job.owner.environment,
        done=run is not None,
        dry_run=job.is_dry,
        objects=run.objects if run else 0,
        bytes=run.size_bytes if run else 0,
        to_copy=outcome.planned.objects,
        to_copy_bytes=outcome.planned.size_bytes,
        copied=outcome.copied,
        copied_bytes=outcome.copied_bytes,
        gone=outcome.gone,
        feeds=[FeedTimes.of(reach) for reach in outcome.reaches],
        live=job.live,
        gateway=job.gateway,
        not_sealed=not_sealed,
        problems=[problem.line() for problem in outcome.problems[:MAX_PROBLEMS]],
        problem_count=len(outcome.problems),
        took_s=round(took_s, 3),
    )


def _print(result: BackedUp, asked: Asked) -> None:
    to_copy = f"{result.to_copy:,} objects, {size(result.to_copy_bytes)}"
    if result.dry_run:
        sys.stdout.write(f"dry run   {result.environment}: {to_copy} to copy to {asked.to}; nothing written\n")
    elif result.done:
        word = "with problems" if result.problem_count else "done"
        sys.stdout.write(
            f"{word:<9} {result.environment} backup {result.id}: {result.objects:,} objects, {size(result.bytes)}; "
            f"copied {result.copied:,}, {size(result.copied_bytes)}, in {result.took_s:.1f} s\n"
        )
    sys.stdout.write("".join(f"feed      {times.words()}\n" for times in result.feeds))
    sys.stdout.write(f"live      {result.live}\ngateway   {result.gateway}\n")
    sys.stdout.flush()
    if result.gone:
        say(f"note: the source no longer has {result.gone:,} objects of the backup before; that backup keeps them")
    for feed, count in result.not_sealed.items():
        say(
            f"! {feed}: minutes in the journal that are not sealed: {count}; `ssmd up` once seals them, then back up again"
        )
    for line in result.problems[:SHOWN]:
        say(f"✗ {line}")
    if result.problem_count > SHOWN:
        say(f"and {result.problem_count - SHOWN} more; -o json lists them")
