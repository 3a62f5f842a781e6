"""Every message once for everybody: shared bytes, shared work, and memory with a bound."""

import pytest

from ssmd.bus.base import Incoming
from ssmd.gateway.access import CloseReason, Series
from ssmd.gateway.live import events as live_events
from ssmd.gateway.live import hub as hub_module
from ssmd.gateway.live.events import Chunk, series_of, subject_of
from ssmd.gateway.live.hub import Hub
from ssmd.model import Event
from tests.gateway.live_world import book, outgoing, quote, trade

BTC = tuple(Series("kraken", kind, "BTCUSD") for kind in ("trade", "quote", "book"))


class Ear:
    def __init__(self) -> None:
        self.chunks: list[Chunk] = []

    def deliver(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)

    def end(self, reason: CloseReason) -> None:
        raise AssertionError(reason)


def incoming(pos: int, event: Event, subject: str | None = None) -> Incoming:
    message = outgoing(event)
    return Incoming(subject or message.subject, message.payload, message.message_id, pos, 0)


@pytest.fixture
async def hub() -> Hub:
    made = Hub()
    made.begin("s", (), 0, 0)
    return made


async def test_a_message_is_encoded_once_and_the_same_bytes_go_to_all_who_want_the_same(hub: Hub, monkeypatch):
    calls = []
    encode = live_events.encode_event
    monkeypatch.setattr(live_events, "encode_event", lambda *args: calls.append(args) or encode(*args))
    ears = [Ear() for _ in range(10)]
    for ear in ears:
        hub.tune(ear, BTC)
    other = Ear()
    hub.tune(other, BTC[:1])
    hub.take([incoming(1, trade(1)), incoming(2, quote(2))])
    assert len({id(ear.chunks[0].data) for ear in ears}) == 1
    assert [len(ear.chunks) for ear in (*ears, other)] == [1] * 11
    assert len(calls) == 2


async def test_what_nobody_wants_is_neither_decoded_nor_encoded(hub: Hub, monkeypatch):
    monkeypatch.setattr(live_events.marketdata, "decode", None)
    hub.tune(Ear(), [Series("kraken", "trade", "ETHUSD")])
    hub.take([incoming(pos, trade(pos)) for pos in range(1, 100)])
    assert hub.pos == 99


async def test_a_message_that_is_not_about_its_subject_reaches_nobody(hub: Hub):
    ear = Ear()
    hub.tune(ear, [*BTC, Series("kraken", "trade", "ETHUSD")])
    hub.take(
        [
            incoming(1, trade(1, "ETHUSD"), "md.kraken.trade.BTCUSD"),
            Incoming("md.kraken.trade.BTCUSD", b"garbage", "kraken/k/2/0", 2, 0),
            incoming(3, trade(3), "md.kraken.trade.BTCUSD.more"),
            incoming(4, trade(4)),
        ]
    )
    assert [event.pos for chunk in ear.chunks for event in chunk.events] == [4]


async def test_who_tunes_elsewhere_or_leaves_gets_nothing_more(hub: Hub):
    ear = Ear()
    hub.tune(ear, BTC)
    hub.tune(ear, [Series("kraken", "trade", "ETHUSD")])
    hub.take([incoming(1, trade(1)), incoming(2, trade(2, "ETHUSD"))])
    hub.leave(ear)
    hub.take([incoming(3, trade(3, "ETHUSD"))])
    assert [event.pos for chunk in ear.chunks for event in chunk.events] == [2]
    assert (hub.sessions, hub._audiences, hub._wanting) == (0, {}, {})


async def test_what_is_remembered_is_bounded_in_bytes_and_in_number(hub: Hub):
    deep = outgoing(book(1, depth=1_000))
    hub.take([Incoming(deep.subject, deep.payload, f"kraken/k/{pos}/0", pos, 0) for pos in range(1, 500)])
    kept = hub.after(hub.pos - 100, BTC)
    assert kept is not None
    assert sum(len(event.payload) for event in hub._recent) <= hub_module.RECENT_BYTES
    assert sum(len(event.frame) for event in kept[:20]) < 20 * 2 * len(deep.payload)
    assert hub.after(1, BTC) is None
    small = outgoing(trade(1))
    hub.take([Incoming(small.subject, small.payload, f"kraken/k/{pos}/0", pos, 0) for pos in range(500, 10_000)])
    assert len(hub._recent) <= hub_module.RECENT_MESSAGES


def test_a_subject_names_one_series_or_none():
    assert series_of("md.kraken.trade.BTCUSD") == BTC[0]
    for subject in ("md.kraken.trade", "md.kraken.trade.*", "md.>", "md.kraken.ohlc.BTCUSD", "x.kraken.trade.BTCUSD"):
        assert series_of(subject) is None


def test_the_narrowest_subject_covers_all_wanted():
    assert subject_of(BTC[:1]) == "md.kraken.trade.BTCUSD"
    assert subject_of(BTC) == "md.kraken.*.BTCUSD"
    assert subject_of([BTC[0], Series("nyse", "trade", "IBM")]) == "md.*.trade.*"
