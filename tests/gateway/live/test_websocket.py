"""A live session from its handshake to its end, on the virtual clock."""

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto.events import CloseConnection

from ssmd.gateway.access import Grant, Limits, Series
from ssmd.gateway.live.events import Chunk
from ssmd.gateway.live.line import NOTHING_ASKED, RESTART, REVOKED, SILENT, TOO_MANY
from tests.gateway.live_world import KEY, World, book, ids, quote, trade


@pytest.fixture
def world() -> World:
    made = World()
    made.doorkeeper.admit("agent-1")
    return made


async def test_symbols_in_the_url_are_subscribed_with_no_message_sent(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD,ETHUSD") as client:
        assert (await client.next_of("welcome"))["client"] == "agent-1"
        ack = await client.next_of("subscribed")
        assert {(one["data_type"], *one["symbols"]) for one in ack["subscriptions"]} == {
            (kind, "BTCUSD", "ETHUSD") for kind in ("trade", "quote", "book")
        }
        await world.publish(trade(1), quote(2, "ETHUSD"), trade(3, "SOLUSD"), trade(4))
        assert ids(await client.events(3)) == [1, 2, 4]


async def test_an_event_comes_as_the_contract_says(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTC/USD&types=trade,book&feed=kraken") as client:
        await client.next_of("subscribed")
        await world.publish(trade(7), quote(8), book(9, depth=1))
        first, second = await client.events(2)
    assert first == {
        "type": "trade", "exchange": "kraken", "symbol": "BTCUSD", "price": 60000.1, "size": 0.01, "side": "buy",
        "trade_id": "7", "timestamp": "2025-12-06T14:00:00.006999995Z",
        "received_at": "2025-12-06T14:00:00.007000000Z", "id": "kraken/k-0-1/7/0", "pos": 1,
    }  # fmt: skip
    assert (second["type"], second["bids"], second["asks"], second["pos"]) == (
        "book",
        [[60000, 1.25]],
        [[60000, 1.25]],
        3,
    )


async def test_each_command_is_answered_with_its_id_and_the_whole_set(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD&types=trade") as client:
        await client.next_of("subscribed")
        await client.say(op="subscribe", id=2, symbols=["ETHUSD"], types=["quote"])
        both = await client.next_of("subscribed")
        await client.say(op="list", id="x")
        listed = await client.next_of("subscribed")
        assert (both["id"], listed["id"]) == (2, "x")
        assert (
            both["subscriptions"]
            == listed["subscriptions"]
            == [
                {"feed": "kraken", "data_type": "quote", "symbols": ["ETHUSD"]},
                {"feed": "kraken", "data_type": "trade", "symbols": ["BTCUSD"]},
            ]
        )
        await client.say(op="unsubscribe", id=3, symbols=["BTCUSD"])
        assert (await client.next_of("subscribed"))["subscriptions"] == listed["subscriptions"][:1]
        await world.publish(trade(1), quote(2, "ETHUSD"))
        assert ids(await client.events(1)) == [2]
        await client.say(op="ping", id=5)
        assert await client.next_of("pong") == {"type": "pong", "id": 5}


async def test_one_refused_symbol_never_refuses_its_neighbours(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD,SOLUSDD,ETHUSD&types=trade") as client:
        ack = await client.next_of("subscribed")
        assert ack["subscriptions"] == [{"feed": "kraken", "data_type": "trade", "symbols": ["BTCUSD", "ETHUSD"]}]
        assert ack["refused"] == [{"symbol": "SOLUSDD", "code": "unknown_symbol", "suggestions": ["SOLUSD"]}]
        error = await client.next_of("error")
        assert (error["code"], error["detail"], error["suggestions"]) == ("unknown_symbol", "SOLUSDD", ["SOLUSD"])


async def test_a_snapshot_gives_the_last_quote_and_book_at_once(autojump_clock, world: World):
    await_before = [quote(1), book(2), trade(3), quote(4)]
    async with world.running():
        await world.publish(*await_before)
        async with world.client("?symbols=BTCUSD,ETHUSD&snapshot=true") as client:
            got = await client.events(2)
            await world.publish(quote(5))
            live = (await client.events(1))[0]
    assert sorted((one["type"], one["pos"], one["snapshot"]) for one in got) == [("book", 2, True), ("quote", 4, True)]
    assert live["pos"] == 5
    assert "snapshot" not in live


async def test_a_quiet_series_has_a_snapshot_right_after_the_gateway_started(autojump_clock, world: World):
    async with world.running():
        await world.publish(quote(1, "SOLUSD"), *(trade(seq) for seq in range(2, 9_500)))
    world.restart_gateway()
    async with world.running(), world.client("?symbols=SOLUSD&snapshot=true") as client:
        assert ids(await client.events(1)) == [1]


async def test_a_heartbeat_comes_after_five_silent_seconds_and_tells_how_far_all_was_sent(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD") as client:
        await client.next_of("subscribed")
        await world.publish(trade(1), trade(2, "ETHUSD"))
        await client.events(1)
        began_s = trio.current_time()
        beat = await client.next_of("heartbeat")
        assert (beat["pos"], beat["live"]) == (2, True)
        assert trio.current_time() - began_s == pytest.approx(5.0, abs=0.1)


async def test_sessions_live_on_while_the_bus_is_away_and_say_so(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD") as client:
        await client.next_of("subscribed")
        world.broker.down()
        await client.until(lambda message: message["type"] == "heartbeat" and not message["live"])
        world.broker.up()
        await world.publish(trade(1))
        assert ids(await client.events(1)) == [1]


async def test_a_new_connection_to_the_exchange_is_told_as_a_gap_before_its_first_message(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD&types=trade") as client:
        await client.next_of("subscribed")
        await world.publish(trade(1), trade(2), trade(50, conn="k-0-2"), trade(51, conn="k-0-2"))
        await client.events(2)
        gap = await client.next_of("gap", "trade")
        assert gap == {
            "type": "gap", "feed": "kraken", "data_type": "trade", "symbols": ["BTCUSD"], "frames": None, "id": None,
            "start": "2025-12-06T14:00:00.002000000Z", "end": "2025-12-06T14:00:00.050000000Z", "reason": "disconnect",
        }  # fmt: skip
        assert [message["type"] for message in client.messages] == ["trade", "trade"]


async def test_what_the_exchange_connection_published_twice_is_sent_once(autojump_clock, world: World):
    world.spec = msgspec.structs.replace(world.spec, duplicate_window_s=1.0)
    async with world.running(), world.client("?symbols=BTCUSD") as client:
        await client.next_of("subscribed")
        await world.publish(trade(1), trade(2))
        await trio.sleep(2)
        await world.publish(trade(2), trade(3))
        assert ids(await client.events(3)) == [1, 2, 3]


# keys ----------------------------------------------------------------------------------------------------------


async def test_a_key_may_come_by_the_first_message_and_the_url_is_subscribed_then(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD", accept="*/*") as client:
        await client.say(op="auth", key=KEY)
        assert (await client.next_of("welcome", "subscribed"))["client"] == "agent-1"
        await client.next_of("subscribed")


@pytest.mark.parametrize("first", [{"op": "auth", "key": "ssmd_wrong"}, {"op": "list"}, {"op": "auth"}])
async def test_without_a_good_key_nothing_else_is_done(autojump_clock, world: World, first: dict):
    async with world.running(), world.client("?symbols=BTCUSD", accept="*/*") as client:
        await client.say(**first)
        error = await client.next_of("error", "welcome", "subscribed")
        assert error["code"] in {"invalid_key", "missing_key", "invalid_parameter"}
        assert await client.closed() == 4401


async def test_a_wrong_key_in_the_header_is_refused_before_the_upgrade(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD", authorization="Bearer ssmd_wrong") as client:
        assert client.refused_with == 401


async def test_a_ticket_opens_one_session_within_its_time(autojump_clock, world: World):
    ticket = world.parts.tickets.issue(world.doorkeeper.by_key[KEY])
    late = world.parts.tickets.issue(world.doorkeeper.by_key[KEY])
    async with world.running():
        async with world.client(f"?symbols=BTCUSD&ticket={ticket}", accept="*/*") as client:
            await client.next_of("subscribed")
        async with world.client(f"?symbols=BTCUSD&ticket={ticket}", accept="*/*") as client:
            assert client.refused_with == 401
        await trio.sleep(31)
        async with world.client(f"?symbols=BTCUSD&ticket={late}", accept="*/*") as client:
            assert client.refused_with == 401


async def test_one_device_too_many_is_closed_with_4429(autojump_clock, world: World):
    world.doorkeeper.admit("agent-1", limits=Limits(devices=1))
    async with world.running(), world.client("?symbols=BTCUSD") as first:
        await first.next_of("subscribed")
        async with world.client("?symbols=BTCUSD") as second:
            assert (await second.next_of("error"))["code"] == "rate_limited"
            assert await second.closed() == TOO_MANY


# entitlements --------------------------------------------------------------------------------------------------


async def test_a_grant_that_shrinks_ends_its_series_at_once_and_leaves_the_rest(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD,ETHUSD&types=trade") as client:
        await client.next_of("subscribed")
        world.doorkeeper.change(KEY, Grant("kraken", ("ETH*",), ("trade",)))
        revoked = await client.next_of("revoked")
        assert revoked["subscriptions"] == [{"feed": "kraken", "data_type": "trade", "symbols": ["BTCUSD"]}]
        await world.publish(trade(1), trade(2, "ETHUSD"))
        assert ids(await client.events(1)) == [2]


async def test_what_waits_for_a_slow_client_is_taken_back_when_its_grant_goes(world: World):
    async with world.running(), world.listening() as port:
        client = await world.dial(port, "?symbols=BTCUSD,ETHUSD&types=trade", receive_bytes=4_096)
        await client.next_of("subscribed")
        (session,) = world.parts.hub._listening
        outbox = session._line._outbox
        published = 0
        while outbox.waiting_bytes < 300_000:  # more than the kernel takes
            await world.publish(*(trade(published + seq) for seq in range(1, 501)))
            published += 500
            await world.parts.hub.reached(published)
        world.doorkeeper.change(KEY, Grant("kraken", ("ETHUSD",)))
        assert outbox.waiting_bytes < 150_000  # a piece may be on its way
        await world.publish(trade(100_000, "ETHUSD"))
        got = []
        while not got or got[-1]["symbol"] != "ETHUSD":
            got += await client.events(1)
        assert len(got) < published
        assert world.meter.of("agent-1") == len(got)


async def test_a_client_that_loses_everything_is_closed_with_4403(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD") as client:
        await client.next_of("subscribed")
        world.doorkeeper.change(KEY, Grant("kraken", ("ETHUSD",)))
        await world.publish(trade(1))
        assert await client.closed() == REVOKED
        assert not [message for message in client.messages if message["type"] == "trade"]


async def test_usage_is_counted_exactly_as_it_was_received(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD&snapshot=true") as client:
        await client.next_of("subscribed")
        await world.publish(trade(1), quote(2), trade(3, "ETHUSD"), trade(4))
        await client.events(3)
    assert dict(world.meter.counts) == {
        ("agent-1", Series("kraken", "trade", "BTCUSD")): 2,
        ("agent-1", Series("kraken", "quote", "BTCUSD")): 1,
    }


# the end -------------------------------------------------------------------------------------------------------


async def test_a_client_that_is_let_in_late_has_its_time_from_then_on(autojump_clock, world: World):
    async with world.running(), world.client("", nothing="here") as client:
        await trio.sleep(4.9)
        await client.say(op="auth", key=KEY)
        await client.next_of("welcome")
        await client.next_of("heartbeat")
        assert trio.current_time() == pytest.approx(9.9)
        assert await client.closed() == NOTHING_ASKED
    assert trio.current_time() == pytest.approx(14.9)


async def settled_tasks() -> int:
    """Return how many tasks there are once nothing is starting or ending any more."""
    await wait_all_tasks_blocked(0.02)
    return trio.lowlevel.current_statistics().tasks_living


async def test_a_session_that_waits_holds_two_tasks_and_none_of_them_to_write(world: World):
    async with world.running(), world.listening() as port:
        before = await settled_tasks()
        client = await world.dial(port, "?symbols=BTCUSD", receive_bytes=4096)
        await client.next_of("subscribed")
        served = before + 2
        assert await settled_tasks() == served
        (session,) = world.parts.hub._listening
        for _ in range(20):
            session.deliver(Chunk((), bytes(50_000)))
        assert trio.lowlevel.current_statistics().tasks_living == served + 1
        while trio.lowlevel.current_statistics().tasks_living > served:
            await client.stream.receive_some()


async def test_a_session_that_asks_for_nothing_is_closed_after_ten_seconds(autojump_clock, world: World):
    async with world.running(), world.client() as client:
        assert await client.closed() == NOTHING_ASKED
        assert trio.current_time() == pytest.approx(10, abs=0.5)


async def test_a_client_without_a_sign_of_life_is_closed(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD") as client:
        client.answers_pings = False
        assert await client.closed() == SILENT
        assert client.pings == 1
        assert trio.current_time() == pytest.approx(30, abs=0.5)


async def test_a_client_that_answers_pings_stays(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD") as client:
        while trio.current_time() < 200:
            await client.next_of("heartbeat")
        assert client.pings >= 8


async def test_a_draining_gateway_sends_what_waits_and_says_come_back(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD") as client:
        await client.next_of("subscribed")
        await world.publish(trade(1))
        await world.parts.hub.reached(1)
        world.parts.hub.dismiss("restart")
        assert ids(await client.events(1)) == [1]
        assert await client.closed() == RESTART


async def test_after_every_end_nothing_of_a_session_is_left(autojump_clock, world: World):
    async with world.running():
        async with world.client("?symbols=BTCUSD") as client:
            await client.next_of("subscribed")
            await client.stream.send_all(client.wire.send(CloseConnection(1000)))
            assert await client.closed() == 1000
            await trio.testing.wait_all_tasks_blocked()
        async with world.client("?symbols=BTCUSD") as client:
            await client.next_of("subscribed")
            await client.stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
        assert (world.parts.hub.sessions, world.doorkeeper.sessions) == (0, [])
