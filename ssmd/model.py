"""What flows through ssmd after normalization: trades, quotes and books, each with its identity.

Prices and sizes are the exchange's own text; they become Float64 only when a Cap'n Proto record is filled.
Times are integer nanoseconds, UTC. `(feed, conn, seq, n)` names one event everywhere: raw line, message id,
archive, diff.
"""

import re
from typing import Final, Literal

from msgspec import Struct

EventType = Literal["trade", "quote", "book"]
EVENT_TYPES: Final[tuple[EventType, ...]] = ("trade", "quote", "book")

Side = Literal["buy", "sell"]
"""The side of the taker, on every exchange."""

Level = tuple[str, str]
"""Price text and size text of one order book level."""

TOKEN = re.compile(r"[A-Za-z0-9_-]{1,32}")
SYMBOL = re.compile(r"[A-Z0-9_-]{1,32}")


def is_token(text: str) -> bool:
    """Tell whether the text may become one part of a subject or object key."""
    return TOKEN.fullmatch(text) is not None


def is_symbol(text: str) -> bool:
    return SYMBOL.fullmatch(text) is not None


class Trade(Struct, frozen=True, gc=False):
    feed: str
    symbol: str
    recv_ns: int
    conn: str
    seq: int
    n: int
    timestamp_ns: int
    price: str
    size: str
    side: Side
    trade_id: str


class Quote(Struct, frozen=True, gc=False):
    feed: str
    symbol: str
    recv_ns: int
    conn: str
    seq: int
    n: int
    timestamp_ns: int
    bid_price: str
    bid_size: str
    ask_price: str
    ask_size: str


class Book(Struct, frozen=True, gc=False):
    """Bids from high to low, asks from low to high, cut to the configured depth."""

    feed: str
    symbol: str
    recv_ns: int
    conn: str
    seq: int
    n: int
    timestamp_ns: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


Event = Trade | Quote | Book

_TYPE_OF: Final[dict[type, EventType]] = {Trade: "trade", Quote: "quote", Book: "book"}


def type_of(event: Event) -> EventType:
    return _TYPE_OF[type(event)]


def message_id(event: Event) -> str:
    """Return `<feed>/<conn>/<seq>/<n>`, the one identity of an event."""
    return f"{event.feed}/{event.conn}/{event.seq}/{event.n}"
