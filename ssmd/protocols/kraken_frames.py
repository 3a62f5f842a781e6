"""What Kraken WebSocket v2 sends, and what it means to the normalizer. The session's side is in kraken.py."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from ssmd.errors import BadFrame
from ssmd.protocols.base import BookChange, BookUnreadable, TopOfBook, TradePrint, Update
from ssmd.protocols.text import rfc3339_ns, shorten

_TRADE_ID: Final = r"^[!-~]{1,64}$"
_MAX_NUMBER_CHARS: Final = 40


# The frames, as far as we read them. Raw keeps the digits of a number; unknown fields are skipped.


class _Level(Struct, gc=False):
    price: Raw
    qty: Raw


class _BookEntry(Struct, gc=False):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: int
    timestamp: str | None = None


class _TradeEntry(Struct, gc=False):
    symbol: str
    side: Literal["buy", "sell"]
    price: Raw
    qty: Raw
    trade_id: int | Annotated[str, Meta(pattern=_TRADE_ID)]  # documented as integer; a changed type hurt others
    timestamp: str | None = None


class _TickerEntry(Struct, gc=False):
    symbol: str
    bid: Raw
    bid_qty: Raw
    ask: Raw
    ask_qty: Raw
    timestamp: str | None = None


class _BookFrame(Struct, gc=False, tag_field="channel", tag="book"):
    type: Literal["snapshot", "update"]
    data: list[_BookEntry]


class _TradeFrame(Struct, gc=False, tag_field="channel", tag="trade"):
    type: Literal["snapshot", "update"]
    data: list[_TradeEntry]


class _TickerFrame(Struct, gc=False, tag_field="channel", tag="ticker"):
    type: Literal["snapshot", "update"]
    data: list[_TickerEntry]


MarketFrame: Final = _BookFrame | _TradeFrame | _TickerFrame
_decode_frame: Final = msgspec.json.Decoder(MarketFrame).decode
DATA_CHANNELS: Final = ("book", "ticker", "trade")
_QUIET_CHANNELS: Final = frozenset({"heartbeat", "status", "instrument", "ohlc"})


class _Result(Struct):
    channel: str | None = None
    symbol: str | None = None
    warnings: list[str] | None = None


class Envelope(Struct, rename={"shouted": "Error"}):
    """Any frame that is not market data; a field of an unexpected type makes it unreadable as a whole."""

    channel: str | None = None
    method: str | None = None
    success: bool | None = None
    error: str | None = None
    shouted: str | None = None
    symbol: str | None = None
    req_id: int | None = None
    result: _Result | None = None
    data: Raw = Raw(b"null")


class _Named(Struct):
    symbol: str


decode_envelope: Final = msgspec.json.Decoder(Envelope).decode
UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)


class KrakenParser:
    def parse(self, text: str) -> Sequence[Update]:
        try:
            return self.understand(_decode_frame(text))
        except msgspec.ValidationError as error:
            return _unexpected(text, BadFrame("bad_shape", shorten(str(error))))
        except RecursionError as error:
            raise BadFrame("not_json", "nested too deeply") from error
        except (msgspec.DecodeError, UnicodeError) as error:
            raise BadFrame("not_json", shorten(str(error))) from error
        except BadFrame as bad:
            return _unexpected(text, bad)

    def understand(self, frame: object) -> Sequence[Update]:
        if type(frame) is _BookFrame:  # isinstance costs 0.13 µs for each struct that it is not
            is_snapshot = frame.type == "snapshot"
            if len(frame.data) == 1:  # always, so far; a comprehension is a call more, which costs 0.1 µs
                return (_book_change(frame.data[0], is_snapshot),)
            return [_book_change(entry, is_snapshot) for entry in frame.data]
        if type(frame) is _TickerFrame:
            return [_top_of_book(entry) for entry in frame.data]
        if type(frame) is _TradeFrame and frame.type == "update":
            return [_trade(entry) for entry in frame.data]
        return ()

    def state(self) -> bytes:
        return b""


def _unexpected(text: str, bad: BadFrame) -> Sequence[Update]:
    """Find out what a frame without market data is: quiet, an answer to a request, or bad and about which books."""
    try:
        envelope = decode_envelope(text)
    except msgspec.ValidationError as error:
        raise bad from error
    except UNREADABLE as error:  # typed decoding stops at the first wrong type, before it has seen all of the text
        raise BadFrame("not_json", shorten(str(error))) from error
    if envelope.channel is None:
        if envelope.method or envelope.error or envelope.shouted:
            return ()
        raise bad
    if envelope.channel in _QUIET_CHANNELS:
        return ()
    if envelope.channel not in DATA_CHANNELS:
        raise BadFrame("unknown_channel", shorten(envelope.channel))
    names = _names(envelope.data) if envelope.channel == "book" else ()
    if not names:
        raise bad
    return [BookUnreadable(name, bad.reason, bad.detail) for name in names]


def _names(data: Raw) -> Sequence[str]:
    try:
        entries = msgspec.json.decode(data, type=list[Raw])
    except UNREADABLE:
        return ()
    names: dict[str, None] = {}
    for entry in entries:
        try:
            names[msgspec.json.decode(entry, type=_Named).symbol] = None
        except UNREADABLE:
            continue
    return tuple(names)


def _book_change(entry: _BookEntry, snapshot: bool) -> BookChange:
    """Hand the levels on as they are written; the book judges whether they are levels."""
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    for level in entry.bids:  # most updates have one level: two comprehensions would be two calls, 0.2 µs
        bids.append((str(level.price, "utf-8"), str(level.qty, "utf-8")))  # noqa: PERF401
    for level in entry.asks:
        asks.append((str(level.price, "utf-8"), str(level.qty, "utf-8")))  # noqa: PERF401
    timestamp = entry.timestamp
    time_ns = None if timestamp is None else rfc3339_ns(timestamp)
    return BookChange(entry.symbol, snapshot, bids, asks, entry.checksum, time_ns)


def _top_of_book(entry: _TickerEntry) -> TopOfBook:
    bid, bid_size, ask, ask_size = _plain_numbers(entry.bid, entry.bid_qty, entry.ask, entry.ask_qty)
    time_ns = None if entry.timestamp is None else rfc3339_ns(entry.timestamp)
    return TopOfBook(entry.symbol, bid, bid_size, ask, ask_size, time_ns)


def _trade(entry: _TradeEntry) -> TradePrint:
    price, size = _plain_numbers(entry.price, entry.qty)
    time_ns = None if entry.timestamp is None else rfc3339_ns(entry.timestamp)
    # side is the taker's: 17 of 17 recorded buys and sells lie on that side of the middle
    return TradePrint(entry.symbol, price, size, entry.side, str(entry.trade_id), time_ns)


def _plain_numbers(*raws: Raw) -> list[str]:
    """Return the digits of JSON numbers without sign and exponent.

    They are checked together because that is three times as fast. What parses as JSON and holds nothing but digits
    and points is a plain number.
    """
    joined = b" ".join(raws)
    if not joined.translate(None, b" .").isdigit() or len(joined) > _MAX_NUMBER_CHARS * len(raws):
        raise BadFrame("bad_number", shorten(str(joined, "utf-8")))
    return str(joined, "ascii").split(" ")
