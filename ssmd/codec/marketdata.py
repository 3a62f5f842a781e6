"""Events <-> Cap'n Proto messages of `schemas/marketdata.capnp`; nothing else in ssmd knows Cap'n Proto.

Prices and sizes are exact text in the model and Float64 in a message. Decoding gives the shortest text that names
the same float, so `0.00100000` comes back as `0.001`: the exchange's exact text lives in the raw data only.
"""

import math
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import capnp  # noqa: TID251 the one seam to pycapnp
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ssmd.codec import templates
from ssmd.codec.numbers import LEVEL_BYTES, floats, packed_levels
from ssmd.codec.templates import Template
from ssmd.errors import BadRecord
from ssmd.model import Book, Event, EventType, Level, Quote, Side, Trade, is_symbol, type_of

NESTING_LIMIT: Final = 8
"""A book is three levels deep (message, list, level); the rest is room for appended fields."""

MAX_TRAVERSAL_WORDS: Final = 2 * 1024 * 1024 // 8
"""Twice what the bus takes as one message (1 MB): a message can never make us read much more than it holds."""

_CAPNP: Final[Any] = capnp  # its names are filled in at run time, so mypy knows none of them
_UNREADABLE: Final = (_CAPNP.KjException, msgspec.DecodeError, ValueError, OverflowError, struct.error)

_NUMBER_OF: Final[dict[Side, int]] = {"buy": 0, "sell": 1}
_SIDE_OF: Final[dict[int, Side]] = {number: side for side, number in _NUMBER_OF.items()}


class Header(Struct, frozen=True, gc=False):
    """What the archiver needs of a message: where it belongs and its identity."""

    symbol: str
    recv_ns: int
    conn: str
    seq: int
    n: int


def schema_path() -> Path:
    """Return the schema file: beside the package in a source tree, under `share/ssmd` of an installed wheel."""
    in_source_tree = Path(__file__).parents[2] / "schemas" / "marketdata.capnp"
    installed = Path(sys.prefix) / "share" / "ssmd" / "schemas" / "marketdata.capnp"
    return in_source_tree if in_source_tree.is_file() else installed


_CAPNP.remove_import_hook()  # it would search every failing import for a .capnp file
SCHEMA: Final[Any] = _CAPNP.load(str(schema_path()))
_STRUCTS: Final[dict[EventType, Any]] = {
    "trade": SCHEMA.Trade,
    "quote": SCHEMA.Quote,
    "book": SCHEMA.OrderBookSnapshot,
}


def encode(event: Event) -> bytes:
    """Return one message in Cap'n Proto's standard framing; equal events give equal bytes.

    Raises BadRecord for a number that JSON does not know (NaN, infinity, `1_000`) or that no float can hold.
    """
    try:
        return _ENCODERS[type(event)](event)
    except _UNREADABLE as error:
        raise BadRecord(f"{type_of(event)} {event.conn}/{event.seq}/{event.n} cannot be encoded: {error}") from error


def decode(kind: EventType, payload: bytes) -> Event:
    """Return the event of one message; BadRecord for anything that is not such a message."""
    try:
        with _STRUCTS[kind].from_bytes(
            payload, traversal_limit_in_words=_traversal_words(payload), nesting_limit=NESTING_LIMIT
        ) as message:
            return _READERS[kind](message)
    except _UNREADABLE as error:
        raise BadRecord(f"not a {kind} message of {len(payload)} bytes: {_first_line(error)}") from error


def decode_many(kind: EventType, data: bytes) -> Iterator[Event]:
    """Yield the events of concatenated messages, as an archive object holds them.

    Raises BadRecord after the last good one when the rest is cut off or not such a message.
    """
    messages = _STRUCTS[kind].read_multiple_bytes(
        data, traversal_limit_in_words=_traversal_words(data), nesting_limit=NESTING_LIMIT
    )
    read = _READERS[kind]
    good = 0
    try:
        for message in messages:
            yield read(message)
            good += 1
    except _UNREADABLE as error:
        raise BadRecord(f"no {kind} message after {good} good ones: {_first_line(error)}") from error


def header(kind: EventType, payload: bytes) -> Header:
    """Return the symbol and identity of one message without reading the rest; BadRecord as in `decode`."""
    try:
        with _STRUCTS[kind].from_bytes(
            payload, traversal_limit_in_words=_traversal_words(payload), nesting_limit=NESTING_LIMIT
        ) as message:
            found = Header(*_values(message, _HEADERS[kind]))
    except _UNREADABLE as error:
        raise BadRecord(f"not a {kind} message of {len(payload)} bytes: {_first_line(error)}") from error
    if not is_symbol(found.symbol):
        raise BadRecord(f"symbol of a {kind} message is {found.symbol[:40]!r}; allowed are A-Z, 0-9, _ and -")
    return found


def _traversal_words(payload: bytes) -> int:
    # Reading every word twice is more than any reader here does; a list of empty structs claims millions for free.
    return min(MAX_TRAVERSAL_WORDS, len(payload) // 4 + 64)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _encode_trade(event: Trade) -> bytes:
    message = SCHEMA.Trade.new_message()
    message.price, message.size = floats((event.price, event.size))
    message.side = _NUMBER_OF[event.side]
    message.tradeId = event.trade_id
    _fill_identity(message, event)
    return _bytes_of(message)


def _encode_quote(event: Quote) -> bytes:
    message = SCHEMA.Quote.new_message()
    message.bidPrice, message.bidSize, message.askPrice, message.askSize = floats(
        (event.bid_price, event.bid_size, event.ask_price, event.ask_size)
    )
    _fill_identity(message, event)
    return _bytes_of(message)


def _encode_book(event: Book) -> bytes:
    message = SCHEMA.OrderBookSnapshot.new_message()
    _fill_levels(message.init("bids", len(event.bids)), event.bids)
    _fill_levels(message.init("asks", len(event.asks)), event.asks)
    _fill_identity(message, event)
    return _bytes_of(message)


_WRITERS: Final[dict[type, Callable[[Any], bytes]]] = {Trade: _encode_trade, Quote: _encode_quote, Book: _encode_book}
"""Cap'n Proto's own writer: what a template is made by, and measured against."""


def _quick_trade(event: Trade) -> bytes:
    trade_id = event.trade_id.encode()
    template = _template((Trade, event.symbol, event.conn, event.feed, len(trade_id)), event, _trade_fields)
    if template is None or len(trade_id) != len(event.trade_id):
        return _encode_trade(event)
    price, size = floats((event.price, event.size))
    number = _NUMBER_OF[event.side]
    return template.write((price, size, number, trade_id, event.timestamp_ns, event.recv_ns, event.seq, event.n))


def _quick_quote(event: Quote) -> bytes:
    template = _template((Quote, event.symbol, event.conn, event.feed), event, _quote_fields)
    if template is None:
        return _encode_quote(event)
    bid, bid_size, ask, ask_size = floats((event.bid_price, event.bid_size, event.ask_price, event.ask_size))
    return template.write((bid, bid_size, ask, ask_size, event.timestamp_ns, event.recv_ns, event.seq, event.n))


def _quick_book(event: Book) -> bytes:
    bids, asks = event.bids, event.asks
    template = _template((Book, event.symbol, event.conn, event.feed, len(bids), len(asks)), event, _book_fields)
    if template is None:
        return _encode_book(event)
    sides = packed_levels(bids), packed_levels(asks)
    return template.write((*sides, event.timestamp_ns, event.recv_ns, event.seq, event.n))


_ENCODERS: Final[dict[type, Callable[[Any], bytes]]] = {Trade: _quick_trade, Quote: _quick_quote, Book: _quick_book}

_TEMPLATES: Final[dict[tuple[object, ...], Template | None]] = {}
_KEPT: Final = 8192
"""Symbols times connections times numbers of levels; beyond that they are made anew."""
_MARK: Final = "1.1"
"""No byte of this number is zero, nor of the next one."""
_MARK_INT: Final = 0x01010101

Marked = tuple[str, dict[str, object]]
"""A format, and what to change in a blank event so that the field shows."""


def _template(
    shape: tuple[object, ...], event: Event, fields: Callable[[Any], tuple[Any, list[Marked]]]
) -> Template | None:
    try:
        return _TEMPLATES[shape]
    except KeyError:
        if len(_TEMPLATES) >= _KEPT:
            _TEMPLATES.clear()
        made = _TEMPLATES[shape] = _make_template(event, fields)
        return made


def _make_template(event: Event, fields: Callable[[Any], tuple[Any, list[Marked]]]) -> Template | None:
    blank, marked = fields(replace(event, timestamp_ns=0, recv_ns=0, seq=0, n=0))
    write = _WRITERS[type(event)]
    marked += [("Q", {name: _MARK_INT << 32 | _MARK_INT}) for name in ("timestamp_ns", "recv_ns", "seq")]
    marked.append(("I", {"n": _MARK_INT}))
    return templates.make(
        write(blank), [templates.Field(kind, write(replace(blank, **change))) for kind, change in marked]
    )


def _trade_fields(event: Trade) -> tuple[Trade, list[Marked]]:
    size = len(event.trade_id.encode())  # bytes, like the key it is kept under
    blank = replace(event, price="0", size="0", side="buy", trade_id="a" * size)
    numbers: list[Marked] = [("d", {"price": _MARK}), ("d", {"size": _MARK})]
    return blank, [*numbers, ("H", {"side": "sell"}), (f"{size}s", {"trade_id": "b" * size})]


def _quote_fields(event: Quote) -> tuple[Quote, list[Marked]]:
    names = ("bid_price", "bid_size", "ask_price", "ask_size")
    return replace(event, **dict.fromkeys(names, "0")), [("d", {name: _MARK}) for name in names]


def _book_fields(event: Book) -> tuple[Book, list[Marked]]:
    def levels(count: int, text: str) -> tuple[Level, ...]:
        return ((text, text),) * count

    bids, asks = len(event.bids), len(event.asks)
    blank = replace(event, bids=levels(bids, "0"), asks=levels(asks, "0"))
    marked: list[Marked] = [
        (f"{LEVEL_BYTES * bids}s", {"bids": levels(bids, _MARK)}),
        (f"{LEVEL_BYTES * asks}s", {"asks": levels(asks, _MARK)}),
    ]
    return blank, marked


def _fill_identity(message: Any, event: Event) -> None:
    message.symbol = event.symbol
    message.init("timestamp").epochNanos = event.timestamp_ns
    message.exchange = event.feed
    message.recvNs = event.recv_ns
    message.conn = event.conn
    message.seq = event.seq
    message.n = event.n


def _fill_levels(into: Any, levels: Sequence[Level]) -> None:
    numbers = floats(chain.from_iterable(levels))
    if len(numbers) != 2 * len(levels):
        raise ValueError(f"{len(levels)} levels hold {len(numbers)} numbers")
    for index in range(len(levels)):
        level = into[index]
        level.price = numbers[2 * index]
        level.size = numbers[2 * index + 1]


def _bytes_of(message: Any) -> bytes:
    framed: bytes = message.to_bytes()
    return framed


def _read_trade(message: Any) -> Trade:
    price, size, side, trade_id = _values(message, _TRADE)
    return Trade(*_identity(message, _TRADE_IDENTITY), _text(price), _text(size), _side(side.raw), trade_id)


def _read_quote(message: Any) -> Quote:
    return Quote(*_identity(message, _QUOTE_IDENTITY), *map(_text, _values(message, _QUOTE)))


def _read_book(message: Any) -> Book:
    bids, asks = _values(message, _BOOK)
    return Book(*_identity(message, _BOOK_IDENTITY), _levels(bids), _levels(asks))


def _identity(message: Any, fields: Sequence[Any]) -> tuple[str, str, int, str, int, int, int]:
    """Return what every event begins with, in the model's order."""
    feed, symbol, recv_ns, conn, seq, n, timestamp = _values(message, fields)
    return feed, symbol, recv_ns, conn, seq, n, timestamp.epochNanos


def _levels(levels: Any) -> tuple[Level, ...]:
    pairs = [_values(level, _LEVEL) for level in levels]
    return tuple([(_text(price), _text(size)) for price, size in pairs])


def _values(message: Any, fields: Sequence[Any]) -> list[Any]:
    """Return fields of a message; asked for by name, each costs four times as much."""
    get = message._get_by_field  # noqa: SLF001  public; the underscore keeps it apart from names of fields
    return [get(field) for field in fields]


def _fields(schema: Any, *names: str) -> tuple[Any, ...]:
    return tuple([schema.schema.fields[name] for name in names])


_IDENTITY: Final = ("exchange", "symbol", "recvNs", "conn", "seq", "n", "timestamp")
_TRADE_IDENTITY: Final = _fields(SCHEMA.Trade, *_IDENTITY)
_QUOTE_IDENTITY: Final = _fields(SCHEMA.Quote, *_IDENTITY)
_BOOK_IDENTITY: Final = _fields(SCHEMA.OrderBookSnapshot, *_IDENTITY)
_TRADE: Final = _fields(SCHEMA.Trade, "price", "size", "side", "tradeId")
_QUOTE: Final = _fields(SCHEMA.Quote, "bidPrice", "bidSize", "askPrice", "askSize")
_BOOK: Final = _fields(SCHEMA.OrderBookSnapshot, "bids", "asks")
_HEADERS: Final = {kind: _fields(schema, "symbol", "recvNs", "conn", "seq", "n") for kind, schema in _STRUCTS.items()}
_LEVEL: Final = _fields(SCHEMA.OrderBookLevel, "price", "size")

_READERS: Final[dict[EventType, Callable[[Any], Event]]] = {
    "trade": _read_trade,
    "quote": _read_quote,
    "book": _read_book,
}


def _text(number: float) -> str:
    if not math.isfinite(number):
        raise ValueError(f"number is {number}; it must be finite")
    return repr(number)


def _side(number: int) -> Side:
    try:
        return _SIDE_OF[number]
    except KeyError:
        raise ValueError(f"side is {number}; allowed are {sorted(_SIDE_OF)}") from None
