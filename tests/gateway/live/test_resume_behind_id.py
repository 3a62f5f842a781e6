"""Going on behind a message that is named by its id: what the gateway remembers, what it looks for, what it refuses."""

import pytest
import trio
from msgspec.structs import replace

from ssmd.clock import NS_PER_S
from ssmd.gateway.access import EVENT_TYPES, Grant, Series
from ssmd.gateway.live import hub, hub_reader, resume
from ssmd.gateway.live.searching import Search
from ssmd.model import Event, message_id
from tests.gateway.live_world import KEY, START_NS, STREAM, Client, World, book, ids, quote, trade


@pytest.fixture
def world() -> World:
    made = World()
    made.doorkeeper.admit("agent-1")
    return made


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "RECENT_MESSAGES", 5)


async def told(client: Client, start: str, *symbols: str) -> dict:
    """Return what a subscription is answered with."""
    await client.say(**{"op": "subscribe", "id": "s", "symbols": symbols or ["BTCUSD"], "from": start})
    return await client.until(lambda message: message.get("id") == "s")


@pytest.mark.parametrize("remembers", [5, 8_192])
async def test_behind_a_message_all_series_that_are_asked_for_go_on(
    autojump_clock, world: World, monkeypatch, remembers: int
):
    monkeypatch.setattr(hub, "RECENT_MESSAGES", remembers)
    kinds = (trade, quote, book)
    events = [kinds[seq % 3](seq, ("BTCUSD", "ETHUSD", "SOLUSD", "BTCUSD")[seq % 4]) for seq in range(60)]
    async with world.running():
        await world.publish(*events)
        await world.parts.hub.reached(60)
        async with world.client(f"?symbols=BTCUSD,SOLUSD&from=id:{message_id(events[20])}") as client:
            wanted = [event.seq for event in events[21:] if event.symbol != "ETHUSD"]
            assert ids(await client.events(len(wanted))) == wanted
            await world.publish(trade(60), trade(61, "ETHUSD"), trade(62, "SOLUSD"))
            assert ids(await client.events(2)) == [60, 62]


async def test_messages_of_one_frame_are_told_apart(autojump_clock, world: World, forgetful):
    async with world.running():
        await world.publish(*(replace(trade(seq), n=n) for seq in range(20) for n in range(3)))
        await world.parts.hub.reached(60)
        async with world.client("?symbols=BTCUSD&from=id:kraken/k-0-1/7/1") as client:
            assert [event["id"] for event in await client.events(2)] == ["kraken/k-0-1/7/2", "kraken/k-0-1/8/0"]


async def test_behind_the_last_message_comes_what_is_new(autojump_clock, world: World):
    async with world.running():
        await world.publish(trade(1), trade(2))
        await world.parts.hub.reached(2)
        async with world.client(f"?symbols=BTCUSD&from=id:{message_id(trade(2))}") as client:
            await client.next_of("subscribed")
            await world.publish(trade(3))
            assert ids(await client.events(1)) == [3]


async def test_what_the_gateway_remembers_is_not_looked_for(autojump_clock, world: World, monkeypatch):
    async def never(*_args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Search, "pos", never)
    async with world.running():
        await world.publish(trade(1), trade(2))
        await world.parts.hub.reached(2)
        async with world.client() as client:
            assert (await told(client, f"id:{message_id(trade(1))}"))["type"] == "subscribed"
            assert ids(await client.events(1)) == [2]


@pytest.mark.parametrize("behind", [7, 9])
@pytest.mark.parametrize("remembers", [5, 18, 8_192])
async def test_what_was_published_again_comes_once_and_nothing_in_between_is_missed(
    autojump_clock, world: World, monkeypatch, remembers: int, behind: int
):
    """A connector that was away for longer than the bus knows a message again repeats the last ones."""
    monkeypatch.setattr(hub, "RECENT_MESSAGES", remembers)
    monkeypatch.setattr(hub_reader, "RECENT_MESSAGES", remembers)
    world.doorkeeper.admit("agent-1", Grant("kraken", ("*",)), Grant("nyse", ("*",)))
    world.catalog = _Both()
    first = [replace(trade(seq), recv_ns=START_NS) for seq in range(10)]
    other = [replace(trade(seq), feed="nyse", recv_ns=START_NS) for seq in range(100, 105)]
    new = [replace(trade(seq), recv_ns=START_NS + 1_200 * NS_PER_S) for seq in range(10, 20)]
    async with world.running():
        await world.publish(*first, *other)
        await trio.sleep(1_200)
        await world.publish(*first[4:], *new)
    world.restart_gateway()
    async with world.running(), world.client(f"?symbols=BTCUSD&from=id:{message_id(first[behind])}") as client:
        wanted = [*range(behind + 1, 10), *range(100, 105), *range(10, 20)]
        with trio.fail_after(60):
            assert ids(await client.events(len(wanted))) == wanted


class _Both:
    """A catalog of one symbol of two feeds."""

    def series(self) -> list[Series]:
        return [Series(feed, kind, "BTCUSD") for feed in ("kraken", "nyse") for kind in EVENT_TYPES]


# refused --------------------------------------------------------------------------------------------------------


async def test_a_message_that_is_not_kept_any_more_is_refused_and_nothing_is_subscribed(
    autojump_clock, world: World, forgetful
):
    world.spec = replace(STREAM, max_bytes=20_000)
    async with world.running():
        await world.publish(*(trade(seq) for seq in range(500)))
        first = world.broker.streams["marketdata"].first_seq
        assert first > 100
        async with world.client() as client:
            error = await told(client, f"id:{message_id(trade(50))}")
            assert (error["code"], error["oldest_pos"]) == ("resume_expired", first)
            assert "GET /api/v1/trades" in error["hint"]
            await client.say(op="list")
            assert (await client.next_of("subscribed"))["subscriptions"] == []
            assert (await told(client, f"id:{message_id(trade(first))}"))["type"] == "subscribed"
            assert ids(await client.events(1)) == [first + 1]


@pytest.mark.parametrize("remembers", [5, 8_192])
@pytest.mark.parametrize("hidden", [trade(20, "ETHUSD"), quote(20), replace(trade(20), feed="nyse")])
async def test_a_message_of_a_series_that_may_not_be_read_is_as_unknown_as_none(
    autojump_clock, world: World, monkeypatch, hidden: Event, remembers: int
):
    monkeypatch.setattr(hub, "RECENT_MESSAGES", remembers)
    world.doorkeeper.admit("agent-1", Grant("kraken", ("BTC*",), ("trade",)), key=KEY)
    async with world.running():
        await world.publish(*(hidden if seq == 20 else trade(seq) for seq in range(40)))
        await world.parts.hub.reached(40)
        async with world.client() as client:
            answers = [
                await told(client, f"id:{text}")
                for text in (
                    message_id(hidden),
                    f"{hidden.feed}/k-0-1/20/7",
                    "kraken/never-0-1/20/0",
                    "none/k-0-1/20/0",
                )
            ]
            assert answers[0]["code"] == "resume_expired"
            assert all(answer == answers[0] for answer in answers)
            assert (await told(client, f"id:{message_id(trade(19))}"))["type"] == "subscribed"
            assert ids(await client.events(1)) == [21]


async def test_a_message_that_is_not_of_what_is_asked_for_is_unknown_too(autojump_clock, world: World):
    async with world.running():
        await world.publish(trade(1), trade(2, "ETHUSD"), trade(3))
        await world.parts.hub.reached(3)
        async with world.client() as client:
            assert (await told(client, f"id:{message_id(trade(2))}"))["code"] == "resume_expired"
            assert (await told(client, f"id:{message_id(trade(2))}", "ETHUSD", "BTCUSD"))["type"] == "subscribed"
            assert ids(await client.events(1)) == [3]


async def test_a_symbol_that_does_not_exist_is_what_is_told_of_it(autojump_clock, world: World):
    async with world.running():
        await world.publish(trade(1))
        await world.parts.hub.reached(1)
        async with world.client() as client:
            for start in (f"id:{message_id(trade(1))}", "id:kraken/never-0-1/1/0"):
                await client.say(**{"op": "subscribe", "symbols": ["NOSUCH"], "from": start})
                answer = await client.next_of("subscribed")
                assert (answer["subscriptions"], answer["refused"][0]["code"]) == ([], "unknown_symbol")


async def test_what_is_taken_away_during_the_search_is_not_subscribed(autojump_clock, world: World, monkeypatch):
    """The place was found while it could be read; from then on nothing of it comes."""

    async def slow(*_args: object) -> int:
        await trio.sleep(1)
        return 1

    monkeypatch.setattr(Search, "pos", slow)
    async with world.running():
        await world.publish(trade(1), trade(2), trade(3, "ETHUSD"))
        await world.parts.hub.reached(3)
        async with world.client() as client:
            await client.say(**{"op": "subscribe", "symbols": ["BTCUSD", "ETHUSD"], "from": "id:kraken/k-0-9/1/0"})
            await trio.sleep(0.5)
            world.doorkeeper.change(KEY, Grant("kraken", ("ETHUSD",)))
            answer = await client.next_of("subscribed")
            assert {one["symbol"] for one in answer["refused"]} == {"BTCUSD"}
            assert ids(await client.events(1)) == [3]


async def test_a_search_that_takes_too_long_says_when_to_come_back(autojump_clock, world: World, monkeypatch):
    async def endless(*_args: object) -> int:
        return await trio.sleep_forever()

    monkeypatch.setattr(Search, "pos", endless)
    async with world.running():
        await world.publish(trade(1))
        async with world.client() as client:
            began_s = trio.current_time()
            error = await told(client, "id:kraken/k-0-9/1/0")
            assert (error["code"], error["retry_after_s"]) == ("unavailable", 5)
            assert trio.current_time() - began_s <= resume.SEARCH_WITHIN_S + 0.1


async def test_while_the_bus_is_away_it_is_not_said_that_a_message_is_unknown(autojump_clock, world: World, forgetful):
    async with world.running():
        await world.publish(*(trade(seq) for seq in range(50)))
        await world.parts.hub.reached(50)
        async with world.client() as client:
            world.broker.down()
            assert (await told(client, f"id:{message_id(trade(20))}"))["code"] == "unavailable"
            world.broker.up()
            assert (await told(client, f"id:{message_id(trade(20))}"))["type"] == "subscribed"
            assert ids(await client.events(1)) == [21]
