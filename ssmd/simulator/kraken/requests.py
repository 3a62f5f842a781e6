"""What clients ask of Kraken's WebSocket v2, and the texts of the answers (member order as recorded)."""

import json
from typing import Final

import msgspec
from msgspec import Struct

BOOK_DEPTHS: Final = (10, 25, 100, 500, 1000)
DATA_CHANNELS: Final = ("book", "trade", "ticker")
EVENT_TRIGGERS: Final = ("bbo", "trades")
PRIVATE_CHANNELS: Final = ("executions", "balances", "level3")

PAIR_NOT_SUPPORTED: Final = "Currency pair not supported"
DEPTH_NOT_SUPPORTED: Final = "Subscription depth not supported"
ALREADY_SUBSCRIBED: Final = "Already subscribed"
PRIVATE: Final = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
# The venue's own words for these are not known to us.
NOT_SUBSCRIBED: Final = "Subscription not found"
CHANNEL_NOT_SUPPORTED: Final = "Channel not supported by the simulator"
TRIGGER_NOT_SUPPORTED: Final = "Event trigger not supported"
NO_SYMBOL: Final = "Symbol missing"
MALFORMED: Final = "Malformed request"


class Params(Struct, frozen=True):
    channel: str
    symbol: tuple[str, ...] = ()
    depth: int = 10
    snapshot: bool | None = None
    event_trigger: str = "trades"

    @property
    def wants_snapshot(self) -> bool:
        """Trades come without a snapshot unless asked for, the other channels with one."""
        return self.channel != "trade" if self.snapshot is None else self.snapshot


class Asked(Struct, frozen=True):
    method: str
    params: Params | None = None
    req_id: int | None = None


_DECODER: Final = msgspec.json.Decoder(Asked)


def parse(message: str | bytes) -> Asked:
    """Raises msgspec.DecodeError (a ValueError) for what is no request."""
    return _DECODER.decode(message)


class Answer(Struct, frozen=True):
    """What every answer to one request shares."""

    method: str
    req_id: int | None
    time_in: str
    time_out: str

    def accepted(self, params: Params, symbol: str | None) -> str:
        """Return the ack of one symbol."""
        result: dict[str, str | int | bool] = {"channel": params.channel}
        if params.channel == "book":
            result["depth"] = params.depth
        if params.channel == "ticker":
            result["event_trigger"] = params.event_trigger
        if self.method == "subscribe":
            result["snapshot"] = params.wants_snapshot
        if symbol is not None:
            result["symbol"] = symbol
        return self._text({"method": self.method, **self._id(), "result": result, "success": True})

    def refused(self, error: str, symbol: str | None = None) -> str:
        named = {} if symbol is None else {"symbol": symbol}
        return self._text({"error": error, "method": self.method, **self._id(), "success": False, **named})

    def pong(self) -> str:
        return self._text({"method": "pong", **self._id()})

    def _id(self) -> dict[str, int]:
        return {} if self.req_id is None else {"req_id": self.req_id}

    def _text(self, members: dict[str, object]) -> str:
        return json.dumps({**members, "time_in": self.time_in, "time_out": self.time_out}, separators=(",", ":"))
