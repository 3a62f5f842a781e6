"""Going on where one was: nothing is lost and nothing comes twice, whatever happens in between."""

from random import Random

import pytest
import trio
from msgspec.structs import replace

from ssmd.errors import BusDown
from ssmd.gateway.access import Grant
from ssmd.gateway.live import hub, searching
from ssmd.gateway.live.resume import Behind, Since, parse_origin
from ssmd.gateway.problems import Problem
from ssmd.model import message_id
from tests.gateway.live_world import START_NS, STREAM, World, book, ids, quote, trade


@pytest.fixture
def world() -> World:
    made = World()
    made.doorkeeper.admit("agent-1")
    return made


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that remembers next to nothing, so that all but the newest is read from the stream again."""
    monkeypatch.setattr(hub, "RECENT_MESSAGES", 5)


COUNT = 300
LAST = trade(COUNT + 1, "BTCUSD")


async def publish_at_random(world: World, random: Random) -> None:
    make = (trade, quote, book)
    for seq in range(1, COUNT + 2):
        event = random.choice(make)(seq, random.choice(("BTCUSD", "ETHUSD", "SOLUSD"))) if seq <= COUNT else LAST
        while True:
            try:
                await world.publish(event)
                break
            except BusDown:
                await trio.sleep(0.1)
        if random.random() < 0.3:
            await trio.sleep(random.expovariate(20))


def stored(world: World, *symbols: str) -> list[int]:
    found, _ = world.broker.streams["marketdata"].read(0, "md.>", 1_000_000)
    return [int(m.message_id.split("/")[2]) for m in found if m.subject.rpartition(".")[2] in symbols]


BEHIND = {"pos": "pos:{pos}".format_map, "id": "id:{id}".format_map}
"""How a client says where it was, by the last message that it has seen."""


async def read_in_pieces(world: World, random: Random, query: str, behind: str) -> list[int]:
    """Connect again and again behind the last message seen, read a little each time, and return everything."""
    got: list[int] = []
    start = "pos:0"
    while not got or got[-1] != LAST.seq:
        async with world.client(f"?{query}&from={start}") as client:
            with trio.move_on_after(random.expovariate(0.5)):
                for _ in range(random.randrange(1, 60)):
                    (event,) = await client.events(1)
                    got += ids([event])
                    start = BEHIND[behind](event)
                    if event["id"] == message_id(LAST):
                        break
    return got


@pytest.mark.parametrize("run", range(3))
@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("remembers", [5, 8_192])
async def test_reconnecting_behind_the_last_message_loses_and_repeats_nothing(
    autojump_clock, world: World, seed: int, run: int, behind: str, remembers: int, monkeypatch
):
    monkeypatch.setattr(hub, "RECENT_MESSAGES", remembers)
    monkeypatch.setattr(searching, "NEAR", 10)
    random = Random(seed)
    async with world.running(), trio.open_nursery() as nursery:
        nursery.start_soon(publish_at_random, world, random)
        got = await read_in_pieces(world, random, "symbols=BTCUSD,SOLUSD", behind)
        await trio.testing.wait_all_tasks_blocked()
    assert got == stored(world, "BTCUSD", "SOLUSD")


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("remembers", [5, 8_192])
async def test_restarts_of_the_gateway_and_outages_of_the_bus_lose_and_repeat_nothing(
    autojump_clock, world: World, seed: int, behind: str, remembers: int, monkeypatch
):
    monkeypatch.setattr(hub, "RECENT_MESSAGES", remembers)
    monkeypatch.setattr(searching, "NEAR", 10)
    random = Random(seed)
    got: list[int] = []

    async def disturb() -> None:
        while True:
            await trio.sleep(random.expovariate(1))
            world.broker.down()
            await trio.sleep(random.expovariate(4))
            world.broker.up()

    start = "pos:0"
    async with trio.open_nursery() as nursery:
        async with world.running():
            pass  # the stream is there
        nursery.start_soon(publish_at_random, world, random)
        nursery.start_soon(disturb)
        while not got or got[-1] != LAST.seq:
            world.restart_gateway()
            with trio.move_on_after(random.expovariate(0.3)):
                async with trio.open_nursery() as gateway:
                    gateway.start_soon(world.feed_hub)
                    while True:
                        async with world.client(f"?symbols=BTCUSD,SOLUSD&from={start}") as client:
                            while client.refused_with is None and client.close_code is None:
                                if not client.messages:
                                    await client.read_some()
                                    continue
                                event = client.messages.pop(0)
                                if event["type"] == "error":
                                    break
                                if event["type"] in {"trade", "quote", "book"}:
                                    got += ids([event])
                                    start = BEHIND[behind](event)
                                if got and got[-1] == LAST.seq:
                                    gateway.cancel_scope.cancel()
                                    await trio.lowlevel.checkpoint()
                        await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    assert got == stored(world, "BTCUSD", "SOLUSD")


async def test_a_quiet_series_goes_live_at_once_although_the_stream_has_moved_far_on(
    autojump_clock, world: World, forgetful
):
    async with world.running():
        await world.publish(trade(1, "SOLUSD"), *(trade(seq) for seq in range(2, 60)))
        await world.parts.hub.reached(59)
        async with world.client("?symbols=SOLUSD&from=pos:1") as client:
            await client.next_of("subscribed")
            await world.publish(trade(60, "SOLUSD"))
            assert ids(await client.events(1)) == [60]
            assert trio.current_time() < 1


async def test_all_of_a_long_way_back_comes_without_a_pause_and_goes_on_live(autojump_clock, world: World, forgetful):
    async with world.running():
        await world.publish(*(trade(seq) for seq in range(1, 2_001)))
        await world.parts.hub.reached(2_000)
        async with world.client("?symbols=BTCUSD&from=pos:0") as client:
            assert ids(await client.events(2_000)) == list(range(1, 2_001))
            await world.publish(trade(2_001))
            assert ids(await client.events(1)) == [2_001]
            assert trio.current_time() < 1
            for _ in range(3):
                await client.next_of("heartbeat")  # a reading that had not ended would have failed by now


async def _never(*_args: object) -> None:
    await trio.sleep_forever()


async def test_a_heartbeat_claims_no_place_while_one_catches_up(autojump_clock, world: World, monkeypatch):
    """Who came back with it would miss what had not been sent yet."""
    async with world.running():
        await world.publish(trade(1), trade(2))
        await world.parts.hub.reached(2)
        monkeypatch.setattr(world.parts.rewinder, "read", _never)
        async with world.client("?symbols=BTCUSD&from=pos:0") as client:
            assert (await client.next_of("heartbeat"))["pos"] is None


async def test_a_time_gives_everything_received_from_then_on(autojump_clock, world: World, forgetful):
    async with world.running():
        for seq in range(1, 40):
            await world.publish(trade(seq * 1_000))  # received a second apart, and stored when received
            await trio.sleep(1)
        async with world.client("?symbols=BTCUSD&from=-5s") as client:
            await world.publish(trade(40_000))
            assert ids(await client.events(7)) == [34_000, 35_000, 36_000, 37_000, 38_000, 39_000, 40_000]


async def test_a_time_after_the_last_message_begins_with_the_next_one(autojump_clock, world: World):
    async with world.running():
        await world.publish(trade(1))
        await trio.sleep(3_600)
        async with world.client("?symbols=BTCUSD&from=-1m") as client:
            await client.next_of("subscribed")
            await world.publish(trade(3_600_000))
            assert ids(await client.events(1)) == [3_600_000]


async def test_past_retention_the_answer_names_the_oldest_number_and_nothing_is_subscribed(
    autojump_clock, world: World, forgetful
):
    world.spec = replace(STREAM, max_bytes=20_000)
    async with world.running():
        await trio.sleep(10)
        await world.publish(*(trade(10_000 + seq) for seq in range(500)))
        first = world.broker.streams["marketdata"].first_seq
        assert first > 100
        async with world.client() as client:
            for start in ("pos:7", "2025-12-06T14:00:00Z"):
                await client.say(**{"op": "subscribe", "id": start, "symbols": ["BTCUSD"], "from": start})
                error = await client.next_of("error")
                assert (error["id"], error["code"], error["oldest_pos"]) == (start, "resume_expired", first)
                assert "GET /api/v1/trades" in error["hint"]
            await client.say(op="list")
            assert (await client.next_of("subscribed"))["subscriptions"] == []
            await client.say(**{"op": "subscribe", "symbols": ["BTCUSD"], "from": f"pos:{first - 1}"})
            assert (await client.events(1))[0]["pos"] == first


async def test_a_stream_that_was_made_anew_is_not_taken_for_the_old_one(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD") as before:
        stream = (await before.next_of("welcome"))["stream"]
        await world.publish(*(trade(seq) for seq in range(1, 20)))
        await before.events(19)
        await trio.sleep(1)
        del world.broker.streams["marketdata"]
        world.broker.drop_connections()
        async with world.dialer.connect() as bus:
            await bus.ensure_stream(world.spec)
        await world.publish(*(trade(seq) for seq in range(100, 110)))
        assert await before.closed() == 1012
        for start in ("pos:19", f"pos:5@{stream}"):
            async with world.client(f"?symbols=BTCUSD&from={start}") as after:
                assert (await after.next_of("error"))["code"] == "resume_expired"


async def test_subscribing_again_with_a_point_starts_the_series_over_from_there(autojump_clock, world: World):
    async with world.running(), world.client("?symbols=BTCUSD,ETHUSD") as client:
        await client.next_of("subscribed")
        await world.publish(trade(1), trade(2), trade(3, "ETHUSD"))
        await client.events(3)
        await client.say(**{"op": "subscribe", "symbols": ["BTCUSD"], "from": "pos:1"})
        assert ids(await client.events(1)) == [2]
        await world.publish(trade(4), trade(5, "ETHUSD"))
        assert sorted(ids(await client.events(2))) == [4, 5]


async def test_an_unsubscribed_or_revoked_series_stops_in_the_middle_of_catching_up(
    autojump_clock, world: World, forgetful
):
    async with world.running():
        await world.publish(*(trade(seq, ("BTCUSD", "ETHUSD")[seq % 2]) for seq in range(1, 4_000)))
        async with world.client("?symbols=BTCUSD,ETHUSD&from=pos:0") as client:
            await client.events(1)
            world.doorkeeper.change("ssmd_testtest_0123456789abcdef", Grant("kraken", ("ETHUSD",)))
            await client.next_of("revoked")
            rest = await client.events(1_500)
            assert {event["symbol"] for event in rest} == {"ETHUSD"}


@pytest.mark.parametrize(
    "text", ["pos:", "pos:x", "pos:-1", "yesterday", "-5x", "pos:1@ZZ", "id:", "id:1", "2999-01-01", "-", ""]
)
def test_what_is_no_point_is_refused_by_name(text: str):
    with pytest.raises(Problem, match="from") as caught:
        parse_origin(text, START_NS)
    assert caught.value.code == "invalid_parameter"


def test_a_point_is_a_number_or_a_time():
    assert parse_origin("now", START_NS) is None
    assert parse_origin("pos:12@a1", START_NS) == Behind(12, "a1")
    assert parse_origin("-5m", START_NS) == Since(START_NS - 300 * 10**9)
    assert parse_origin("2025-12-06T14:00:00.5+00:00", START_NS + 10**9) == Since(START_NS + 5 * 10**8)


async def test_a_snapshot_beside_from_is_not_left_out_without_a_word(autojump_clock, world: World):
    async with world.running():
        await world.publish(quote(1, "BTCUSD"))
        async with world.client("?symbols=BTCUSD&from=pos:0&snapshot=true") as client:
            told = await client.next_of("subscribed")
            assert told["warnings"] == ["no snapshot: `from` brings the messages themselves"]
        async with world.client("?symbols=BTCUSD&from=pos:0") as client:
            assert (await client.next_of("subscribed"))["warnings"] == []
