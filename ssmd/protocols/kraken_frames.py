"""What Kraken WebSocket v2 sends, and what it means to the normalizer. The session's side is in kraken.py."""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from ssmd.errors import BadFrame
from ssmd.protocols.base import BookChange, BookUnreadable, TopOfBook, TradePrint, Update
from ssmd.protocols.text import PLAIN_NUMBER, rfc3339_ns, shorten

_TRADE_ID: Final = r"^[!-~]{1,64}$"


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


_decode_frame: Final = msgspec.json.Decoder(_BookFrame | _TradeFrame | _TickerFrame).decode
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
            frame = _decode_frame(text)
            if isinstance(frame, _BookFrame):
                snapshot = frame.type == "snapshot"
                return [_book_change(entry, snapshot) for entry in frame.data]
            if isinstance(frame, _TickerFrame):
                return [_top_of_book(entry) for entry in frame.data]
            if isinstance(frame, _TradeFrame) and frame.type == "update":
                return [_trade(entry) for entry in frame.data]
        except msgspec.ValidationError as error:
            return _unexpected(text, BadFrame("bad_shape", shorten(str(error))))
        except RecursionError as error:
            raise BadFrame("not_json", "nested too deeply") from error
        except (msgspec.DecodeError, UnicodeError) as error:
            raise BadFrame("not_json", shorten(str(error))) from error
        except BadFrame as bad:
            return _unexpected(text, bad)
        return ()

    def state(self) -> bytes:
        return b""


def _unexpected(text: str, bad: BadFrame) -> Sequence[Update]:
    """Find out what a frame without market data is: quiet, an answer to a request, or bad and about which books."""
    try:
        envelope = decode_envelope(text)
    except UNREADABLE as error:
        raise bad from error
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
    return BookChange(
        entry.symbol,
        snapshot,
        [(str(level.price, "utf-8"), str(level.qty, "utf-8")) for level in entry.bids],
        [(str(level.price, "utf-8"), str(level.qty, "utf-8")) for level in entry.asks],
        entry.checksum,
        _time_ns(entry.timestamp),
    )


def _top_of_book(entry: _TickerEntry) -> TopOfBook:
    return TopOfBook(
        entry.symbol,
        _number(entry.bid),
        _number(entry.bid_qty),
        _number(entry.ask),
        _number(entry.ask_qty),
        _time_ns(entry.timestamp),
    )


def _trade(entry: _TradeEntry) -> TradePrint:
    return TradePrint(
        entry.symbol,
        _number(entry.price),
        _number(entry.qty),
        entry.side,  # the taker's: 17 of 17 recorded buys and sells lie on that side of the middle
        str(entry.trade_id),
        _time_ns(entry.timestamp),
    )


def _number(raw: Raw) -> str:
    text = str(raw, "utf-8")
    if PLAIN_NUMBER.fullmatch(text) is None:
        raise BadFrame("bad_number", shorten(text))
    return text


def _time_ns(timestamp: str | None) -> int | None:
    return None if timestamp is None else rfc3339_ns(timestamp)
