"""Resume against a real nats-server: reconnects, restarts of the gateway, and a server that is killed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from signal import SIGKILL

import pytest
import trio
from msgspec.structs import replace

from ssmd.bus.nats import NatsDialer
from ssmd.bus.server import wait_ready
from ssmd.clock import now_ns
from ssmd.errors import BusDown
from ssmd.gateway.live import hub, searching
from ssmd.model import Event
from tests.bus.conftest import RunningServer, running
from tests.gateway.live_world import Client, World, book, ids, outgoing, quote, trade

pytestmark = pytest.mark.slow
COUNT = 3_000


@pytest.fixture
def server(tmp_path: Path):
    with running(tmp_path / "nats") as made:
        yield made


@pytest.fixture
def world(server: RunningServer) -> World:
    made = World(NatsDialer(server.url))
    made.doorkeeper.admit("agent-1")
    return made


def at_random(random: Random) -> list[Event]:
    make = (trade, quote, book)
    events = [random.choice(make)(seq, random.choice(("BTCUSD", "ETHUSD", "SOLUSD"))) for seq in range(1, COUNT)]
    return [*events, trade(COUNT, "SOLUSD")]


async def publish(world: World, events: list[Event]) -> None:
    """Publish as a connector does: by batches, and again from the last that was acknowledged."""
    done = 0
    while done < len(events):
        try:
            async with world.dialer.connect() as bus:
                while done < len(events):
                    await bus.publish([outgoing(event) for event in events[done : done + 20]])
                    done += 20
                    await trio.sleep(0.01)
        except BusDown:
            await trio.sleep(0.05)


class Reader:
    """Reads with interruptions, each time behind the last message: behind its number or its id."""

    def __init__(self, world: World, behind: str = "pos") -> None:
        self.world = world
        self.behind = behind
        self.got: list[int] = []
        self.start = "pos:0"

    async def read(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            async with self.world.client(f"?symbols=BTCUSD,SOLUSD&from={self.start}") as client:
                if client.refused_with is not None:
                    await trio.sleep(0.05)
                    return
                while client.close_code is None and not self.is_done:
                    await client.read_some()
                    self.take(client)

    def take(self, client: Client) -> None:
        data = [message for message in client.messages if message["type"] in {"trade", "quote", "book"}]
        client.messages.clear()
        self.got += ids(data)
        self.start = f"{self.behind}:{data[-1][self.behind]}" if data else self.start

    @property
    def is_done(self) -> bool:
        return bool(self.got) and self.got[-1] == COUNT


@asynccontextmanager
async def gateway(world: World) -> AsyncIterator[None]:
    world.restart_gateway()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.feed_hub)
        yield
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("behind", "remembers"), [("pos", 50), ("pos", 8_192), ("id", 50)])
async def test_reconnects_and_restarts_lose_and_repeat_nothing(
    world: World, seed: int, behind: str, remembers: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hub, "RECENT_MESSAGES", remembers)
    monkeypatch.setattr(searching, "NEAR", 50)
    random, reader = Random(seed), Reader(world, behind)
    events = at_random(random)
    async with world.running(), trio.open_nursery() as nursery:
        nursery.start_soon(publish, world, events)
        with trio.fail_after(50):
            while not reader.is_done:
                async with gateway(world):
                    for _ in range(3):
                        await reader.read(random.uniform(0.05, 0.4))
    assert reader.got == [event.seq for event in events if event.symbol != "ETHUSD"]


async def test_a_killed_server_costs_live_sessions_nothing(world: World, server: RunningServer, seed: int):
    events = at_random(Random(seed))
    everything = world.client("?symbols=BTCUSD,ETHUSD,SOLUSD")
    async with world.running(), trio.open_nursery() as nursery, everything as client:
        await client.next_of("subscribed")
        nursery.start_soon(publish, world, events)
        got = ids(await client.events(COUNT // 3))
        server.signal(SIGKILL)
        server.kill()
        server.start()
        await wait_ready(server.settings)
        with trio.fail_after(40):
            got += ids(await client.events(COUNT - COUNT // 3))
    assert got == [event.seq for event in events]


async def test_a_message_is_found_among_many_and_what_is_gone_is_refused(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "RECENT_MESSAGES", 50)
    monkeypatch.setattr(searching, "NEAR", 50)
    world.spec = replace(world.spec, max_bytes=2_000_000)
    async with world.running():
        quotes = (quote(seq, ("BTCUSD", "ETHUSD")[seq % 2]) for seq in range(10_000))
        await world.publish(*(replace(one, recv_ns=now_ns()) for one in quotes))
        await world.parts.hub.reached(10_000)
        async with world.dialer.connect() as bus:
            usage = await bus.usage(world.spec.name)
        assert usage is not None
        assert 100 < usage.first_seq < 9_000
        oldest = usage.first_seq // 2 * 2  # of BTCUSD
        with trio.fail_after(20):
            async with world.client() as client:
                for seq in (oldest, 9_000, 9_998):
                    await client.say(**{"op": "subscribe", "symbols": ["BTCUSD"], "from": f"id:kraken/k-0-1/{seq}/0"})
                    await client.next_of("subscribed")
                    count = min(100, (9_998 - seq) // 2)
                    assert ids(await client.events(count)) == list(range(seq + 2, seq + 2 + 2 * count, 2))
                    await client.say(op="unsubscribe", symbols=["BTCUSD"])
                for seq in (oldest - 2, 9_001, 10_000):
                    await client.say(**{"op": "subscribe", "symbols": ["BTCUSD"], "from": f"id:kraken/k-0-1/{seq}/0"})
                    assert (await client.next_of("error"))["oldest_pos"] == usage.first_seq
