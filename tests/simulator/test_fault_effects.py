"""Each fault as a client sees it, over real sockets."""

import itertools
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio
from trio_websocket import ConnectionClosed, ConnectionRejected

from ssmd.simulator import FAULTS, parse_fault
from tests.simulator.peer import Peer, RebuiltBook, connected, exact, inject, on, simulated


@asynccontextmanager
async def subscribed(**settings):
    """Yield (endpoints, peer) with book and trades of two symbols flowing."""
    async with AsyncExitStack() as stack:
        settings = {"rate_per_s": 500, "heartbeat_interval_s": 0.1, "trade_share": 0.2, **settings}
        endpoints = await stack.enter_async_context(simulated(**settings))
        peer: Peer = await stack.enter_async_context(connected(endpoints))
        await peer.subscribe("book", "BTC/USD", "ETH/USD")
        await peer.subscribe("trade", "BTC/USD", "ETH/USD")
        yield endpoints, peer


class Checker:
    """Rebuilds both books from everything that a peer has read."""

    def __init__(self, peer):
        self._peer = peer
        self._seen = 0
        self._books = {"BTC/USD": RebuiltBook(10), "ETH/USD": RebuiltBook(10)}
        self.wrong = []

    def check(self):
        """Return every frame so far that did not verify."""
        for text in self._peer.texts[self._seen :]:
            frame = exact(text)
            if on("book")(frame) and not self._books[frame["data"][0]["symbol"]].apply(frame):
                self.wrong.append(frame)
        self._seen = len(self._peer.texts)
        return self.wrong

    async def until_wrong(self):
        while not self.check():
            await self._peer.until(on("book"))
        for _ in range(50):
            await self._peer.until(on("book"))
        return self.check()


def books_of(peer):
    return Checker(peer).check()


async def test_drop_resets_the_connection_without_a_close_frame():
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, "drop")
        with pytest.raises(ConnectionClosed) as closed:
            await peer.until_closed()
    assert closed.value.reason.code == 1006


async def test_close_sends_a_close_frame_with_its_code():
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, "close:1013")
        with pytest.raises(ConnectionClosed) as closed:
            await peer.until_closed()
    assert closed.value.reason.code == 1013


async def test_stall_stops_frames_and_pongs_but_not_the_socket_and_then_loses_nothing():
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, "stall:0.7")
        with trio.move_on_after(0.2):
            await peer.until_closed()
        heard = len(peer.texts)
        await peer.ask("ping", req_id=5)
        with trio.move_on_after(0.1):
            await peer.frame()
        assert len(peer.texts) == heard
        await peer.until(lambda frame: frame.get("method") == "pong")
        await peer.until(on("book"))
    assert books_of(peer) == []


async def test_silence_keeps_heartbeats_and_ends_when_subscribed_again():
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, "silence:BTC/USD")
        await peer.until(on("heartbeat"))
        start = len(peer.texts)
        for _ in range(2):
            await peer.until(on("heartbeat"))
        quiet = [exact(text) for text in peer.texts[start:]]
        assert {frame["data"][0]["symbol"] for frame in quiet if "data" in frame} == {"ETH/USD"}
        await peer.ask("unsubscribe", channel="book", symbol=["BTC/USD"])
        await peer.answer()
        await peer.subscribe("book", "BTC/USD")
        await peer.until(lambda frame: on("book", "update")(frame) and frame["data"][0]["symbol"] == "BTC/USD")
    assert books_of(peer) == []


@pytest.mark.parametrize("fault", ["checksum", "flip", "missing", "reorder"])
async def test_a_broken_book_shows_in_the_checksum_of_that_symbol_alone(fault):
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, f"{fault}:BTC/USD")
        wrong = await Checker(peer).until_wrong()
    assert {frame["data"][0]["symbol"] for frame in wrong} == {"BTC/USD"}
    assert fault != "checksum" or len(wrong) == 1


async def test_duplicate_sends_a_frame_twice():
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, "duplicate")
        while len(peer.texts) < 4 or peer.texts[-1] != peer.texts[-2]:
            await peer.until(lambda frame: not on("heartbeat")(frame))
        for _ in range(50):
            await peer.until(on("book"))
    data = [text for text in peer.texts if '"update"' in text]
    assert sum(before == after for before, after in itertools.pairwise(data)) == 1
    assert books_of(peer) == []


async def test_an_unknown_field_harms_no_book():
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, "unknown_field")
        await peer.until(lambda frame: on("book")(frame) and "sim_unknown_field" in frame["data"][0])
    assert books_of(peer) == []


async def test_wrong_type_makes_trade_ids_texts_once():
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, "wrong_type")
        with trio.fail_after(5):
            while '"trade_id":"' not in await peer.text():
                pass
        for _ in range(5):
            await peer.until(on("trade"))
    assert sum('"trade_id":"' in text for text in peer.texts) == 1


@pytest.mark.parametrize("depth", [10, 1000])
async def test_an_absurd_ask_comes_with_a_right_checksum_at_any_depth(depth):
    async with simulated(rate_per_s=300) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("book", "BTC/USD", depth=depth)
        await peer.until(on("book", "update"))
        await inject(endpoints, "absurd_price")
        await peer.until(lambda frame: on("book")(frame) and "886110000000.0" in str(frame))
        await peer.until(on("book", "update"))
        book = RebuiltBook(depth)
        assert all(book.apply(exact(text)) for text in peer.texts if '"book","type"' in text)
    assert ("886110000000.0" in book.sides["asks"]) == (depth == 1000)


ODD = {
    "garbage": "not JSON",
    "nan": '"price":NaN',
    "deep_json": "[[[[[[[[",
    "huge_int": "9" * 1000,
    "unknown_channel": '"sim_unknown"',
    "unknown_symbol": "NOSUCH/USD",
    "oversize": '"sim_oversize"',
}


@pytest.mark.parametrize(("fault", "seen"), ODD.items())
async def test_an_odd_frame_arrives_and_the_feed_goes_on(fault, seen):
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, fault)
        with trio.fail_after(5):
            while seen not in (odd := await peer.text()):
                pass
        await peer.until(on("book"))
    assert fault != "oversize" or len(odd) == 17_000_000
    peer.texts.remove(odd)
    assert books_of(peer) == []


async def test_bad_utf8_is_a_protocol_error_to_the_library():
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, "bad_utf8")
        with pytest.raises(ConnectionClosed) as closed:
            await peer.until_closed()
    assert closed.value.reason.code == 1007


async def test_no_ack_leaves_a_subscribe_without_answer_and_data():
    async with simulated(rate_per_s=500) as endpoints, connected(endpoints) as peer:
        await inject(endpoints, "no_ack")
        await peer.ask("subscribe", channel="book", symbol=["BTC/USD"])
        await peer.ask("ping")
        assert (await peer.frame())["method"] == "pong"
        assert (await peer.subscribe("book", "BTC/USD"))[0]["success"]


async def test_no_ack_of_one_symbol_leaves_the_others():
    async with simulated(rate_per_s=0.01) as endpoints, connected(endpoints) as peer:
        await inject(endpoints, "no_ack:BTC/USD")
        await peer.ask("subscribe", channel="trade", symbol=["BTC/USD", "ETH/USD"])
        assert (await peer.answer())["result"]["symbol"] == "ETH/USD"
        await peer.ask("ping")
        assert (await peer.frame())["method"] == "pong"


async def test_already_and_rate_limit_answer_the_next_request_only():
    async with simulated(rate_per_s=0.01) as endpoints, connected(endpoints) as peer:
        await inject(endpoints, "already")
        assert (await peer.subscribe("trade", "BTC/USD"))[0]["error"] == "Already subscribed"
        await inject(endpoints, "rate_limit")
        assert await peer.subscribe("trade", "BTC/USD") == [{"Error": "Exceeded msg rate"}]
        assert (await peer.subscribe("trade", "BTC/USD"))[0]["success"]


async def test_a_refused_symbol_is_refused_until_its_time_is_over():
    async with simulated(rate_per_s=0.01) as endpoints, connected(endpoints) as peer:
        await inject(endpoints, "refuse:BTC/USD:0.2")
        refused, accepted = await peer.subscribe("trade", "BTC/USD", "ETH/USD")
        assert (refused["success"], accepted["success"]) == (False, True)
        await trio.sleep(0.2)
        assert (await peer.subscribe("trade", "BTC/USD"))[0]["success"]


@pytest.mark.parametrize("status", [429, 503])
async def test_refused_connects_get_the_status_and_a_retry_after_and_open_ones_stay(status):
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, f"refuse_connects:0.3:{status}")
        with pytest.raises(ConnectionRejected) as rejected:
            async with connected(endpoints):
                pass
        assert rejected.value.status_code == status
        assert dict(rejected.value.headers)[b"retry-after"] == b"1"
        await peer.until(on("book"))
        assert await system_after_refusals(endpoints) == "online"


async def system_after_refusals(endpoints):
    while True:
        try:
            async with connected(endpoints, greeted=False) as peer:
                return (await peer.frame())["data"][0]["system"]
        except ConnectionRejected:
            await trio.sleep(0.05)


async def test_maintenance_is_announced_then_begins_then_refuses_then_is_over():
    async with subscribed() as (endpoints, peer):
        await inject(endpoints, "maintenance:0.4:0.1")
        announced = (await peer.until(on("status")))["data"][0]
        assert announced["system"] == "online"
        assert announced["upcoming_maintenance"][0]["recommended_action"] == "disconnect_and_wait"
        begun = (await peer.until(on("status")))["data"][0]
        assert (begun["system"], begun["upcoming_maintenance"]) == ("maintenance", [])
        with pytest.raises(ConnectionClosed) as closed:
            await peer.until_closed()
        assert closed.value.reason.code == 1012
        with pytest.raises(ConnectionRejected) as rejected:
            async with connected(endpoints):
                pass
        assert rejected.value.status_code == 503
        assert await system_after_refusals(endpoints) == "online"


async def test_a_fault_by_time_happens_by_itself():
    started_s = time.monotonic()
    async with subscribed(faults=(parse_fault("drop@0.3"),)) as (_, peer):
        with pytest.raises(ConnectionClosed):
            await peer.until_closed()
    assert time.monotonic() - started_s >= 0.3


async def test_every_fault_of_the_table_can_be_injected_without_harm_to_the_server():
    async with simulated(rate_per_s=500) as endpoints:
        for name in FAULTS:
            if name not in ("refuse_connects", "maintenance", "oversize"):
                await inject(endpoints, name)
        await inject(endpoints, "refuse:0")
        for name in ("no_ack", "already", "rate_limit"):
            await inject(endpoints, f"{name}:0")
        async with connected(endpoints) as peer:
            await peer.ask("ping")
            assert await peer.answer()
