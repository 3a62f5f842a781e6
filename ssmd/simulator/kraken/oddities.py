"""Frames that no exchange should send, and that a client must survive."""

from collections.abc import Callable
from typing import Final

_TRADE: Final = (
    '{{"channel":"trade","type":"update","data":[{{"symbol":"{symbol}","side":"buy","price":{price},'
    '"qty":1.00000000,"ord_type":"limit","trade_id":{trade_id},"timestamp":"2020-01-01T00:00:00.000000Z"}}]}}'
)
_NESTED: Final = 100_000
_DIGITS: Final = 5000


def _trade(symbol: str, price: str = "1.0", trade_id: str = "1") -> bytes:
    return _TRADE.format(symbol=symbol, price=price, trade_id=trade_id).encode()


def _oversize(size: int) -> bytes:
    head, tail = b'{"channel":"sim_oversize","data":"', b'"}'
    return head + b"x" * max(0, size - len(head) - len(tail)) + tail


ODDITIES: Final[dict[str, Callable[[str, int], bytes]]] = {
    "garbage": lambda _, __: b"\x01this is not JSON{{{",
    "bad_utf8": lambda _, __: b'{"channel":"heartbeat","x":"\xff\xfe\xc0"}',
    "nan": lambda symbol, _: _trade(symbol, price="NaN"),
    "deep_json": lambda _, __: b"[" * _NESTED + b"]" * _NESTED,
    "huge_int": lambda symbol, _: _trade(symbol, trade_id="9" * _DIGITS),
    "unknown_channel": lambda _, __: b'{"channel":"sim_unknown","type":"update","data":[{"symbol":"BTC/USD"}]}',
    "unknown_symbol": lambda _, __: _trade("NOSUCH/USD"),
    "oversize": lambda _, size: _oversize(size),
}
"""By fault: the frame, from a symbol to name and the fault's number."""
