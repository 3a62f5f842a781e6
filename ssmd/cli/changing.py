"""Change an environment's file, and what runs by it: the one path that every editing command takes.

In this order, so that a change that cannot be made changes nothing: make the new text, check it as a whole, look whether
somebody else has changed the live copy, write the file, put the live copy by compare-and-set, wait if asked.
"""

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from msgspec import Struct

from ssmd import settings
from ssmd.cli.files import locked, replace_text, unified_diff
from ssmd.cli.last_seen import last_seen
from ssmd.cli.live_change import FeedChange, Put, feed_changes, plan, put_live, standing, wait_for
from ssmd.cli.options import Asking, Going, parse_duration_s
from ssmd.cli.output import say
from ssmd.cli.problems import described, print_lines
from ssmd.cli.running import NoBus, find_bus
from ssmd.environment.catalog import Catalog
from ssmd.environment.changes import Draft
from ssmd.environment.load import FOLDER, Inspection, find, inspect, read
from ssmd.environment.spec import Environment
from ssmd.errors import BusDown, ConfigError, Conflict
from ssmd.settings import Settings, without_passwords
from ssmd.trees import LiveCopy, LiveLink, live_link
from ssmd.trees.catalog import catalog

Edit = Callable[[Draft, Inspection], Sequence[str]]
"""Makes the change in a draft and returns its result lines."""


class Change(Struct, frozen=True):
    """A file before and after an edit; `lines` say what was done."""

    path: Path
    before: Inspection
    after: Inspection
    lines: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return self.before.source.text == self.after.source.text

    def diff(self) -> str:
        return unified_diff(self.path, self.before.source.text, self.after.source.text)


async def change(env: str, edit: Edit, asking: Asking, going: Going) -> int:
    """Make a change to an environment and, unless it is of the file only, to what runs. Return the exit code."""
    path = editable(env)
    values = settings.load(going.config)
    within_s = parse_duration_s(going.timeout)
    async with AsyncExitStack() as connection:
        async with locked(path.parent):
            made = prepare(path, edit, catalog(values))
            if made.after.environment is None:
                return refuse(made)
            if asking.dry_run:
                sys.stdout.write(made.diff())
                return 0
            link = await connection.enter_async_context(live_or_none(made.after.name, values, going))
            puts = await _bring_in(made, made.after.environment, link)
        if link is None or not going.wait:
            return 0
        name = made.after.environment.name
        return await wait_for(link, name, puts or await standing(link, name, made.after.environment), within_s)


def editable(env: str) -> Path:
    """Return the file of an environment of the user's own. Raises ConfigError for one that comes with ssmd."""
    path = find(env)
    if path.parent != FOLDER and "/" not in env and not env.endswith((".yaml", ".yml")):
        refuse_in_sub_folder()
        raise ConfigError(
            f"environment {env!r} comes with ssmd ({path}); `ssmd env create NAME --from-template {env}` makes it your own"
        )
    return path


def refuse_in_sub_folder() -> None:
    """Raise ConfigError where a folder above in the same repository is the project: its files are meant."""
    here = Path.cwd()
    repository = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
    above = [folder for folder in here.parents if folder.is_relative_to(repository) and (folder / FOLDER).is_dir()]
    if above and not (here / FOLDER).is_dir():
        raise ConfigError(f"there is no {FOLDER} here, but in {above[0]}: run the command there (cd {above[0]})")


def prepare(path: Path, edit: Edit, facts: Catalog) -> Change:
    """Make the edit in memory and check the result as a whole."""
    content = read(path)
    before = inspect(path, content, facts)
    draft = Draft(before.source, before.root)
    lines = tuple(edit(draft, before))
    after = inspect(path, draft.text.encode(), facts)
    return Change(path, before, after, lines)


def refuse(made: Change) -> int:
    """Say why the result would not be an environment. Return the exit code."""
    for problem in made.after.problems:
        print_lines(described(problem, "✗", made.after.source), to_stderr=True)
    count = len(made.after.problems)
    say(f"error: {made.path} would have {count} error{'' if count == 1 else 's'}; nothing was changed")
    return 1


@asynccontextmanager
async def live_or_none(
    environment: str, values: Settings, going: Going, otherwise: str = "only the file is changed"
) -> AsyncIterator[LiveLink | None]:
    """Give a connection to what runs the environment. None: it is not wanted, or, said on stderr, nothing can be reached.

    Raises BusDown when --wait needs it, ConfigError when --wait has nothing to wait for.
    """
    if going.no_live:
        if going.wait:
            raise ConfigError("--wait waits for what runs, which --no-live leaves as it is; leave one of them out")
        yield None
        return
    bus = find_bus(values, going.data_dir, environment)
    if isinstance(bus, NoBus):
        if going.wait:
            raise ConfigError(f"--wait: {bus.reason}; set [nats] url, or --data-dir of `ssmd up`")
        say(f"note: {bus.reason}: {otherwise}")
        yield None
        return
    async with AsyncExitStack() as stack:
        try:
            link = await stack.enter_async_context(live_link(bus.url))
        except BusDown as error:
            if going.wait:
                raise
            say(without_passwords(f"! NATS at {bus.url} ({bus.origin}) cannot be reached, {otherwise}: {error}"))
            link = None
        yield link


async def _bring_in(made: Change, wanted: Environment, link: LiveLink | None) -> list[Put]:
    """Write the file and put the live copies, or neither."""
    planned = {} if link is None else await plan(link, wanted.name, _relevant(made))
    if not made.is_empty:
        replace_text(made.path, made.before.source.text.encode(), made.after.source.text)
    puts = []
    if link is not None:
        puts = await _put_or_restore(made, wanted, link, planned)
        last_seen(made.path, wanted.name).remember(_relevant(made))
    for line in made.lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
    for put in puts:
        say(f"live: feed {put.change.feed} is at revision {put.revision}")
    return puts


async def _put_or_restore(
    made: Change, wanted: Environment, link: LiveLink, planned: Mapping[str, LiveCopy]
) -> list[Put]:
    """Put the live copies. Whatever prevents it, Ctrl-C too, the file is as before, and the same command can be repeated."""
    try:
        return await put_live(link, wanted.name, _relevant(made), planned)
    except BaseException as error:
        if not made.is_empty:
            replace_text(made.path, made.after.source.text.encode(), made.before.source.text)
        if isinstance(error, (BusDown, Conflict)):
            raise type(error)(f"{error}; {made.path} was not changed, try again") from error
        raise


def _relevant(made: Change) -> list[FeedChange]:
    """Return the feeds that the edit changed: others are as they were, live too.

    One that changes nothing in the file is perhaps repeated because the live copy lacks it: then all are looked at.
    """
    all_feeds = feed_changes(made.before.environment, made.after.environment)
    return [each for each in all_feeds if made.is_empty or each.before != each.after]
