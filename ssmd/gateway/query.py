"""What a client asks for: parameters and headers become a frozen struct, or one problem that names everything wrong."""

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, Literal

import msgspec
from msgspec import Struct
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from ssmd.environment.spec import VERSION
from ssmd.gateway.cursor import Cursor, decode_cursor
from ssmd.gateway.formats.rows import COLUMNS
from ssmd.gateway.parameters import Parameters
from ssmd.gateway.problems import Problem
from ssmd.gateway.times import rfc3339
from ssmd.model import EVENT_TYPES, EventType

FormatName = Literal["json", "ndjson", "csv", "arrow", "parquet"]
FORMATS: Final[tuple[FormatName, ...]] = ("json", "ndjson", "csv", "arrow", "parquet")

MEDIA_TYPES: Final[dict[str, FormatName]] = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.parquet": "parquet",
}
Compression = Literal["none", "gzip", "zstd"]
COMPRESSIONS: Final[tuple[Compression, ...]] = ("none", "gzip", "zstd")

TimeStyle = Literal["rfc3339", "ns"]
TIME_STYLES: Final[tuple[TimeStyle, ...]] = ("rfc3339", "ns")
Clock = Literal["receive", "exchange"]
CLOCKS: Final[tuple[Clock, ...]] = ("receive", "exchange")

DEFAULT_LIMIT: Final = 1_000
MAX_LIMIT: Final = 10_000
MAX_DEPTH: Final = 1_000

Pairs = Iterable[tuple[str, str]]


class Headers(Struct, frozen=True):
    """The headers that decide about the form of an answer; empty when they are absent."""

    accept: str = ""
    accept_encoding: str = ""


class Which(Struct, frozen=True):
    """What it is about. symbols: as the client wrote them; the catalog tells which series that are."""

    symbols: tuple[str, ...]
    feed: str | None = None
    version: str | None = None


class Shape(Struct, frozen=True):
    """How rows are written. fields: none means all of them."""

    format: FormatName = "json"
    compression: Compression = "none"
    fields: tuple[str, ...] = ()
    times: TimeStyle = "rfc3339"
    depth_levels: int | None = None


class RowsQuery(Struct, frozen=True):
    """Rows of one type. Either a range, or the newest `last` before its end; a cursor goes on with a range.

    limit: None for a format that has none. clock: which time the range is about.
    """

    type: EventType
    which: Which
    shape: Shape
    start_ns: int
    end_ns: int
    last: int | None = None
    limit: int | None = None
    cursor: Cursor | None = None
    clock: Clock = "receive"

    @property
    def exchange_span(self) -> tuple[int, int]:
        """The range by the exchange's time, [first, end)."""
        if self.cursor is not None and self.cursor.exchange is not None:
            return self.cursor.exchange
        return (self.start_ns, self.end_ns)

    @property
    def digest(self) -> str:
        """What must be the same for a cursor to be used."""
        same = (self.type, self.which, self.clock)
        return blake2b(msgspec.json.encode(same), digest_size=6).hexdigest()


class SpanQuery(Struct, frozen=True):
    """A range of some series, or of all that the client may read. type: None means every one."""

    which: Which
    start_ns: int
    end_ns: int
    type: EventType | None = None


def rows_query(kind: EventType, given: Pairs, headers: Headers, now_ns: int) -> RowsQuery:
    """Return what is asked for. Raises Problem invalid_parameter, start_after_end or not_acceptable."""
    parameters = Parameters(given, now_ns)
    which = _which(parameters, is_needed=True)
    shape = _shape(parameters, kind, headers)
    has_pages = shape.format == "json"
    limit = parameters.whole("limit", 1, MAX_LIMIT if has_pages else None)
    last = _last(parameters, kind)
    cursor = _cursor(parameters)
    start_ns, end_ns = _moment(parameters) if kind == "book" and parameters.has("at") else _range(parameters)
    clock = parameters.choice("clock", CLOCKS)
    parameters.done("page with cursor, or ask for format=parquet, which has no row limit", about="limit")
    if cursor is not None:
        start_ns, end_ns = cursor.from_ns, cursor.to_ns
    _check_order(start_ns, end_ns)
    query = RowsQuery(
        kind, which, shape, start_ns, end_ns, last, limit or (DEFAULT_LIMIT if has_pages else None), cursor,
        clock or "receive",
    )  # fmt: skip
    if cursor is not None and cursor.query != query.digest:
        parameters.refuse(
            "cursor", "", "it belongs to another request: type, symbol, feed, version and clock must stay"
        )
        parameters.done()
    return query


def span_query(given: Pairs, now_ns: int, default_start_s: int, *, is_estimate: bool = False) -> SpanQuery:
    """Return what is asked for; without start, the range begins so long ago. An estimate needs a type and a start."""
    parameters = Parameters(given, now_ns)
    which = _which(parameters, is_needed=is_estimate)
    kind = parameters.choice("type", EVENT_TYPES) if is_estimate else None
    if is_estimate and not parameters.has("type"):
        parameters.refuse("type", "", f"missing; one of {', '.join(EVENT_TYPES)}")
    start_ns, end_ns = _times(parameters, needs_start=is_estimate)
    parameters.done()
    if not parameters.has("start"):
        start_ns = max(0, end_ns - default_start_s * 1_000_000_000)
    _check_order(start_ns, end_ns)
    return SpanQuery(which, start_ns, end_ns, kind)


def _which(parameters: Parameters, *, is_needed: bool) -> Which:
    symbols = parameters.names("symbol") + parameters.names("symbols")
    if parameters.has("symbol") and parameters.has("symbols"):
        parameters.refuse("symbols", "", "give either symbol or symbols; both take a list")
    if is_needed and not (parameters.has("symbol") or parameters.has("symbols")):
        parameters.refuse("symbol", "", "missing; for example symbol=BTCUSD")
    version = parameters.text("version")
    if version is not None and not re.fullmatch(VERSION, version):
        parameters.refuse("version", version, "v and a number, such as v1")
    return Which(symbols, parameters.token("feed"), version)


def _shape(parameters: Parameters, kind: EventType, headers: Headers) -> Shape:
    fields = parameters.names("fields")
    for field in fields:
        if field not in COLUMNS[kind]:
            parameters.refuse("fields", field, f"some of {', '.join(COLUMNS[kind])}")
    name = parameters.choice("format", FORMATS)
    compression = parameters.choice("compression", COMPRESSIONS)
    times = parameters.choice("ts", TIME_STYLES)
    depth = parameters.whole("depth", 1, MAX_DEPTH) if kind == "book" else None
    wanted = name or ("json" if parameters.has("format") else _accepted_format(headers.accept))
    if wanted == "parquet":
        encoding: Compression = "none"  # its pages are compressed already
    else:
        encoding = compression or _accepted_encoding(headers.accept_encoding)
    return Shape(wanted, encoding, fields, times or "rfc3339", depth)


def _accepted_format(accept: str) -> FormatName:
    if not accept:
        return "json"
    best = parse_accept_header(accept, MIMEAccept).best_match(list(MEDIA_TYPES))
    if best is None:
        raise Problem(
            "not_acceptable", "none of the accepted types can be given", f"accept one of {', '.join(MEDIA_TYPES)}"
        )
    return MEDIA_TYPES[best]


def _accepted_encoding(accept: str) -> Compression:
    accepted = parse_accept_header(accept)
    offered: list[Compression] = [
        name for name in COMPRESSIONS[::-1] if name in list(accepted.values()) and accepted.quality(name) > 0
    ]
    return max(offered, key=accepted.quality, default="none")


def _last(parameters: Parameters, kind: EventType) -> int | None:
    """Return how many of the newest rows are wanted; `at` means the last book up to a moment."""
    last = parameters.whole("last", 1, MAX_LIMIT)
    others = ("start", "end", "cursor", "limit")
    if parameters.has("last"):
        for name in others:
            if parameters.has(name):
                parameters.refuse(name, "", "not together with last")
    if kind == "book" and parameters.has("at"):
        for name in (*others, "last"):
            if parameters.has(name):
                parameters.refuse(name, "", "not together with at")
        return 1
    return last


def _cursor(parameters: Parameters) -> Cursor | None:
    text = parameters.text("cursor")
    try:
        return None if text is None else decode_cursor(text)
    except ValueError as error:
        parameters.refuse("cursor", text or "", str(error))
        return None


def _moment(parameters: Parameters) -> tuple[int, int]:
    """Return everything up to a moment, itself included."""
    return 0, (parameters.time("at") or 0) + 1


def _range(parameters: Parameters) -> tuple[int, int]:
    return _times(parameters, needs_start=not (parameters.has("last") or parameters.has("cursor")))


def _times(parameters: Parameters, *, needs_start: bool) -> tuple[int, int]:
    start_ns, end_ns = parameters.time("start"), parameters.time("end")
    if needs_start and not parameters.has("start"):
        parameters.refuse("start", "", "missing; give start, or last=100 for the newest rows")
    return start_ns or 0, parameters.now_ns if end_ns is None else end_ns


def _check_order(start_ns: int, end_ns: int) -> None:
    if start_ns > end_ns:
        raise Problem(
            "start_after_end", f"start {rfc3339(start_ns)} is after end {rfc3339(end_ns)}", "ranges are [start, end)"
        )
