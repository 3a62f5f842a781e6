"""What `ssmd env promote` does."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ssmd import settings
from ssmd.cli.asking import confirm
from ssmd.cli.changing import Change, editable, prepare, refuse
from ssmd.cli.environments import create_environment
from ssmd.cli.files import locked, replace_text
from ssmd.cli.options import Asking
from ssmd.cli.output import say
from ssmd.environment.changes import Draft
from ssmd.environment.diff import Difference, differences
from ssmd.environment.load import FOLDER, Inspection, load
from ssmd.environment.promote import promote
from ssmd.environment.spec import Environment
from ssmd.errors import ConfigError
from ssmd.trees.catalog import catalog


async def promote_environment(source: str, to: str, asking: Asking, config: Path | None) -> int:
    theirs = load(source)
    if "/" not in to and not (FOLDER / f"{to}.yaml").exists():
        return _make_new(source, to, asking)
    path = editable(to)
    made = prepare(path, lambda draft, before: _edit(draft, before, theirs), catalog(settings.load(config)))
    if made.after.environment is None:
        return refuse(made)
    if made.is_empty:
        say(f"{to} has the feeds and symbols of {source} already")
        return 0
    _explain(made)
    if asking.dry_run:
        sys.stdout.write(made.diff())
        return 0
    confirm(f"write {path}", asking)
    async with locked(path.parent):  # not while a person thinks: a file that was changed meanwhile is a conflict
        replace_text(path, made.before.source.text.encode(), made.after.source.text)
    sys.stdout.write(f"env/{to} has the feeds and symbols of {source}\n")
    say(f"next: ssmd env apply {to}")
    return 0


def _edit(draft: Draft, before: Inspection, theirs: Environment) -> Sequence[str]:
    promote(draft, before.checked(), theirs)
    return ()


def _make_new(source: str, to: str, asking: Asking) -> int:
    say(f"{to} does not exist yet: it becomes a copy of {source} with a name and buckets of its own")
    confirm(f"create {FOLDER / to}.yaml", asking)
    return create_environment(to, source, dry_run=asking.dry_run)


def _explain(made: Change) -> None:
    """Show what changes in meaning, and what stays the target's own."""
    before, after = made.before.environment, made.after.environment
    if before is None or after is None:
        raise ConfigError(f"{made.path} is not valid")
    for each in differences(before, after):
        say(_difference_line(each))
    say(f"kept: storage, retention, stream and entitlements of {after.name}")


def _difference_line(each: Difference) -> str:
    if each.left is None:
        return f"+ {each.path}: {each.right}"
    if each.right is None:
        return f"- {each.path}: {each.left}"
    return f"~ {each.path}: {each.left} -> {each.right}"
