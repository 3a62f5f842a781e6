"""What `ssmd reprocess prune` and `promote` do: which versions of the archive there are, and which one readers use."""

import sys
from collections.abc import Sequence
from typing import Final

from ssmd.cli.asking import confirm_name
from ssmd.cli.changing import change
from ssmd.cli.feeds import only_feed
from ssmd.cli.live_view import size
from ssmd.cli.options import Asking, Going, Where
from ssmd.cli.output import say
from ssmd.cli.reprocessing import opener
from ssmd.clock import now_ns
from ssmd.environment import load as environment
from ssmd.environment.changes import Draft, set_served
from ssmd.environment.load import Inspection
from ssmd.environment.spec import Environment
from ssmd.errors import ConfigError
from ssmd.model import is_token
from ssmd.reprocess.prune import Holdings, holdings, prune, ranges_of

WORTH_TELLING: Final = 1000
"""Objects; fewer are deleted within seconds."""


async def prune_version(what: tuple[str, str], place: tuple[str, Where], asking: Asking, *, force: bool) -> int:
    """Delete a version after asking for its name. Return the exit code."""
    version, feed = what
    env, where = place
    if not is_token(version):
        raise ConfigError(f"version is {version[:40]!r}; write one such as v1")
    described = environment.load(env)
    feeds = [feed] if feed else list(described.spec.feeds)
    for name in feeds:
        _need_unused(described, name, version)
    store = opener(env, where)()
    found = [await holdings(store, version, name) for name in feeds]
    if not any(each.total for each in found):
        raise ConfigError(
            f"there is nothing of version {version} of {', '.join(feeds)}; it may have been pruned before"
        )
    for each in found:
        say(f"{each.feed} {version}: {_counts(each)}")
    if not force:
        _need_harmless(found)
    confirm_name(f"everything of version {version} of {', '.join(feeds)} will be deleted", version, asking)
    for each in found:
        if asking.dry_run:
            sys.stdout.write(f"feed/{each.feed} version {version} would be pruned: {_counts(each)}\n")
            continue
        await prune(store, version, each.feed, _Told(each.total))
        sys.stdout.write(f"feed/{each.feed} version {version} pruned: {_counts(each)}\n")
    return 0


def _need_harmless(found: Sequence[Holdings]) -> None:
    """Refuse what nothing could replace, and what is being made."""
    for each in found:
        if each.held_until_ns > now_ns():
            raise ConfigError(
                f"a reprocess of {each.feed} {each.version} is at work, or was killed less than a day ago; end it first, "
                f"or --force"
            )
        if each.uncovered:
            raise ConfigError(
                f"no other version has what {each.uncovered[0]} holds; "
                f"reprocess that time with another version first, or --force"
            )


class _Told:
    """Says after each tenth how far it is."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._tenths = 0

    def __call__(self, count: int) -> None:
        self._done += count
        tenths = self._done * 10 // max(self._total, 1)
        if tenths > self._tenths and self._total >= WORTH_TELLING:
            self._tenths = tenths
            say(f"{self._done:,} of {self._total:,} objects deleted")


def _need_unused(described: Environment, feed: str, version: str) -> None:
    entry = described.spec.feeds.get(feed)
    if entry is None:
        return  # nobody captures it any more, so nobody makes or serves it
    uses = {"serve_version": entry.served, "normalizer": entry.normalizer, "candidate": entry.candidate_normalizer}
    for word, used in uses.items():
        if used == version:
            raise ConfigError(
                f"{version} is in use: {word} of feed {feed} in environment {described.name}; "
                f"`ssmd reprocess promote` and the environment's file choose another one"
            )


def _counts(found: Holdings) -> str:
    return (
        f"{found.objects} objects, {size(found.size_bytes)}, {found.ranges} ranges, "
        f"{found.records} records of minutes, {found.quality} of the quality ledger"
    )


async def promote_version(version: str, feed: str, env: str, how: tuple[Asking, Going]) -> int:
    """Set what readers use. Return the exit code."""
    feed = only_feed(env, feed)
    entry = environment.load(env).spec.feeds.get(feed)
    if entry is not None and version != entry.normalizer:
        store = opener(env, how[1])()
        if not await ranges_of(store, version, feed):
            raise ConfigError(
                f"version {version} of {feed} is complete for no range; `ssmd reprocess run --version {version}` makes one"
            )

    def edit(draft: Draft, _before: Inspection) -> Sequence[str]:
        return [set_served(draft, feed, version)]

    return await change(env, edit, *how)
