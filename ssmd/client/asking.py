"""What is asked for, as the parameters of a request."""

from collections.abc import Iterable
from typing import Generic, TypedDict, TypeVar

from msgspec import Struct

from ssmd.client.rows import Book, Coverage, EventType, Symbol, Window, part_of
from ssmd.client.times import Time, time_text

R = TypeVar("R", bound=Struct)

Symbols = str | Iterable[str]
"""`BTCUSD`, `BTCUSD,ETHUSD`, or a list of them."""


class RowOptions(TypedDict, total=False):
    """last: the newest so many, instead of a range. limit: not more rows than that. depth: levels of a book.

    feed: else all that this key may read. version: of the normalizer; else what is served. clock: `receive` or
    `exchange`, which time the range is about. fields: columns by name; a row has these only, and so has a table.
    """

    last: int
    limit: int
    feed: str
    version: str
    clock: str
    depth: int
    fields: Symbols


class LiveOptions(TypedDict, total=False):
    """feed: else all that this key may read. snapshot: begin with the last quote and book of each symbol, where start is now.

    slow: what happens when messages are read too slowly. `skip` leaves quotes and books out and says so. `close` does
    not: the connection ends and goes on where it was.
    """

    feed: str
    slow: str
    snapshot: bool


class ReplayOptions(TypedDict, total=False):
    """types, feed: else all that this key may read."""

    types: Symbols
    feed: str


class Question(Struct, Generic[R], frozen=True):
    """One request. is_listing: it has one JSON answer; else the rows come in any format."""

    path: str
    query: dict[str, str | int]
    kind: type[R]
    is_listing: bool = False

    def __str__(self) -> str:
        asked = " ".join(f"{name}={value}" for name, value in self.query.items() if name != "symbol")
        return " ".join(filter(None, (self.path.rpartition("/")[2], str(self.query.get("symbol", "")), asked)))


class Span(Struct, frozen=True):
    """A range, [start, end). None: from the default of the request, or up to now."""

    start: Time | None = None
    end: Time | None = None


def events(kind: type[R], symbol: Symbols, span: Span, options: RowOptions) -> Question[R]:
    path = f"/api/v1/{kind.__name__.lower()}s"
    return _rows(kind, path, {"symbol": names(symbol), **_span(span)}, options)


def book(symbol: Symbols, at: Time, options: RowOptions) -> Question[Book]:
    return _rows(Book, "/api/v1/books", {"symbol": names(symbol), "at": time_text(at)}, options)


def _rows(kind: type[R], path: str, query: dict[str, str | int], options: RowOptions) -> Question[R]:
    fields = listed(options.get("fields", ()))
    asked = query | {name: value for name, value in options.items() if isinstance(value, (str, int))}
    if not fields:
        return Question(path, asked, kind)
    return Question(path, asked | {"fields": ",".join(fields)}, part_of(kind, fields))


def symbols(q: str, feed: str) -> Question[Symbol]:
    return Question("/api/v1/symbols", _given(q=q, feed=feed), Symbol, is_listing=True)


def gaps(symbol: Symbols, span: Span, feed: str) -> Question[Window]:
    query = {**_given(symbol=names(symbol), feed=feed), **_span(span)}
    return Question("/api/v1/gaps", query, Window, is_listing=True)


def coverage(symbol: Symbols, span: Span, feed: str) -> Question[Coverage]:
    query = {**_given(symbol=names(symbol), feed=feed), **_span(span)}
    return Question("/api/v1/coverage", query, Coverage, is_listing=True)


def estimate(kind: EventType, symbol: Symbols, span: Span, feed: str) -> dict[str, str | int]:
    return {"type": kind, "symbol": names(symbol), **_given(feed=feed), **_span(span)}


def names(symbol: Symbols) -> str:
    return symbol if isinstance(symbol, str) else ",".join(symbol)


def listed(symbol: Symbols) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in names(symbol).split(",")) if name)


def _span(span: Span) -> dict[str, str | int]:
    times = {"start": span.start, "end": span.end}
    return {name: time_text(time) for name, time in times.items() if time is not None}


def _given(**parameters: str) -> dict[str, str | int]:
    return {name: value for name, value in parameters.items() if value}
