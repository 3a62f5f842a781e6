"""An event as the JSON that clients get: numbers in the shortest text of what is stored, times with nanoseconds."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ssmd.gateway.times import rfc3339
from ssmd.model import Book, Event, Level, Quote, Trade, message_id

_quoted: Final = msgspec.json.Encoder().encode


def encode_event(event: Event, pos: int | None = None) -> bytes:
    """Return one JSON object. pos: its place in the live stream, for what came from there.

    Feed and symbol must be tokens, and numbers as the codec gives them: those texts are JSON already.
    """
    tail = "}" if pos is None else f',"pos":{pos}}}'
    times = f'"timestamp":"{rfc3339(event.timestamp_ns)}","received_at":"{rfc3339(event.recv_ns)}"'
    body = _BODIES[type(event)](event)
    return (f'{{{body},{times},"id":{_quoted(message_id(event)).decode()}{tail}').encode()


def _trade(event: Trade) -> str:
    return (
        f'"type":"trade","exchange":"{event.feed}","symbol":"{event.symbol}","price":{event.price},'
        f'"size":{event.size},"side":"{event.side}","trade_id":{_quoted(event.trade_id).decode()}'
    )


def _quote(event: Quote) -> str:
    return (
        f'"type":"quote","exchange":"{event.feed}","symbol":"{event.symbol}",'
        f'"bid_price":{event.bid_price},"bid_size":{event.bid_size},'
        f'"ask_price":{event.ask_price},"ask_size":{event.ask_size}'
    )


def _book(event: Book) -> str:
    return (
        f'"type":"book","exchange":"{event.feed}","symbol":"{event.symbol}",'
        f'"bids":[{_levels(event.bids)}],"asks":[{_levels(event.asks)}]'
    )


def _levels(levels: Sequence[Level]) -> str:
    return ",".join([f"[{price},{size}]" for price, size in levels])


_BODIES: Final[dict[type, Callable[..., str]]] = {Trade: _trade, Quote: _quote, Book: _book}
