"""What `ssmd feed …` and `ssmd symbol …` do."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from ssmd import settings
from ssmd.cli.asking import confirm_name
from ssmd.cli.changing import change
from ssmd.cli.options import Asking, Format, Going
from ssmd.cli.output import say, show_rows
from ssmd.environment.changes import Draft, put_symbol, remove_symbol, set_enabled
from ssmd.environment.load import Inspection, find, inspect, load, read
from ssmd.errors import ConfigError
from ssmd.records import Depth
from ssmd.trees.catalog import catalog, refresh_catalog

SHOWN: Final = 40


class FeedRow(Struct, frozen=True):
    feed: str
    enabled: bool
    symbols: int
    books: int
    book_depth: int
    book_interval_ms: int
    shards: int
    normalizer: str


class SymbolRow(Struct, frozen=True):
    symbol: str
    name: str
    feed: str
    depth: str
    captured: bool


class FoundRow(Struct, frozen=True):
    name: str
    feed: str
    captured_as: str


def list_feeds(env: str, output: Format) -> int:
    feeds = load(env).spec.feeds
    rows = [
        FeedRow(
            feed,
            entry.enabled,
            len(entry.symbols),
            sum(symbol.depth == "l2" for symbol in entry.symbols),
            entry.book_depth,
            entry.book_interval_ms,
            entry.shards,
            entry.normalizer,
        )
        for feed, entry in feeds.items()
    ]
    show_rows(rows, output, f"no feed in {env}; `ssmd feed add` adds one")
    return 0


def list_symbols(env: str, feed: str, output: Format) -> int:
    feeds = load(env).spec.feeds
    rows = [
        SymbolRow(symbol.internal, symbol.name, name, symbol.depth, entry.enabled)
        for name, entry in feeds.items()
        if feed in {"", name}
        for symbol in entry.symbols
    ]
    show_rows(rows, output, "no symbol is mapped; `ssmd symbol map NAME SYMBOL --feed FEED` maps one")
    return 0


# changes -----------------------------------------------------------------------------------------------------


class Symbols(Struct, frozen=True):
    """What is to be captured: names of the exchange. internal (of a single name), depth: None leaves it as it is."""

    names: tuple[str, ...]
    internal: str | None = None
    depth: Depth | None = None


async def put(env: str, feed: str, symbols: Symbols, how: tuple[Asking, Going]) -> int:
    """Capture symbols, or change how."""
    if symbols.internal is not None and len(symbols.names) > 1:
        raise ConfigError(f"--internal {symbols.internal} is for one name; {len(symbols.names)} are given")

    def edit(draft: Draft, _before: Inspection) -> Sequence[str]:
        return [put_symbol(draft, feed, name, symbols.internal, symbols.depth) for name in symbols.names]

    return await change(env, edit, *how)


async def take_away(env: str, feed: str, names: Sequence[str], asking: Asking, going: Going) -> int:
    listed = " ".join(names)
    confirm_name(f"{listed} will be captured from {feed} no longer", listed, asking)
    return await change(env, lambda draft, _before: [remove_symbol(draft, feed, name) for name in names], asking, going)


async def switch(env: str, feed: str, asking: Asking, going: Going, *, enabled: bool) -> int:
    if not enabled:
        confirm_name(f"nothing will be captured from {feed}", feed, asking)
    return await change(env, lambda draft, _before: (set_enabled(draft, feed, enabled=enabled),), asking, going)


def only_feed(env: str, feed: str) -> str:
    """Return the feed that is meant: the one named, else the only one of the environment."""
    if feed:
        return feed
    feeds = list(load(env).spec.feeds)
    if len(feeds) != 1:
        raise ConfigError(f"environment {env} has {len(feeds)} feeds ({', '.join(feeds)}); name one with --feed")
    return feeds[0]


# symbols against the exchange's list -------------------------------------------------------------------------


async def validate_symbols(env: str, config: Path | None, output: Format, *, online: bool) -> int:
    """Check that every mapping leads to something the exchange offers. Return the exit code."""
    values = settings.load(config)
    path = find(env)
    feeds = list(load(env).spec.feeds) if online else []
    facts = await refresh_catalog(values, feeds) if online else catalog(values)
    seen = inspect(path, read(path), facts)
    wrong = [problem for problem in seen.problems if problem.path.startswith("spec.feeds.")]
    rows = [SymbolProblem(str(each.mark), each.message, each.hint) for each in wrong]
    if output != "table" or wrong:
        show_rows(rows, output)
    else:
        say("✓ All symbol mappings resolve")
    return 1 if wrong else 0


class SymbolProblem(Struct, frozen=True):
    place: str
    problem: str
    hint: str


def search_symbols(text: str, feed: str, env: str, output: Format) -> int:
    """List what the exchanges offer that contains the text, or comes near it."""
    mapped = {
        (name, symbol.name): symbol.internal for name, entry in load(env).spec.feeds.items() for symbol in entry.symbols
    }
    rows = []
    for name, facts in catalog(settings.load()).items():
        if feed in {"", name}:
            spelled = facts.spell(text).upper()
            found = sorted(n for n in facts.names if text.upper() in n.upper() or spelled in n)
            found = found or difflib.get_close_matches(text.upper(), facts.names, n=5)
            rows += [FoundRow(n, name, mapped.get((name, n), "")) for n in found]
    shown = rows[:SHOWN] if output == "table" else rows
    show_rows(
        shown, output, f"nothing like {text!r}; the exchange's list may be newer: `ssmd symbol validate --online`"
    )
    if len(rows) > len(shown):
        say(f"and {len(rows) - len(shown)} more; -o name lists all")
    return 0 if rows else 1
