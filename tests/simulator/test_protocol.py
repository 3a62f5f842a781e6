import itertools
import json

import pytest
import trio

from ssmd.simulator.pairs import listed_pairs
from tests.simulator.peer import RebuiltBook, connected, exact, on, simulated

FAST = {"rate_per_s": 2000}
QUIET = {"rate_per_s": 0.001, "heartbeat_interval_s": 0.2}


async def test_the_first_frame_is_the_status_with_an_id_beyond_doubles():
    async with simulated() as endpoints, connected(endpoints, greeted=False) as peer:
        frame = exact(await peer.text())
    assert frame["channel"] == "status"
    assert frame["data"][0]["system"] == "online"
    assert int(frame["data"][0]["connection_id"]) > 2**53


async def test_each_symbol_has_its_own_ack_and_the_snapshots_follow_all_acks():
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        await peer.ask("subscribe", channel="book", symbol=["BTC/USD", "ETH/USD"], depth=25, req_id=7)
        frames = [await peer.frame() for _ in range(4)]
    for frame, symbol in zip(frames, ("BTC/USD", "ETH/USD"), strict=False):
        assert frame.pop("time_in") <= frame.pop("time_out")
        result = {"channel": "book", "depth": "25", "snapshot": True, "symbol": symbol}
        assert frame == {"method": "subscribe", "req_id": "7", "result": result, "success": True}
    assert [frame["type"] for frame in frames[2:]] == ["snapshot", "snapshot"]
    assert len(frames[2]["data"][0]["bids"]) == 25


REFUSALS = [
    ({"channel": "trade", "symbol": ["XBT/USD"]}, "Currency pair not supported XBT/USD", "XBT/USD"),
    ({"channel": "trade", "symbol": ["btc/usd"]}, "Currency pair not supported btc/usd", "btc/usd"),
    ({"channel": "book", "symbol": ["BTC/USD"], "depth": 50}, "Subscription depth not supported", None),
    (
        {"channel": "executions"},
        "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
        None,
    ),
    ({"channel": "ohlc", "symbol": ["BTC/USD"]}, "Channel not supported by the simulator", None),
    ({"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "x"}, "Event trigger not supported", None),
    ({"channel": "trade"}, "Symbol missing", None),
    ({}, "Malformed request", None),
]


@pytest.mark.parametrize(("params", "error", "symbol"), REFUSALS)
async def test_a_refusal_says_why_in_the_words_of_the_venue(params, error, symbol):
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        await peer.ask("subscribe", req_id=3, **params)
        answer = await peer.answer()
    assert (answer["error"], answer["success"], answer.get("symbol")) == (error, False, symbol)
    assert answer["method"] == "subscribe"
    assert "time_in" in answer
    assert answer.get("req_id") == "3"


async def test_one_refused_symbol_does_not_stop_the_others():
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        answers = await peer.subscribe("trade", "BTC/USD", "NOSUCH/USD", "ETH/USD")
    assert [answer["success"] for answer in answers] == [True, False, True]


async def test_a_second_subscription_is_refused_also_with_another_depth_and_gives_no_snapshot():
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("book", "BTC/USD")
        await peer.until(on("book", "snapshot"))
        for depth in (10, 100):
            (answer,) = await peer.subscribe("book", "BTC/USD", depth=depth)
            assert answer["error"] == "Already subscribed"
        assert on("heartbeat")(await peer.frame())


@pytest.mark.parametrize("message", ["{", "[]", "\x00", '{"method":5}', '{"params":{"channel":"book"}}', "é" * 50])
async def test_a_message_that_is_no_request_is_answered_and_the_connection_goes_on(message):
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        await peer.socket.send_message(message)
        assert (await peer.frame())["error"] == "Malformed request"
        await peer.ask("ping", req_id=1)
        assert (await peer.answer())["method"] == "pong"


async def test_trading_is_refused_on_the_public_host():
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        await peer.ask("add_order", order_type="limit", channel="x")
        assert "ws-auth.kraken.com" in (await peer.answer())["error"]


async def test_a_ping_is_answered_with_its_id():
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        await peer.ask("ping", req_id=42)
        answer = await peer.answer()
    assert (answer["method"], answer["req_id"]) == ("pong", "42")


async def test_heartbeats_come_at_their_interval_also_without_and_beside_data():
    async with simulated(rate_per_s=500, heartbeat_interval_s=0.1) as endpoints, connected(endpoints) as peer:
        start_s = trio.current_time()
        await peer.subscribe("book", "BTC/USD")
        for _ in range(5):
            await peer.until(on("heartbeat"))
        assert trio.current_time() - start_s == pytest.approx(0.5, abs=0.3)


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
async def test_every_book_frame_verifies_from_its_raw_text_at_every_depth(depth):
    async with simulated(rate_per_s=5000) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("book", "BTC/USD", "SHIB/USD", depth=depth)
        books = {"BTC/USD": RebuiltBook(depth), "SHIB/USD": RebuiltBook(depth)}
        wrong = 0
        for _ in range(100 if depth > 100 else 400):
            frame = await peer.until(on("book"))
            wrong += not books[frame["data"][0]["symbol"]].apply(frame)
        assert wrong == 0
        assert all(book.verified > 20 and book.unknown_deletes == 0 for book in books.values())


async def test_resubscribing_gives_a_fresh_snapshot_that_verifies():
    async with simulated(**FAST) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("book", "BTC/USD")
        first = await peer.until(on("book", "snapshot"))
        for _ in range(100):
            await peer.until(on("book", "update"))
        await peer.ask("unsubscribe", channel="book", symbol=["BTC/USD"], req_id=9)
        ack = await peer.until(lambda frame: frame.get("method") == "unsubscribe")
        assert ack["result"] == {"channel": "book", "depth": "10", "symbol": "BTC/USD"}
        assert ack["req_id"] == "9"
        await peer.ask("ping")
        assert (await peer.frame())["method"] == "pong"
        await peer.subscribe("book", "BTC/USD", depth=25)
        book = RebuiltBook(25)
        second = await peer.until(on("book"))
        assert second["type"] == "snapshot"
        assert second["data"][0]["checksum"] != first["data"][0]["checksum"]
        assert book.apply(second)
        assert all([book.apply(await peer.until(on("book"))) for _ in range(50)])


async def test_unsubscribing_what_is_not_subscribed_is_refused():
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        await peer.ask("unsubscribe", channel="trade", symbol=["BTC/USD"])
        answer = await peer.answer()
    assert (answer["method"], answer["success"]) == ("unsubscribe", False)


async def test_trades_come_without_a_snapshot_unless_asked_for():
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        (plain,) = await peer.subscribe("trade", "BTC/USD")
        assert plain["result"]["snapshot"] is False
        assert on("heartbeat")(await peer.frame())
        await peer.subscribe("trade", "ETH/USD", snapshot=True)
        old = await peer.frame()
    assert (old["type"], len(old["data"])) == ("snapshot", 50)


async def test_trade_ids_continue_the_snapshot_without_a_hole():
    async with simulated(trade_share=0.5, **FAST) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("trade", "BTC/USD", "ETH/USD", snapshot=True)
        ids: dict[str, list[int]] = {"BTC/USD": [], "ETH/USD": []}
        sizes = set()
        while len(peer.texts) < 200:
            frame = await peer.until(on("trade"))
            sizes.add(len(frame["data"]))
            for trade in frame["data"]:
                ids[trade["symbol"]].append(int(trade["trade_id"]))
    assert all(seen == list(range(seen[0], seen[0] + len(seen))) for seen in ids.values())
    assert {1, 2} <= sizes


@pytest.mark.parametrize("trigger", ["bbo", "trades"])
async def test_a_ticker_has_a_snapshot_and_follows_its_trigger(trigger):
    async with simulated(**FAST) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("ticker", "BTC/USD", event_trigger=trigger)
        frames = [await peer.until(on("ticker")) for _ in range(20)]
    assert frames[0]["type"] == "snapshot"
    assert {frame["type"] for frame in frames[1:]} == {"update"}
    quotes = [(frame["data"][0]["bid"], frame["data"][0]["ask"]) for frame in frames]
    assert all(float(bid) < float(ask) and len(bid.split(".")[1]) == 1 for bid, ask in quotes)
    if trigger == "bbo":
        assert all(before != after for before, after in itertools.pairwise(quotes[1:]))


async def test_instruments_are_an_object_with_exponents():
    async with simulated(**QUIET) as endpoints, connected(endpoints) as peer:
        await peer.ask("subscribe", channel="instrument")
        assert (await peer.answer())["result"] == {"channel": "instrument", "snapshot": True}
        text = await peer.text()
    pairs = {pair["symbol"]: pair for pair in json.loads(text)["data"]["pairs"]}
    assert pairs["BTC/USD"]["price_precision"] == 1
    assert '"qty_increment":1e-08' in text


async def test_too_many_messages_lose_the_rest_of_the_burst():
    async with (
        simulated(requests_per_s=0.001, request_burst=3, **(QUIET | {"heartbeat_interval_s": 60})) as endpoints,
        connected(endpoints) as peer,
    ):
        for number in range(5):
            await peer.ask("ping", req_id=number)
        answers = [await peer.frame() for _ in range(5)]
    assert [answer.get("req_id") for answer in answers[:3]] == ["0", "1", "2"]
    assert answers[3:] == [{"Error": "Exceeded msg rate"}] * 2


async def test_two_clients_see_the_same_market():
    async with (
        simulated(rate_per_s=200, trade_share=1) as endpoints,
        connected(endpoints) as one,
        connected(endpoints) as two,
    ):
        for peer in (one, two):
            await peer.subscribe("trade", "BTC/USD")
        later = await two.until(on("trade"))
        await one.until(lambda frame: frame == later)
        assert await one.until(on("trade")) == await two.until(on("trade"))


async def test_protocol_pings_are_answered_between_the_frames_of_a_fast_feed():
    async with simulated(rate_per_s=5000) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("book", "BTC/USD")
        book = RebuiltBook(10)
        async with trio.open_nursery() as nursery:
            for payload in (b"one", b"two", b"three"):
                nursery.start_soon(peer.socket.ping, payload)
            assert all([book.apply(await peer.until(on("book"))) for _ in range(300)])


async def test_fifty_symbols_can_be_subscribed_without_naming_them():
    symbols = list(listed_pairs(()))[:50]
    async with simulated(**FAST) as endpoints, connected(endpoints) as peer:
        answers = await peer.subscribe("book", *symbols)
        assert all(answer["success"] for answer in answers)


async def test_the_rate_is_that_of_the_whole_feed():
    async with simulated(rate_per_s=400, heartbeat_interval_s=60) as endpoints, connected(endpoints) as peer:
        await peer.subscribe("book", "BTC/USD", "ETH/USD")
        await peer.subscribe("trade", "BTC/USD", "ETH/USD")
        await peer.until(on("book", "update"))
        start_s = trio.current_time()
        for _ in range(200):
            await peer.frame()
        assert trio.current_time() - start_s == pytest.approx(0.5, abs=0.3)
