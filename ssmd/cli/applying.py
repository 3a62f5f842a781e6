"""What `ssmd env apply` does: validate, render, commit, put live."""

import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from ssmd import settings
from ssmd.cli import git
from ssmd.cli.changing import editable, live_or_none
from ssmd.cli.environments import SCHEMA_FILE
from ssmd.cli.files import locked
from ssmd.cli.gateway import GatewayLink
from ssmd.cli.last_seen import last_seen
from ssmd.cli.live_change import FeedChange, feed_changes, plan, put_live, standing, wait_for
from ssmd.cli.options import Going, Reach, parse_duration_s
from ssmd.cli.output import say
from ssmd.cli.overlay import Overlay, overlay
from ssmd.cli.problems import show
from ssmd.cli.reconciling import change_lines, gateway_or_none, reconcile, refusal_lines
from ssmd.environment.load import Inspection, inspect, read
from ssmd.environment.spec import Environment
from ssmd.errors import ConfigError
from ssmd.trees import LiveLink
from ssmd.trees.catalog import catalog


class ApplyRequest(Struct, frozen=True):
    """What was asked for, as the options say it."""

    env: str
    dry_run: bool
    no_commit: bool
    push: bool
    out: Path | None
    overwrite: bool


async def apply_environment(asked: ApplyRequest, going: Going, reach: Reach) -> int:
    path = editable(asked.env)
    values = settings.load(going.config)
    within_s = parse_duration_s(going.timeout)
    async with AsyncExitStack() as connection:
        async with locked(path.parent):
            seen = inspect(path, read(path), catalog(values))
            if seen.environment is None:
                show(seen, "text", {})
                return 1
            rendered = overlay(path, seen.environment, values.deploy, asked.out)
            rendered.check_own()
            commits = _will_commit(asked, [path, rendered.folder])
            link = await connection.enter_async_context(live_or_none(seen.name, values, going, "nothing is put live"))
            gateway = None
            if not going.no_live:
                gateway = await connection.enter_async_context(gateway_or_none(seen.environment, values, going, reach))
            if asked.dry_run:
                code = await _preview(seen, rendered, link, asked, commits=commits)
                await _reconcile(gateway, seen.environment, dry_run=True)
                return code
            code = await _apply(seen, rendered, link, asked, commits=commits)
            await _reconcile(gateway, seen.environment, dry_run=False)
        if code == 0 and link is not None and going.wait:
            puts = await standing(link, seen.environment.name, seen.environment)
            code = await wait_for(link, seen.environment.name, puts, within_s)
    return code


def _will_commit(asked: ApplyRequest, paths: Sequence[Path]) -> bool:
    """Tell whether to commit. Raises ConfigError where that is not possible, before anything is written."""
    if asked.no_commit or asked.out is not None:
        if asked.push:
            raise ConfigError("--push needs a commit; leave out --no-commit and --out")
        return False
    git.check_can_commit(paths, push=asked.push)
    return True


async def _apply(
    seen: Inspection, rendered: Overlay, link: LiveLink | None, asked: ApplyRequest, *, commits: bool
) -> int:
    environment = seen.checked()
    changes = await _changes(seen.path, environment, link, asked)
    planned = {} if link is None else await plan(link, environment.name, changes, overwrite=asked.overwrite)
    _tell(f"env/{environment.name} is valid")
    rendered.write()
    _tell(f"overlay {rendered.folder}: {_count(len(rendered.stale), 'file')} written")
    if commits:
        _tell(_commit(seen.path, rendered.folder, environment.name))
    if link is not None:
        puts = await put_live(link, environment.name, changes, planned)
        last_seen(seen.path, environment.name).remember(changes)
        for put in puts:
            _tell(f"live feed/{put.change.feed} put at revision {put.revision}")
        if not puts:
            _tell("live: every feed is as in the file already")
    if asked.push:
        git.push(seen.path)
        _tell("git: pushed")
    return 0


async def _reconcile(gateway: GatewayLink | None, environment: Environment, *, dry_run: bool) -> None:
    """Bring who may read what to the gateway, or say what that would change."""
    if gateway is None:
        return
    done = await reconcile(gateway, environment, dry_run=dry_run)
    for line in change_lines(done):
        say(f"would: {line}") if dry_run else _tell(line)
    for line in refusal_lines(done):
        say(line)
    if not done.changes and not dry_run:
        _tell("gateway: every client is as in the file already" if not done.refused else "gateway: nothing to change")


async def _changes(
    path: Path, environment: Environment, link: LiveLink | None, asked: ApplyRequest
) -> list[FeedChange]:
    """Return every feed as it was before and as it is in the file now: what is neither was changed by others.

    Before: as this checkout has last seen it live, else as the file was committed last. Live copies of feeds that no
    file knows are somebody else's: only --overwrite takes them away.
    """
    committed = git.committed(path)
    changes = feed_changes(inspect(path, committed, {}).environment if committed is not None else None, environment)
    seen = last_seen(path, environment.name).load()
    known = [replace(each, before=seen.get(each.feed, each.before)) for each in changes]
    copies = await link.copies(environment.name) if link is not None and asked.overwrite else {}
    return [*known, *(FeedChange(feed, None, None) for feed in copies if feed not in {each.feed for each in known})]


def _commit(path: Path, folder: Path, name: str) -> str:
    schema = path.parent / SCHEMA_FILE.name
    paths = [path, folder, *([schema] if schema.exists() else [])]
    changed = git.uncommitted(paths)
    if not changed:
        return "git: nothing to commit"
    commit = git.commit(paths, f"env: apply {name}")
    if git.is_detached(path):
        say("! git is on no branch (detached HEAD): `git switch -c NAME` keeps the commit")
    return f"git: {_count(len(changed), 'file')} committed as {commit}"


async def _preview(
    seen: Inspection, rendered: Overlay, link: LiveLink | None, asked: ApplyRequest, *, commits: bool
) -> int:
    """Show what would be done. Raises Conflict where that would undo somebody else's change, as doing it does."""
    sys.stdout.write(rendered.diff())
    environment = seen.checked()
    if link is not None:
        changes = await _changes(seen.path, environment, link, asked)
        planned = await plan(link, environment.name, changes, overwrite=asked.overwrite)
        for feed, copy in planned.items():
            say(f"would put feed {feed} live over revision {copy.revision}")
    files = _count(len(rendered.stale), "file")
    say(f"would write {files} below {rendered.folder}{' and commit' if commits else ''}")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
