"""Which series there are, and what a client means by a symbol. Nothing that a client writes gets past this file.

Subjects and keys are made from the series found here. A symbol that does not exist and one that this client may not
read are one case: it is not among what the client may read.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final

import trio
from msgspec import Struct

from ssmd.archive.together import together
from ssmd.clock import NS_PER_MINUTE, NowNs, now_ns
from ssmd.errors import BadRecord
from ssmd.gateway.access import Principal, Series
from ssmd.gateway.history.feeds import ARCHIVE_AGE_S, Feeds, FeedState
from ssmd.gateway.history.plan import Source
from ssmd.gateway.parameters import shown
from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.gateway.query import Which
from ssmd.model import EVENT_TYPES, EventType, is_symbol
from ssmd.store.base import ObjectMeta, Store
from ssmd.store.keys import NormalizedKey, day_prefix, normalized_prefix

SUGGESTED: Final = 5
KEPT_ARCHIVES: Final = 100
"""Versions of feeds whose series are remembered; there are few."""


class Resolved(Struct, frozen=True):
    """What a request is about. symbols: by feed."""

    series: frozenset[Series]
    sources: tuple[Source, ...]

    def symbols(self, feed: str) -> frozenset[str]:
        return frozenset(one.symbol for one in self.series if one.feed == feed)


class SymbolRow(Struct, frozen=True):
    """One symbol of one feed. name: what the exchange calls it; empty when nobody captures it any more."""

    symbol: str
    name: str
    feed: str
    types: tuple[EventType, ...]
    version: str
    is_live: bool
    series: tuple[Series, ...]


class Edges(Struct, frozen=True):
    """From when to when the archive has something; None without anything."""

    first_ns: int | None
    last_ns: int | None


class Catalog:
    """Answers from what it has seen a moment ago; a new symbol is seen within seconds, an archived one within half a minute."""

    def __init__(self, feeds: Feeds, store: Store, now: NowNs = now_ns) -> None:
        self.feeds = feeds
        self._store = store
        self._now = now
        self._archived: dict[tuple[str, str], tuple[float, frozenset[Series]]] = {}
        self._edges: dict[tuple[str, Series], tuple[float, Edges]] = {}

    async def resolve(
        self,
        principal: Principal,
        which: Which,
        kind: EventType | None,
        pinned: Mapping[str, str] = MappingProxyType({}),
    ) -> Resolved:
        """Return the series that are meant; without any symbol all that the client may read.

        pinned: by feed, the version that an answer has begun with, whatever is served by now.

        Raises Problem unknown_symbol, with suggestions among what the client may read; invalid_parameter for a version
        that no feed of it has.
        """
        feeds = await self.feeds.all()
        readable = await self._readable(principal, which, kind)
        names = {name: symbol for feed in feeds.values() for name, symbol in _names(feed).items()}
        unknown = _unknown(which.symbols, readable, names)
        if unknown:
            others = await self._readable(principal, which, None)
            if kind is not None and not _unknown(unknown, others, names):
                raise _no_such_type(unknown, kind)
            raise unknown_symbol(unknown, {one.symbol for one in readable})
        series = _chosen(which.symbols, readable, names)
        meant = sorted({one.feed for one in series})
        if which.version is not None:
            _check_version(which.version, [feeds[feed] for feed in meant])
        return Resolved(series, tuple(feeds[feed].source(which.version or pinned.get(feed)) for feed in meant))

    async def rows(self, principal: Principal, feed: str | None, text: str = "") -> list[SymbolRow]:
        """Return the symbols that a client may read, those that hold a text if one is given."""
        feeds = await self.feeds.all()
        found: dict[tuple[str, str], list[Series]] = {}
        for one in await self._readable(principal, Which((), feed), None):
            found.setdefault((one.feed, one.symbol), []).append(one)
        rows = [_row(feeds[feed], symbol, series) for (feed, symbol), series in sorted(found.items())]
        wanted = text.upper()
        return [row for row in rows if wanted in row.symbol or wanted in row.name.upper()]

    async def edges_of(self, row: SymbolRow) -> Edges:
        """Return from when to when there is something of a symbol, of whatever type. Raises StoreDown."""
        found = await together(lambda series: self.edges(series, row.version), row.series)
        first = [edges.first_ns for edges in found if edges.first_ns is not None]
        last = [edges.last_ns for edges in found if edges.last_ns is not None]
        return Edges(min(first, default=None), max(last, default=None))

    async def edges(self, series: Series, version: str) -> Edges:
        """Return from when to when there is something of a series in the archive. Raises StoreDown."""
        known = self._edges.get((version, series))
        if known is not None and trio.current_time() - known[0] < ARCHIVE_AGE_S:
            return known[1]
        prefix = normalized_prefix(version, series.feed, series.type, series.symbol)
        first, last = await together(lambda look: look(), (partial(self._first, prefix), partial(self._last, prefix)))
        edges = Edges(first, None if last is None else last + NS_PER_MINUTE)
        self._edges[version, series] = (trio.current_time(), edges)
        return edges

    async def _first(self, prefix: str) -> int | None:
        return await _edge(self._store, prefix, newest=False)

    async def _last(self, prefix: str) -> int | None:
        """Look at today and yesterday first: of what is captured now that is all."""
        at_ns = self._now()
        days = [day_prefix(prefix, at_ns), day_prefix(prefix, at_ns - 1440 * NS_PER_MINUTE)]
        found = [minute for listed in await together(self._store.list, days) for minute in _minutes(listed)]
        return max(found) if found else await _edge(self._store, prefix, newest=True)

    async def _readable(self, principal: Principal, which: Which, kind: EventType | None) -> frozenset[Series]:
        feeds = [feed for feed in (await self.feeds.all()).values() if which.feed in {None, feed.name}]
        archived = await together(lambda feed: self._of_archive(which.version or feed.served, feed.name), feeds)
        every = frozenset().union(*(feed.live_series() for feed in feeds), *archived)
        kinds = EVENT_TYPES if kind is None else (kind,)
        return frozenset(one for one in every if one.type in kinds and principal.may_read(one, self._now()))

    async def _of_archive(self, version: str, feed: str) -> frozenset[Series]:
        known = self._archived.get((version, feed))
        if known is not None and trio.current_time() - known[0] < ARCHIVE_AGE_S:
            return known[1]

        async def of_type(kind: EventType) -> set[Series]:
            folders = await self._store.folders(normalized_prefix(version, feed, kind))
            symbols = (folder.rstrip("/").rpartition("/")[2] for folder in folders)
            return {Series(feed, kind, symbol) for symbol in symbols if is_symbol(symbol)}

        found = frozenset[Series]().union(*await together(of_type, EVENT_TYPES))
        if len(self._archived) > KEPT_ARCHIVES:
            self._archived.clear()
        self._archived[version, feed] = (trio.current_time(), found)
        return found


def _names(feed: FeedState) -> Mapping[str, str]:
    return {symbol.name: symbol.symbol for symbol in feed.config.symbols}


def _chosen(asked: Sequence[str], readable: frozenset[Series], names: Mapping[str, str]) -> frozenset[Series]:
    """Return the series of some symbols that are all known, or all series."""
    known = {one.symbol for one in readable}
    wanted = {text if text in known else names[text] for text in asked}
    return frozenset(one for one in readable if not asked or one.symbol in wanted)


def _unknown(asked: Iterable[str], readable: frozenset[Series], names: Mapping[str, str]) -> list[str]:
    """Return what names no symbol that may be read, neither ours nor the exchange's name."""
    known = {one.symbol for one in readable}
    return [text for text in dict.fromkeys(asked) if text not in known and names.get(text, "") not in known]


def _no_such_type(symbols: Sequence[str], kind: EventType) -> Problem:
    """Return the answer for symbols that may be read, but not this type of them: whether it is there is not told."""
    texts = ", ".join(shown(text) for text in symbols)
    return Problem(
        "unknown_symbol", f"no {kind}s of {texts}", "GET /api/v1/symbols tells the types of each", suggestions=[]
    )


def unknown_symbol(asked: Sequence[str], known: Iterable[str]) -> Problem:
    """Return the one answer for what does not exist and for what the client may not read."""
    texts = [shown(text) for text in asked]
    suggestions = list(dict.fromkeys(near for text in asked for near in suggested(text, known)))
    hint = "GET /api/v1/symbols lists what this key may read"
    return Problem("unknown_symbol", f"no such symbol: {', '.join(texts)}", hint, suggestions=suggestions)


def suggested(text: str, known: Iterable[str]) -> list[str]:
    """Return the known symbols that are nearest to a text."""
    wanted = "".join(letter for letter in text.upper() if letter.isalnum())
    symbols = sorted(known)
    beginning = [symbol for symbol in symbols if len(wanted) >= 2 and symbol.startswith(wanted)]
    return (beginning + [s for s in difflib.get_close_matches(wanted, symbols, SUGGESTED) if s not in beginning])[
        :SUGGESTED
    ]


def _check_version(version: str, feeds: Sequence[FeedState]) -> None:
    known = {feed.name: {*feed.versions, feed.served, feed.config.normalizer} for feed in feeds}
    if not any(version in versions for versions in known.values()):
        there = sorted(set().union(*known.values()))
        raise invalid(ParameterError("version", version, f"not there; there are {', '.join(there)}"))


def _row(feed: FeedState, symbol: str, series: Sequence[Series]) -> SymbolRow:
    names = {internal: name for name, internal in _names(feed).items()}
    kinds = tuple(kind for kind in EVENT_TYPES if any(one.type == kind for one in series))
    is_live = not feed.live_series().isdisjoint(series)
    return SymbolRow(symbol, names.get(symbol, ""), feed.name, kinds, feed.served, is_live, tuple(sorted(series)))


async def _edge(store: Store, prefix: str, *, newest: bool) -> int | None:
    """Return the first or last minute below the prefix of a series."""
    order = -1 if newest else 1
    for year in (await store.folders(prefix))[::order]:
        for month in (await store.folders(year))[::order]:
            for day in (await store.folders(month))[::order]:
                if minutes := _minutes(await store.list(day)):
                    return max(minutes) if newest else min(minutes)
    return None


def _minutes(listed: Iterable[ObjectMeta]) -> list[int]:
    return [minute for meta in listed if (minute := _minute(meta.key)) is not None]


def _minute(key: str) -> int | None:
    try:
        return NormalizedKey.parse(key).minute_ns
    except BadRecord:
        return None
