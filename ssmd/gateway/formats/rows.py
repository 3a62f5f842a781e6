"""The columns of each type: the same names, order and values in every format."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ssmd.gateway.times import rfc3339
from ssmd.model import Book, Event, EventType, Level, message_id

Kind = Literal["text", "number", "time", "levels"]


class Column(Struct, frozen=True):
    """attribute: of the event. unit and meaning: for people."""

    name: str
    kind: Kind
    attribute: str
    meaning: str


_HEAD: Final = (
    Column("type", "text", "", "trade, quote or book"),
    Column("exchange", "text", "feed", "the feed"),
    Column("symbol", "text", "symbol", "our name of the instrument"),
)
_TAIL: Final = (
    Column("timestamp", "time", "timestamp_ns", "the exchange's time where it gives one, else when it was received"),
    Column("received_at", "time", "recv_ns", "when it was received; the archive is ordered by it"),
    Column("id", "text", "", "names one message everywhere: <feed>/<conn>/<seq>/<n>"),
)
_MIDDLE: Final[dict[EventType, tuple[Column, ...]]] = {
    "trade": (
        Column("price", "number", "price", "in the quote currency"),
        Column("size", "number", "size", "in the base currency"),
        Column("side", "text", "side", "of the taker: buy or sell"),
        Column("trade_id", "text", "trade_id", "the exchange's own"),
    ),
    "quote": (
        Column("bid_price", "number", "bid_price", "best bid, in the quote currency"),
        Column("bid_size", "number", "bid_size", "in the base currency"),
        Column("ask_price", "number", "ask_price", "best ask, in the quote currency"),
        Column("ask_size", "number", "ask_size", "in the base currency"),
    ),
    "book": (
        Column("bids", "levels", "bids", "[price, size] from high to low"),
        Column("asks", "levels", "asks", "[price, size] from low to high"),
    ),
}
SCHEMAS: Final[dict[EventType, tuple[Column, ...]]] = {
    kind: (*_HEAD, *middle, *_TAIL) for kind, middle in _MIDDLE.items()
}
COLUMNS: Final[dict[EventType, tuple[str, ...]]] = {
    kind: tuple(column.name for column in columns) for kind, columns in SCHEMAS.items()
}

Text = Callable[[Event], str]
"""What a cell of an event is as text; the event is of the type that has the column."""


def columns_of(kind: EventType, fields: Sequence[str]) -> list[Column]:
    """Return the columns that are wanted, in the schema's order; all of them when none is named."""
    return [column for column in SCHEMAS[kind] if not fields or column.name in fields]


def cell_text(kind: EventType, column: Column, *, in_ns: bool) -> Text:
    """Return what writes a column's cells, without any quotes around them."""
    attribute = column.attribute
    if column.name == "type":
        return lambda _: kind
    if column.name == "id":
        return message_id
    if column.kind == "levels":
        return lambda event: levels_text(getattr(event, attribute))
    if column.kind == "time":
        return (lambda event: str(getattr(event, attribute))) if in_ns else (lambda e: rfc3339(getattr(e, attribute)))
    return attrgetter(attribute)  # numbers are text in the model


def json_text(kind: EventType, column: Column, *, in_ns: bool) -> Text:
    """Return what writes a column's cells as JSON."""
    text = cell_text(kind, column, in_ns=in_ns)
    if column.kind in {"number", "levels"}:
        return text
    if column.kind == "time":
        return lambda event: f'"{text(event)}"'
    if column.name == "trade_id":  # the exchange's own text
        return lambda event: msgspec.json.encode(text(event)).decode()
    return lambda event: _quoted(text(event)) if column.name == "id" else _known(text(event))


def levels_text(levels: Sequence[Level]) -> str:
    return f"[{','.join([f'[{price},{size}]' for price, size in levels])}]"


def cut_depth(events: Sequence[Event], depth_levels: int | None) -> Sequence[Event]:
    """Return books with so many levels on each side, at most; everything else as it is."""
    if depth_levels is None:
        return events
    return [
        replace(event, bids=event.bids[:depth_levels], asks=event.asks[:depth_levels])
        if isinstance(event, Book)
        else event
        for event in events
    ]


def _quoted(text: str) -> str:
    return (
        f'"{text}"' if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text else _known(text)
    )


@lru_cache(maxsize=1024)
def _known(text: str) -> str:
    """Return a text in quotes; few different ones come again and again."""
    return msgspec.json.encode(text).decode()
