"""The archive through the same messages, at the speed that was asked for."""

import pytest
import trio
from msgspec.structs import replace

from ssmd.clock import NS_PER_S
from ssmd.gateway.access import Grant
from ssmd.gateway.history.quality import Window
from ssmd.gateway.times import rfc3339
from ssmd.model import Trade
from tests.gateway.live_world import KEY, START_NS, World, ids, quote, trade

PERIOD = {"start": "2025-12-06T13:50:00Z", "end": "2025-12-06T14:00:00Z"}


def archived(second: int) -> Trade:
    event = trade(second, ("BTCUSD", "ETHUSD")[second % 2])
    return replace(event, recv_ns=START_NS - (600 - second) * NS_PER_S)


@pytest.fixture
def world() -> World:
    made = World()
    made.doorkeeper.admit("agent-1")
    made.archive.stored = [archived(seq) for seq in range(1, 600)]
    return made


async def started(world: World, client, **more) -> float:
    await client.say(**{"op": "replay", "id": 9, "symbols": ["BTCUSD"], **PERIOD, **more})
    assert (await client.next_of("replay_started"))["id"] == 9
    return trio.current_time()


@pytest.mark.parametrize(("speed", "took_s"), [("1x", 598), ("10x", 59.8), ("max", 0)])
async def test_a_replay_takes_as_long_as_its_speed_says(autojump_clock, world: World, speed: str, took_s: float):
    async with world.running(), world.client("?symbols=SOLUSD") as client:
        began_s = await started(world, client, speed=speed)
        events = await client.events(299)
        assert trio.current_time() - began_s == pytest.approx(took_s, abs=0.5)
        assert ids(events) == list(range(2, 600, 2))
        assert "pos" not in events[0]
        ended = await client.next_of("replay_ended")
        assert (ended["id"], ended["messages"], ended["complete"]) == (9, 299, True)
        assert world.meter.of("agent-1") == 299


def second(number: float) -> int:
    return START_NS - int((600 - number) * NS_PER_S)


async def test_a_gap_is_told_in_its_place(autojump_clock, world: World):
    """Mutant: only what is there is sent; who replays takes it for everything that was."""
    world.archive.missing = [
        Window(second(100.5), second(120), "kraken", ("BTCUSD",), "missing", "reset"),
        Window(second(-900), second(10.5), "kraken", (), "missing", "not_captured"),
        Window(second(590), None, "kraken", ("BTCUSD", "ETHUSD"), "suspect", "checksum"),
        Window(second(300), second(301), "kraken", ("ETHUSD",), "missing", "reset"),
    ]
    async with world.running(), world.client("?symbols=SOLUSD") as client:
        await started(world, client, speed="max", types=["trade"])
        heard = []
        while (message := await client.next_of("gap", "trade", "replay_ended"))["type"] != "replay_ended":
            heard.append(message)
    gaps = [message for message in heard if message["type"] == "gap"]
    assert [(gap["reason"], gap["symbols"], gap["data_type"], gap["id"]) for gap in gaps] == [
        ("not_captured", ["BTCUSD"], "trade", 9), ("reset", ["BTCUSD"], "trade", 9), ("checksum", ["BTCUSD"], "trade", 9),
    ]  # fmt: skip
    places = [heard.index(gap) for gap in gaps]
    before = [int(heard[place - 1]["id"].split("/")[2]) if place else 0 for place in places]
    assert before == [0, 100, 588]
    assert (gaps[0]["start"], gaps[2]["end"]) == (rfc3339(second(0)), rfc3339(second(600)))


async def test_live_messages_go_on_during_a_replay(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD&types=quote") as client:
        await started(world, client)
        await client.events(5)
        await world.publish(quote(1))
        assert "pos" in await client.next_of("quote")


async def test_a_replay_can_be_stopped_and_one_runs_at_a_time(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=SOLUSD") as client:
        await started(world, client)
        await client.say(op="replay", id=10, symbols=["BTCUSD"], **PERIOD)
        assert (await client.next_of("error"))["code"] == "conflict"
        await client.say(op="stop")
        assert (await client.next_of("replay_ended"))["complete"] is False
        await client.say(op="replay", id=11, symbols=["BTCUSD"], **PERIOD)
        assert (await client.next_of("replay_started"))["id"] == 11


async def test_a_grant_that_goes_ends_what_is_replayed_of_it(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=SOLUSD") as client:
        await started(world, client, symbols=["BTCUSD", "ETHUSD"])
        await client.events(4)
        world.doorkeeper.change(KEY, Grant("kraken", ("ETHUSD", "SOLUSD")))
        await client.next_of("revoked")
        assert {event["symbol"] for event in await client.events(100)} == {"ETHUSD"}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"start": "x"}, "invalid_parameter"),
        ({"speed": "0x"}, "invalid_parameter"),
        ({"speed": "fast"}, "invalid_parameter"),
        ({"start": "2025-12-06T14:00:00Z"}, "start_after_end"),
    ],
)
async def test_a_replay_that_makes_no_sense_is_refused(autojump_clock, world: World, more: dict, code: str):
    async with world.running(), world.client("?symbols=SOLUSD") as client:
        await client.say(**{"op": "replay", "id": 1, "symbols": ["BTCUSD"], **PERIOD, **more})
        assert (await client.next_of("error"))["code"] == code
