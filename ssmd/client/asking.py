"""What is asked for, as the parameters of a request."""

from collections.abc import Iterable
from typing import Generic, TypedDict, TypeVar

from msgspec import Struct

from ssmd.client.rows import Book, Coverage, EventType, Symbol, Window
from ssmd.client.times import Time, time_text

R = TypeVar("R", bound=Struct)

Symbols = str | Iterable[str]
"""`BTCUSD`, `BTCUSD,ETHUSD`, or a list of them."""


class RowOptions(TypedDict, total=False):
    """last: the newest so many, instead of a range. limit: not more rows than that. depth: levels of a book.

    feed: else all that this key may read. version: of the normalizer; else what is served. clock: `receive` or
    `exchange`, which time the range is about.
    """

    last: int
    limit: int
    feed: str
    version: str
    clock: str
    depth: int


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
    return Question(path, {"symbol": names(symbol), **_span(span), **options}, kind)  # type: ignore[dict-item]


def book(symbol: Symbols, at: Time, options: RowOptions) -> Question[Book]:
    return Question("/api/v1/books", {"symbol": names(symbol), "at": time_text(at), **options}, Book)  # type: ignore[dict-item]


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


def _span(span: Span) -> dict[str, str | int]:
    times = {"start": span.start, "end": span.end}
    return {name: time_text(time) for name, time in times.items() if time is not None}


def _given(**parameters: str) -> dict[str, str | int]:
    return {name: value for name, value in parameters.items() if value}
