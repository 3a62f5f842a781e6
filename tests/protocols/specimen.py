"""What the conformance test needs to know of an exchange beside its module: how the venue itself talks."""

import json
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from ssmd.protocols.base import Exchange
from ssmd.protocols.kraken import Kraken
from tests.protocols.recorded import HEARTBEAT, VenueBook, frame, ticker, trade


class Specimen(Struct, frozen=True):
    """answers: what the venue replies to a request. session: frames after the answers, in order, that hold a book
    with both sides, a change of it, a trade and a quote for every name. refusal: one frame. instruments and clock: REST
    answers, the first with every name and at least one more, the second of 2023-11-14T22:13:20Z."""

    exchange: Exchange
    names: tuple[str, ...]
    answers: Callable[[str], Sequence[str]]
    session: Sequence[str]
    refusal: str
    instruments: bytes
    clock: bytes


def kraken_answers(text: str) -> list[str]:
    request = json.loads(text)
    params = request["params"]
    return [
        json.dumps(
            {
                "method": request["method"],
                "req_id": request["req_id"],
                "result": {"channel": params["channel"], "symbol": name},
                "success": True,
                "time_in": "2026-07-07T23:00:03.501510Z",
                "time_out": "2026-07-07T23:00:03.501553Z",
            }
        )
        for name in params["symbol"]
    ]


def kraken_session(name: str) -> list[str]:
    venue = VenueBook(name)
    return [
        HEARTBEAT,
        venue.snapshot(),
        venue.update({"100.0": "3.00000000"}, {"101.0": "0.00000000"}),
        frame("trade", "update", trade(1, name)),
        frame("ticker", "update", ticker(name)),
    ]


KRAKEN: Final = Specimen(
    exchange=Kraken(),
    names=("BTC/USD", "ETH/USD"),
    answers=kraken_answers,
    session=[*kraken_session("BTC/USD"), *kraken_session("ETH/USD")],
    refusal='{"error":"Currency pair not supported X/Y","method":"subscribe","success":false,"symbol":"X/Y"}',
    instruments=b"""{"error":[],"result":{
        "XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD","status":"online"},
        "XETHZUSD":{"altname":"ETHUSD","wsname":"ETH/USD","base":"XETH","quote":"ZUSD","status":"online"},
        "XDGUSD":{"altname":"XDGUSD","wsname":"XDG/USD","base":"XXDG","quote":"ZUSD","status":"cancel_only"}}}""",
    clock=b'{"error":[],"result":{"unixtime":1700000000,"rfc1123":"Tue, 14 Nov 23 22:13:20 +0000"}}',
)
