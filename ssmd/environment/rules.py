"""What must hold in an environment beyond its structure. Every violation is found, whatever else is wrong."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Final

from ssmd.environment.catalog import Catalog, FeedFacts
from ssmd.environment.check import MAX_SYMBOLS
from ssmd.environment.problem import VERY_ALIKE, Mark, Problem, did_you_mean, dotted
from ssmd.environment.source import Mapping, Node, Path, Scalar, elements, lookup, mapping, text
from ssmd.environment.spec import NAME, SIZE, TIME, FeedEntry
from ssmd.settings import parse_size

BUCKETS: Final = ("raw", "normalized")
STREAM_BYTES: Final = (10_000_000, 100_000_000_000_000)
GLOB_CHARACTERS: Final = "*?"
MAX_SUGGESTED: Final = 20
"""Finding the nearest of a thousand names takes milliseconds: behind so many unknown ones, all get the general hint."""


def check_rules(root: Mapping, catalog: Catalog) -> Iterator[Problem]:
    """Give every broken rule. An empty catalog leaves out what depends on the exchanges."""
    feeds = mapping(root, "spec", "feeds")
    for key, feed in feeds.items if feeds else ():
        path = ("spec", "feeds", str(key.value))
        if catalog and key.value not in catalog:
            known = ", ".join(sorted(catalog))
            hint = did_you_mean(str(key.value), catalog, otherwise=f"known are {known}")
            yield Problem("unknown_feed", f"Feed '{key.value}' is not known", key.mark, known, hint, dotted(path))
        if isinstance(feed, Mapping):
            yield from _check_feed(str(key.value), feed, catalog.get(str(key.value)))
    yield from _check_storage(root)
    yield from _check_stream(root)
    yield from check_entitlements(root)


# feeds -------------------------------------------------------------------------------------------------------


def _check_feed(feed: str, node: Mapping, facts: FeedFacts | None) -> Iterator[Problem]:
    symbols = elements(node, "symbols")
    path = ("spec", "feeds", feed, "symbols")
    if len(symbols) > MAX_SYMBOLS:
        many = lookup(node, ("symbols",)) or node
        yield Problem(
            "too_many",
            f"Feed '{feed}' has {len(symbols)} symbols",
            many.mark,
            f"at most {MAX_SYMBOLS}",
            path=dotted(path),
        )
    yield from _check_unique(feed, symbols, "name")
    yield from _check_unique(feed, symbols, "internal")
    if facts is not None:
        yield from _check_listed(feed, symbols, facts)
        yield from _check_offered(feed, node, facts)


def _check_unique(feed: str, symbols: tuple[object, ...], field: str) -> Iterator[Problem]:
    """Two-way mapping: neither a name nor an internal symbol may stand twice."""
    first: dict[str, Mark] = {}
    for at, symbol in enumerate(symbols):
        value = text(symbol, field) if isinstance(symbol, Mapping) else None
        if value is None:
            continue
        seen = str(value.value)
        if seen in first:
            what = "Symbol" if field == "name" else "Internal name"
            path = dotted(("spec", "feeds", feed, "symbols", at, field))
            hint = f"first at {first[seen]}"
            yield Problem(
                "duplicate", f"{what} '{seen}' is used twice on feed '{feed}'", value.mark, "once", hint, path
            )
        first.setdefault(seen, value.mark)


def _check_listed(feed: str, symbols: tuple[object, ...], facts: FeedFacts) -> Iterator[Problem]:
    unknown = 0
    for at, symbol in enumerate(symbols if facts.names else ()):
        value = text(symbol, "name") if isinstance(symbol, Mapping) else None
        if value is None or value.value in facts.names:
            continue
        unknown += 1
        name = str(value.value)
        yield Problem(
            "not_listed",
            f"Symbol '{name}' not available on feed '{feed}'",
            value.mark,
            f"a name in {facts.list_source}",
            _hint_for(name, feed, facts, is_nearest_wanted=unknown <= MAX_SUGGESTED),
            dotted(("spec", "feeds", feed, "symbols", at, "name")),
        )


def _hint_for(name: str, feed: str, facts: FeedFacts, *, is_nearest_wanted: bool) -> str:
    spelled = facts.spell(name)
    if spelled in facts.names:
        return f"write {spelled}"
    search = f"`ssmd symbol search {name.partition('/')[0]} --feed {feed}` searches, --online asks the exchange"
    nearest = did_you_mean(name, facts.names, alike=VERY_ALIKE) if is_nearest_wanted else ""
    return "; ".join(filter(None, (nearest, search)))


def _check_offered(feed: str, node: Mapping, facts: FeedFacts) -> Iterator[Problem]:
    depth = node.get("book_depth")
    most = facts.max_book_depth
    if isinstance(depth, Scalar) and isinstance(depth.value, int) and most is not None and depth.value > most:
        path = dotted(("spec", "feeds", feed, "book_depth"))
        message = f"Feed '{feed}' offers no book of {depth.value} levels"
        yield Problem("depth", message, depth.mark, f"at most {most}", path=path)
    for field in ("normalizer", "candidate_normalizer"):
        version = text(node, field)
        if version is not None and version.value not in facts.normalizers:
            known = ", ".join(facts.normalizers)
            path = dotted(("spec", "feeds", feed, field))
            yield Problem("normalizer", f"{field} '{version.value}' does not exist", version.mark, known, path=path)
    yield from _check_candidate(feed, node, facts)


def _check_candidate(feed: str, node: Mapping, facts: FeedFacts) -> Iterator[Problem]:
    candidate, normalizer = text(node, "candidate_normalizer"), text(node, "normalizer")
    used = normalizer.value if normalizer is not None else FeedEntry(()).normalizer
    if candidate is not None and candidate.value == used:
        others = ", ".join(version for version in facts.normalizers if version != used) or "none yet"
        path = dotted(("spec", "feeds", feed, "candidate_normalizer"))
        message = f"candidate_normalizer '{used}' is the normalizer already"
        yield Problem("normalizer", message, candidate.mark, f"another version: {others}", path=path)


# storage and stream ------------------------------------------------------------------------------------------


def bucket_name(environment: str, kind: str) -> str:
    return f"ssmd-{environment}-{kind}"


def _check_storage(root: Mapping) -> Iterator[Problem]:
    environment = text(root, "metadata", "name")
    for kind in BUCKETS:
        bucket = text(root, "spec", "storage", kind, "bucket")
        path = ("spec", "storage", kind)
        if bucket is not None and environment is not None and re.fullmatch(NAME, str(environment.value)):
            yield from _check_bucket(environment, bucket, bucket_name(str(environment.value), kind), (*path, "bucket"))
        days = lookup(root, (*path, "retention_days"))
        if isinstance(days, Scalar) and days.value == 0 and days.value is not False:
            yield Problem(
                "retention",
                "retention_days 0 would keep nothing",
                days.mark,
                "-1 (forever) or at least 1",
                path=dotted((*path, "retention_days")),
            )


def _check_bucket(environment: Scalar, bucket: Scalar, name: str, path: Path) -> Iterator[Problem]:
    """Hold a bucket to the convention. One that is taken over is right where it stands, and wrong for this file."""
    if bucket.value == name:
        return
    message = f"Storage bucket '{bucket.value}' does not match naming convention"
    if bucket.mark.file == environment.mark.file:
        yield Problem("bucket", message, bucket.mark, name, f"write {name}", dotted(path))
    else:
        hint = f"it is taken over from {bucket.mark}: add {dotted(path)}: {name} to {environment.mark.file}"
        yield Problem("bucket", message, environment.mark, name, hint, dotted(path))


def _check_stream(root: Mapping) -> Iterator[Problem]:
    path = ("spec", "jetstream", "max_bytes")
    size = text(root, *path)
    if size is None or re.fullmatch(SIZE, str(size.value)) is None:
        return
    least, most = STREAM_BYTES
    if not least <= parse_size(str(size.value), dotted(path)) <= most:
        yield Problem("size", f"max_bytes {size.value} is not sensible", size.mark, "10MB to 100TB", path=dotted(path))


# entitlements ------------------------------------------------------------------------------------------------


def check_entitlements(root: Mapping) -> Iterator[Problem]:
    """Each client is defined once, and entitled to feeds and symbols that exist."""
    entries = [
        (("spec", "entitlements", at), entry)
        for at, entry in enumerate(elements(root, "spec", "entitlements"))
        if isinstance(entry, Mapping)
    ]
    yield from _check_clients(entries)
    symbols = symbols_by_feed(root)
    for path, entry in entries:
        yield from _check_grant(symbols, path, entry)
        yield from _check_expiry(path, entry)


def defines_client(entry: Mapping) -> bool:
    """Tell whether an entry of the entitlements says who a client is."""
    kind = entry.get("type")
    return kind is not None and not (isinstance(kind, Scalar) and kind.value is None)


def _check_clients(entries: Iterable[tuple[Path, Mapping]]) -> Iterator[Problem]:
    defined: dict[str, Mark] = {}
    for path, entry in entries:
        client = text(entry, "client_id")
        if client is None or not defines_client(entry):
            continue
        name = str(client.value)
        if name in defined:
            hint = f"first at {defined[name]}; a further grant has no type"
            where = dotted((*path, "client_id"))
            yield Problem("duplicate", f"Client '{name}' is defined twice", client.mark, "once", hint, where)
        defined.setdefault(name, client.mark)
    for path, entry in entries:
        client = text(entry, "client_id")
        if client is not None and client.value not in defined:
            name = str(client.value)
            hint = did_you_mean(name, defined, otherwise="give it a type: display, non-display or trading")
            message = f"Client '{name}' referenced in entitlements but not defined"
            yield Problem("unknown_client", message, client.mark, hint=hint, path=dotted((*path, "client_id")))


def _check_grant(known: dict[str, dict[str, None]], path: Path, entry: Mapping) -> Iterator[Problem]:
    client = text(entry, "client_id")
    who = f"Client '{client.value}'" if client is not None else "A client"
    for at, feed in enumerate(elements(entry, "feeds")):
        if isinstance(feed, Scalar) and feed.value not in known:
            there = f"feeds are {', '.join(known)}" if known else "the environment has no feed"
            message = f"{who} is entitled to feed '{feed.value}', which is not defined"
            hint = did_you_mean(str(feed.value), known, otherwise=there)
            yield Problem("unknown_feed", message, feed.mark, hint=hint, path=dotted((*path, "feeds", at)))
    granted = granted_feeds(known, entry)
    for at, symbol in enumerate(elements(entry, "symbols") if granted else ()):
        name = str(symbol.value) if isinstance(symbol, Scalar) else "*"
        if not is_glob(name) and not any(name in known[feed] for feed in granted):
            captured = [symbol for feed in granted for symbol in known[feed]]
            hint = did_you_mean(name, captured, otherwise="a glob such as BTC* may name symbols to come")
            message = f"{who} is entitled to symbol '{name}', which no feed of the entry has"
            yield Problem("unknown_symbol", message, symbol.mark, hint=hint, path=dotted((*path, "symbols", at)))


def is_glob(symbol: str) -> bool:
    return any(character in symbol for character in GLOB_CHARACTERS)


def _check_expiry(path: Path, entry: Mapping) -> Iterator[Problem]:
    """Find 2027-02-30, which has the form of a date."""
    expires = text(entry, "expires_at")
    if expires is None or re.fullmatch(TIME, str(expires.value)) is None:
        return
    try:
        datetime.fromisoformat(str(expires.value))
    except ValueError:
        message = f"expires_at {expires.value} is no date of the calendar"
        yield Problem("date", message, expires.mark, "a day and a time that exist", path=dotted((*path, "expires_at")))


def symbols_by_feed(root: Mapping) -> dict[str, dict[str, None]]:
    """Return the internal names of each feed, in their order; a dict because they are looked up often."""
    feeds = mapping(root, "spec", "feeds")
    return {str(key.value): dict.fromkeys(_internal_names(feed)) for key, feed in feeds.items} if feeds else {}


def _internal_names(feed: Node) -> Iterator[str]:
    for entry in elements(feed, "symbols"):
        symbol = text(entry, "internal")
        if symbol is not None:
            yield str(symbol.value)


def granted_feeds(known: Iterable[str], entry: Mapping) -> list[str]:
    """Return the feeds of an entry that exist."""
    named = {feed.value for feed in elements(entry, "feeds") if isinstance(feed, Scalar)}
    return [feed for feed in known if feed in named]


def warnings(root: Mapping) -> Iterator[Problem]:
    """Give what is legal and may still surprise."""
    feeds = mapping(root, "spec", "feeds")
    if feeds is not None and not feeds.items:
        yield Problem("empty", "no feed is defined: nothing is captured", feeds.mark, hint="`ssmd feed add` adds one")
    known = symbols_by_feed(root)
    for entry in elements(root, "spec", "entitlements"):
        granted = granted_feeds(known, entry) if isinstance(entry, Mapping) else []
        for glob in elements(entry, "symbols") if granted else ():
            name = str(glob.value) if isinstance(glob, Scalar) else "*"
            symbols = (symbol for feed in granted for symbol in known[feed])
            if name != "*" and is_glob(name) and not any(fnmatchcase(symbol, name) for symbol in symbols):
                yield Problem("glob", f"'{name}' matches no symbol of {', '.join(granted)} yet", glob.mark)
