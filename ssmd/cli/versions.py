"""What `ssmd reprocess prune` and `promote` do: which versions of the archive there are, and which one readers use."""

import sys
from collections.abc import Sequence

from ssmd.cli.asking import confirm_name
from ssmd.cli.changing import change
from ssmd.cli.feeds import only_feed
from ssmd.cli.live_view import size
from ssmd.cli.options import Asking, Going, Where
from ssmd.cli.output import say
from ssmd.cli.reprocessing import opener
from ssmd.environment import load as environment
from ssmd.environment.changes import Draft, set_served
from ssmd.environment.load import Inspection
from ssmd.environment.spec import Environment
from ssmd.errors import ConfigError
from ssmd.reprocess.prune import Holdings, holdings, prune, ranges_of


async def prune_version(what: tuple[str, str], place: tuple[str, Where], asking: Asking, *, force: bool) -> int:
    """Delete a version after asking for its name. Return the exit code."""
    version, feed = what
    env, where = place
    described = environment.load(env)
    feeds = [feed] if feed else list(described.spec.feeds)
    for name in feeds:
        _need_unused(described, name, version)
    store = opener(env, where)()
    found = [await holdings(store, version, name) for name in feeds]
    if not any(each.objects or each.ranges for each in found):
        raise ConfigError(f"there is nothing of version {version} of {', '.join(feeds)}")
    for each in found:
        _say_holdings(each)
    alone = [key for each in found for key in each.uncovered]
    if alone and not force:
        raise ConfigError(
            f"no other version has what {alone[0]} holds; reprocess that time with another version first, or --force"
        )
    confirm_name(f"everything of version {version} of {', '.join(feeds)} will be deleted", version, asking)
    if asking.dry_run:
        return 0
    for each in found:
        count = await prune(store, version, each.feed)
        sys.stdout.write(f"feed/{each.feed} version {version} pruned: {count} objects\n")
    return 0


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


def _say_holdings(found: Holdings) -> None:
    say(f"{found.feed} {found.version}: {found.objects} objects, {size(found.size_bytes)}, {found.ranges} ranges")


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
