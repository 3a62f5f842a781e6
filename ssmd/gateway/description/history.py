"""The operations that give rows: trades, quotes, books, and what there is of them."""

from typing import Final

from ssmd.gateway.description.parts import CSV, JSON, Answer, Operation, Parameter, Schema, ref, text, whole
from ssmd.gateway.description.schemas import EVENT_TYPE, FEED

NDJSON: Final = "application/x-ndjson"
ARROW: Final = "application/vnd.apache.arrow.stream"
PARQUET: Final = "application/vnd.apache.parquet"
FORMATS: Final = ("json", "ndjson", "csv", "arrow", "parquet")
BINARY: Final[Schema] = {}

_SYMBOL: Final = "one or several, with commas; the exchange's name works as well, and so does `symbols`"
SYMBOL: Final = Parameter("symbol", _SYMBOL, is_required=True, example="BTCUSD")
ANY_SYMBOL: Final = Parameter("symbol", f"{_SYMBOL}; without it all that you may read", example="BTCUSD")
FEED_OF: Final = Parameter("feed", "only from this feed; without it all that you may read", FEED)
START: Final = Parameter("start", "RFC 3339, a date, nanoseconds, now, or -15m; included", example="-1h")
NEEDED_START: Final = Parameter("start", START.about, is_required=True, example="-1h")
END: Final = Parameter("end", "as start; not included; without it now")
RANGE: Final = (START, END)
CHOICE: Final = (
    Parameter("last", "the newest so many, oldest first; not with start, end or cursor", whole(minimum=1), example=100),
    Parameter("limit", "rows per page; 1000 unless told, in JSON at most 10000", whole(minimum=1)),
    Parameter("cursor", "next_cursor of the page before"),
)
VERSION: Final = Parameter("version", "of the normalizer; without it the one that is served", text(pattern="^v[0-9]+$"))
SHAPE: Final = (
    Parameter("fields", "only these, with commas"),
    Parameter("format", "instead of the Accept header", text(enum=list(FORMATS))),
    Parameter("compression", "instead of the Accept-Encoding header", text(enum=["zstd", "gzip", "none"])),
    Parameter("ts", "times as text of nanoseconds", text(enum=["rfc3339", "ns"])),
    Parameter("clock", "the time that start and end mean: when it was received, or the exchange's", text(enum=["receive", "exchange"])),
    VERSION,
)  # fmt: skip
ROW_HEADERS: Final = {
    "ETag": "Strong; only when the range is closed.",
    "Link": 'The next page, rel="next".',
    "X-Ssmd-Quality": "The quality block as JSON; for CSV, which has no other place for it.",
    "Content-Encoding": "zstd or gzip.",
    "Vary": "Accept, Accept-Encoding, Authorization, X-API-Key",
}
ERRORS: Final = ("unknown_symbol", "not_acceptable", "range_too_large", "start_after_end")


def _rows(name: str, page: str, *more: Parameter) -> Operation:
    content = {JSON: ref(page), NDJSON: BINARY, CSV: text(), ARROW: BINARY, PARQUET: BINARY}
    return Operation(
        "get",
        f"/api/v1/{name}",
        name,
        "history",
        f"{name.capitalize()} of a range, or the newest",
        (
            Answer("Rows, ordered by when they were received.", content, ROW_HEADERS),
            Answer("Not changed since the ETag that you have.", {}, status=304),
        ),
        (SYMBOL, FEED_OF, *RANGE, *more, *CHOICE, *SHAPE),
        ERRORS,
    )


def _about(name: str, schema: str, summary: str, *parameters: Parameter) -> Operation:
    answer = Answer("Found.", {JSON: ref(schema)})
    return Operation("get", f"/api/v1/{name}", name, "about", summary, (answer,), parameters, ERRORS)


AT: Final = Parameter("at", "the book at this moment", example="-1m")
DEPTH: Final = Parameter("depth", "levels of each side", whole(minimum=1))

HISTORY: Final = (
    _rows("trades", "Trades"),
    _rows("quotes", "Quotes"),
    _rows("books", "Books", AT, DEPTH),
    _about("symbols", "Symbols", "What this key may read", Parameter("q", "search"), FEED_OF),
    _about("gaps", "Gaps", "What is missing, with the reason", ANY_SYMBOL, FEED_OF, VERSION, *RANGE),
    _about(
        "coverage",
        "Coverage",
        "From when to when there is data, and how good it is",
        ANY_SYMBOL,
        FEED_OF,
        VERSION,
        *RANGE,
    ),
    _about(
        "estimate",
        "Size",
        "Rows and bytes of a range, before asking for it",
        Parameter("type", "trade, quote or book", EVENT_TYPE, is_required=True, example="trade"),
        SYMBOL,
        FEED_OF,
        VERSION,
        NEEDED_START,
        END,
    ),
    _about("feeds", "Feeds", "The feeds and their state"),
    Operation(
        "get",
        "/api/v1/schemas/{type}",
        "schema",
        "about",
        "Fields, types and units of a row",
        (Answer("Fields.", {JSON: ref("Fields")}),),
        (Parameter("type", "trade, quote or book", EVENT_TYPE, place="path", example="trade"),),
        ("not_found",),
    ),
)
