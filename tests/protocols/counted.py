"""A made-up exchange unlike the first one: frames are counted instead of checksummed, books come whole and numbers as
strings, the side of a trade is the maker's, and a level's side is `bid` or `offer`. It proves that the seam is enough.
"""

# ruff: noqa: ARG002 - the seam names arguments that this exchange has no use for

import json
from collections.abc import Collection, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct, structs

from ssmd.errors import BadFrame
from ssmd.protocols.base import (
    Accepted,
    BookChange,
    Control,
    Operation,
    Rejected,
    Request,
    SequenceBroken,
    Subscription,
    TopOfBook,
    TradePrint,
    Update,
)
from ssmd.protocols.kraken import LIMITS
from ssmd.protocols.text import PLAIN_NUMBER
from ssmd.records import FeedConfig
from tests.protocols.specimen import Specimen


class Frame(Struct):
    n: int
    kind: Literal["beat", "ack", "no", "book", "trade", "top"]
    name: str = ""
    op: Operation = "subscribe"
    channel: str = ""
    id: int = 0
    snapshot: bool = False
    levels: list[tuple[Literal["bid", "offer"], str, str]] = []
    price: str = ""
    size: str = ""
    maker: Literal["buy", "sell"] = "buy"


UNREADABLE: Final = (msgspec.DecodeError, UnicodeError, RecursionError)
read: Final = msgspec.json.Decoder(Frame).decode


class CountedParser:
    def __init__(self, state: bytes) -> None:
        self._next = int(state or b"0")

    def parse(self, text: str) -> Sequence[Update]:
        try:
            frame = read(text)
        except UNREADABLE as error:
            raise BadFrame("bad_shape", str(error)[:100]) from error
        return self.understand(frame)

    def understand(self, frame: object) -> Sequence[Update]:
        assert isinstance(frame, Frame)
        updates: list[Update] = []
        if frame.n != self._next:
            updates.append(SequenceBroken(self._next, frame.n))
        if frame.kind == "book":
            updates.append(_book(frame))
        elif frame.kind == "trade":
            taker: Literal["buy", "sell"] = "buy" if frame.maker == "sell" else "sell"
            updates.append(TradePrint(frame.name, _plain(frame.price), _plain(frame.size), taker, str(frame.id), None))
        elif frame.kind == "top":
            price, size = _plain(frame.price), _plain(frame.size)
            updates.append(TopOfBook(frame.name, price, size, price, size, None))
        self._next = frame.n + 1  # last: a frame that is rejected counts as lost, and hides no hole before it
        return updates

    def state(self) -> bytes:
        return str(self._next).encode()


def _book(frame: Frame) -> BookChange:
    bids = [(price, size) for side, price, size in frame.levels if side == "bid"]
    asks = [(price, size) for side, price, size in frame.levels if side == "offer"]
    return BookChange(frame.name, frame.snapshot, bids, asks, None, None)


def _plain(text: str) -> str:
    if PLAIN_NUMBER.fullmatch(text) is None:
        raise BadFrame("bad_number", text[:100])
    return text


class Counted:
    name = "counted"
    ws_url = "wss://counted.test"
    rest_url = "https://counted.test"
    hosts = frozenset({"counted.test"})
    clock_resolution_s = 1e-9
    limits = structs.replace(LIMITS, symbols_per_request=1)
    book_channel = "l2"
    frame_type: object = Frame
    book_depths: tuple[int, ...] = ()

    def subscriptions(self, config: FeedConfig) -> frozenset[Subscription]:
        specs = config.symbols if config.enabled else ()
        return frozenset(
            Subscription(channel, spec.name)
            for spec in specs
            for channel in ("prints", "top", "l2")
            if channel != "l2" or spec.depth == "l2"
        )

    def requests(
        self, operation: Operation, subscriptions: Collection[Subscription], config: FeedConfig, first_req_id: int
    ) -> Sequence[Request]:
        return [
            Request(i, json.dumps({"op": operation, "channel": each.channel, "name": each.name, "id": i}), (each,))
            for i, each in enumerate(sorted(subscriptions), first_req_id)
        ]

    def ping(self, req_id: int) -> str | None:
        return None

    def control(self, text: str) -> Control | None:
        try:
            frame = read(text)
        except UNREADABLE:
            return None
        if frame.kind == "ack":
            return Accepted(frame.op, Subscription(frame.channel, frame.name), frame.id)
        return Rejected(frame.op, "no", name=frame.name) if frame.kind == "no" else None

    def parser(self, state: bytes = b"") -> CountedParser:
        return CountedParser(state)

    def level_token(self, price: str, size: str) -> bytes:
        return b""

    def checksum(self, asks: Sequence[bytes], bids: Sequence[bytes]) -> int:
        return 0

    def instruments_url(self, rest_url: str) -> str:
        return f"{rest_url}/products"

    def instruments(self, answer: bytes) -> frozenset[str]:
        return frozenset(read_list(answer))

    def spelling(self, name: str) -> str:
        return name.strip().upper().replace("/", "-")

    def clock_url(self, rest_url: str) -> str:
        return f"{rest_url}/time"

    def clock_ns(self, answer: bytes) -> int:
        try:
            return msgspec.json.decode(answer, type=int)
        except UNREADABLE as error:
            raise BadFrame("bad_shape", str(error)[:100]) from error


def read_list(answer: bytes) -> list[str]:
    try:
        return msgspec.json.decode(answer, type=list[str])
    except UNREADABLE as error:
        raise BadFrame("bad_shape", str(error)[:100]) from error


def answers(text: str) -> list[str]:
    return [json.dumps({**json.loads(text), "n": 0, "kind": "ack"})]


def book(n: int, name: str, *levels: tuple[str, str, str], snapshot: bool = False) -> str:
    return json.dumps({"n": n, "kind": "book", "name": name, "snapshot": snapshot, "levels": levels})


def beat(n: int) -> str:
    return json.dumps({"n": n, "kind": "beat"})


def session(n: int, name: str) -> list[str]:
    return [
        beat(n),
        book(n + 1, name, ("bid", "100.00", "1"), ("offer", "101.00", "2"), snapshot=True),
        book(n + 2, name, ("bid", "100.00", "0"), ("bid", "99.00", "1.5")),
        json.dumps(
            {"n": n + 3, "kind": "trade", "name": name, "price": "100.00", "size": "1", "id": n, "maker": "sell"}
        ),
        json.dumps({"n": n + 4, "kind": "top", "name": name, "price": "100.00", "size": "1"}),
    ]


COUNTED: Final = Specimen(
    exchange=Counted(),
    names=("BTC-USD", "ETH-USD"),
    answers=answers,
    session=[*session(0, "BTC-USD"), *session(5, "ETH-USD")],
    refusal='{"n":0,"kind":"no","name":"X-Y"}',
    instruments=b'["BTC-USD","ETH-USD","OLD-USD"]',
    clock=b"1700000000000000000",
)
