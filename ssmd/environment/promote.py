"""Take feeds and symbols over from one environment to another; storage, stream and entitlements stay its own."""

from typing import Final

from msgspec.structs import asdict

from ssmd.environment.changes import FEEDS, Draft, put_symbol, remove_symbol
from ssmd.environment.edit import Value
from ssmd.environment.rules import BUCKETS, bucket_name
from ssmd.environment.source import parse
from ssmd.environment.spec import Environment, FeedEntry, SymbolEntry

_DEFAULTS: Final = FeedEntry(symbols=())
_FIELDS: Final = tuple(name for name in FeedEntry.__struct_fields__ if name != "symbols")


def promote(draft: Draft, ours: Environment, theirs: Environment) -> None:
    """Make the feeds of our file those of another environment, with as few changed lines as possible."""
    for feed in ours.spec.feeds:
        if feed not in theirs.spec.feeds and draft.owns((*FEEDS, feed)):
            draft.remove((*FEEDS, feed))
    for feed, entry in theirs.spec.feeds.items():
        mine = ours.spec.feeds.get(feed)
        if mine is None:
            draft.set((*FEEDS, feed), feed_value(entry))
        else:
            _take_feed(draft, feed, mine, entry)


def _take_feed(draft: Draft, feed: str, mine: FeedEntry, entry: FeedEntry) -> None:
    for field in _FIELDS:
        value = getattr(entry, field)
        if value != getattr(mine, field):
            path = (*FEEDS, feed, field)
            if value is None:
                draft.remove(path)
            else:
                draft.set(path, value)
    known = {symbol.name for symbol in mine.symbols}
    new = [_symbol_value(symbol) for symbol in entry.symbols if symbol.name not in known]
    if new and draft.owns((*FEEDS, feed, "symbols")):
        draft.append((*FEEDS, feed, "symbols"), *new)  # before the removals, which might leave no layout to go by
    same = frozenset(mine.symbols)
    for symbol in entry.symbols:
        if symbol.name in known and symbol not in same:
            put_symbol(draft, feed, symbol.name, symbol.internal, symbol.depth)
    wanted = {symbol.name for symbol in entry.symbols}
    for symbol in mine.symbols:
        if symbol.name not in wanted:
            remove_symbol(draft, feed, symbol.name)


def feed_value(entry: FeedEntry) -> Value:
    """Return a feed as the file says it; what is as by default is left out."""
    fields = {field: getattr(entry, field) for field in _FIELDS}
    said = {field: value for field, value in fields.items() if field == "enabled" or value != getattr(_DEFAULTS, field)}
    symbols: list[Value] = [_symbol_value(symbol) for symbol in entry.symbols]
    return {**said, "symbols": symbols}


def _symbol_value(symbol: SymbolEntry) -> Value:
    return asdict(symbol)


def renamed(text: str, file: str, name: str) -> str:
    """Return a file's text as that of a new environment: its name, and buckets of its own."""
    source = parse(text.encode(), file)
    draft = Draft(source, source.root)
    draft.set(("metadata", "name"), name)
    for kind in BUCKETS:
        path = ("spec", "storage", kind, "bucket")
        if draft.owns(path):
            draft.set(path, bucket_name(name, kind))
    return draft.text
