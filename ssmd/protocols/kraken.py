"""Kraken WebSocket v2, spot market data (docs.kraken.com/api, read in 2026; recordings of 2021 to 2026).

What surprised others, in one place: numbers are bare JSON numbers whose trailing zeros count; every book message
carries a CRC32 of the top ten levels, and nothing else shows a loss; a request for many symbols is answered symbol
by symbol, but a refused depth names none; a refused or dead subscription still gets heartbeats.
"""

from collections.abc import Collection, Sequence
from typing import Final
from zlib import crc32

import msgspec
from msgspec import Raw, Struct

from ssmd.protocols.base import (
    Accepted,
    Control,
    Limits,
    Operation,
    Pong,
    RateLimited,
    Rejected,
    Request,
    Subscription,
    SystemStatus,
    offered_depth,
)
from ssmd.protocols.kraken_frames import DATA_CHANNELS, UNREADABLE, Envelope, KrakenParser, MarketFrame, decode_envelope
from ssmd.protocols.kraken_rest import read_clock_ns, read_instruments, v2_spelling
from ssmd.protocols.text import shorten
from ssmd.records import FeedConfig

LIMITS: Final = Limits(
    max_frame_bytes=32
    * 1024
    * 1024,  # ours: the largest recorded snapshot has 64 kB; what is absurd is kept all the same
    connects_per_window=120,  # the documented ban begins at about 150; Kraken's own client stays at 120
    connect_window_s=600,
    idle_timeout_s=5,  # documented advice; the heartbeat comes every second, measured 936-1,119 ms
    ack_timeout_s=10,  # ours: part of a burst of requests can be lost silently
    ping_interval_s=20,  # ours: a connection that sends nothing may be closed after about a minute
    requests_per_s=5,  # ours: no rate is documented, but there is "Exceeded msg rate"
    symbols_per_request=100,  # ours: no limit is documented; keeps one lost request from losing everything
    reconnect_first_s=1,  # Kraken's own client: 1 s, 2 s, then 5-30 s
    reconnect_cap_s=30,
    after_maintenance_s=5,  # documented: not faster than once in 5 s
    stable_after_s=30,  # Kraken's own client starts its backoff anew after 30 s
)

_CHECKSUM_LEVELS: Final = 10


class _Notice(Struct):
    phase: str | None = None
    recommended_action: str | None = None


class _System(Struct):
    system: str
    emergency: Raw = Raw(b"null")
    upcoming_maintenance: Raw = Raw(b"null")


class _Params(Struct, omit_defaults=True):
    channel: str
    symbol: list[str]
    depth: int | None = None
    snapshot: bool | None = None
    event_trigger: str | None = None


class _Call(Struct, omit_defaults=True):
    method: str
    params: _Params | None = None
    req_id: int = -1


_decode_systems: Final = msgspec.json.Decoder(list[_System]).decode
_MARKET_DATA: Final = tuple(f'{{"channel":"{name}"' for name in (*DATA_CHANNELS, "heartbeat"))


class Kraken:
    name = "kraken"
    ws_url = "wss://ws.kraken.com/v2"
    rest_url = "https://api.kraken.com"
    hosts = frozenset({"ws.kraken.com", "api.kraken.com"})
    clock_resolution_s = 1.0
    limits = LIMITS
    book_channel = "book"
    frame_type: object = MarketFrame
    book_depths: tuple[int, ...] = (10, 25, 100, 500, 1000)

    def subscriptions(self, config: FeedConfig) -> frozenset[Subscription]:
        wanted: set[Subscription] = set()
        for spec in config.symbols if config.enabled else ():
            channels = ("trade", "ticker", "book") if spec.depth == "l2" else ("trade", "ticker")
            wanted.update(Subscription(channel, spec.name) for channel in channels)
        return frozenset(wanted)

    def requests(
        self, operation: Operation, subscriptions: Collection[Subscription], config: FeedConfig, first_req_id: int
    ) -> Sequence[Request]:
        step = self.limits.symbols_per_request
        requests: list[Request] = []
        for channel in sorted({subscription.channel for subscription in subscriptions}):
            ordered = sorted(subscription for subscription in subscriptions if subscription.channel == channel)
            for at in range(0, len(ordered), step):
                part = tuple(ordered[at : at + step])
                req_id = first_req_id + len(requests)
                params = self._params(operation, channel, [subscription.name for subscription in part], config)
                requests.append(Request(req_id, _text(_Call(operation, params, req_id)), part))
        return requests

    def _params(self, operation: Operation, channel: str, names: list[str], config: FeedConfig) -> _Params:
        params = _Params(channel, names)
        if channel == "book":
            params.depth = offered_depth(self.book_depths, config.book_depth)
        elif channel == "ticker":
            params.event_trigger = "bbo"  # at each change of the best prices, not only at each trade
        elif operation == "subscribe":
            params.snapshot = False  # a trade snapshot repeats history
        return params

    def ping(self, req_id: int) -> str | None:
        return _text(_Call("ping", None, req_id))

    def control(self, text: str) -> Control | None:
        if text.startswith(_MARKET_DATA):
            return None
        try:
            envelope = decode_envelope(text)
        except UNREADABLE:
            return None
        if envelope.channel is not None:
            return _system_status(envelope) if envelope.channel == "status" else None
        return _answer(envelope)

    def parser(self, state: bytes = b"") -> "KrakenParser":
        del state  # books carry their own proof, so a connection has nothing to count
        return KrakenParser()

    def level_token(self, price: str, size: str) -> bytes:
        return (price.replace(".", "").lstrip("0") + size.replace(".", "").lstrip("0")).encode()

    def checksum(self, asks: Sequence[bytes], bids: Sequence[bytes]) -> int:
        return crc32(b"".join([*asks[:_CHECKSUM_LEVELS], *bids[:_CHECKSUM_LEVELS]]))

    def instruments_url(self, rest_url: str) -> str:
        """Tokenized stocks (`AAPLx/USD`) are not in this answer; they need `aclass_base=tokenized_asset`."""
        return f"{rest_url}/0/public/AssetPairs"

    def instruments(self, answer: bytes) -> frozenset[str]:
        return read_instruments(answer)

    def spelling(self, name: str) -> str:
        return v2_spelling(name)

    def clock_url(self, rest_url: str) -> str:
        return f"{rest_url}/0/public/Time"

    def clock_ns(self, answer: bytes) -> int:
        """Return the time in whole seconds: the answer has no finer one."""
        return read_clock_ns(answer)


def _text(call: _Call) -> str:
    return msgspec.json.encode(call).decode()


def _answer(envelope: Envelope) -> Control | None:
    complaint = envelope.error or envelope.shouted or ""
    if "msg rate" in complaint:
        return RateLimited(shorten(complaint))
    match envelope.method:
        case "pong":
            return Pong(envelope.req_id)
        case ("subscribe" | "unsubscribe") as operation if envelope.success:
            return _accepted(operation, envelope)
        case ("subscribe" | "unsubscribe") as operation if complaint:
            return _rejected(operation, complaint, envelope)
        case _:
            return None


def _accepted(operation: Operation, envelope: Envelope) -> Accepted | None:
    result = envelope.result
    if result is None or result.channel is None or result.symbol is None:
        return None
    subscription = Subscription(result.channel, result.symbol)
    return Accepted(operation, subscription, envelope.req_id, tuple(result.warnings or ()))


def _rejected(operation: Operation, complaint: str, envelope: Envelope) -> Rejected:
    return Rejected(
        operation,
        reason=shorten(complaint),
        name=envelope.symbol,
        channel=envelope.result.channel if envelope.result else None,
        req_id=envelope.req_id,
        already=complaint.startswith("Already subscribed"),
        lasting=complaint.startswith(
            ("Currency pair not supported", "Subscription depth not supported", "Private data and trading")
        ),
    )


def _system_status(envelope: Envelope) -> SystemStatus | None:
    try:
        system = _decode_systems(envelope.data)[0]
    except (*UNREADABLE, IndexError):
        return None
    advice = "; ".join((*_advice(system.emergency), *_advice(system.upcoming_maintenance)))
    # books move in cancel_only and post_only, so silence is wrong there; a state we do not know must not mute alerts
    return SystemStatus(shorten(system.system), open=system.system != "maintenance", maintenance=advice or None)


def _advice(announced: Raw) -> Sequence[str]:
    """Return phase and advice of each announcement; its shape is known from other people's notes only."""
    try:
        notices = msgspec.json.decode(announced, type=list[_Notice] | None)
    except UNREADABLE:
        return (shorten(str(announced, "utf-8")),)
    return [
        shorten(" ".join(filter(None, (notice.phase, notice.recommended_action))) or "announced")
        for notice in notices or ()
    ]
