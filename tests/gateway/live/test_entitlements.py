"""Exactly what the grants cover is delivered: live, resumed, as a snapshot and replayed."""

from itertools import product

import pytest
import trio
from msgspec.structs import replace

from ssmd.gateway.access import EVENT_TYPES, Grant, Series
from ssmd.model import Event, message_id
from tests.gateway.live_world import KEY, START_NS, World, book, quote, trade

FEEDS = ("kraken", "nyse")
SYMBOLS = ("BTCUSD", "BTCEUR", "ETHUSD")
ALL = tuple(Series(*parts) for parts in product(FEEDS, EVENT_TYPES, SYMBOLS))
PAST, SOON = START_NS - 1, START_NS + 100 * 10**9

GRANTS = [
    (),
    (Grant("kraken", ("*",)),),
    (Grant("kraken", ("BTC*",)),),
    (Grant("kraken", ("BTCUSD",), ("trade",)), Grant("nyse", ("*USD",), ("quote", "book"))),
    (Grant("nyse", ("[BE]*EUR",)),),
    (Grant("kraken", ("*",), (), PAST), Grant("nyse", ("ETHUSD",), (), SOON)),
    (Grant("*", ("*",)), Grant("kraken", ())),
]


def made(series: Series, seq: int) -> Event:
    event = {"trade": trade, "quote": quote, "book": book}[series.type](seq, series.symbol)
    return replace(event, feed=series.feed)


class Everywhere:
    """A catalog of everything there is."""

    def series(self) -> tuple[Series, ...]:
        return ALL


@pytest.fixture
def world() -> World:
    made_one = World()
    made_one.catalog = Everywhere()
    made_one.restart_gateway()
    return made_one


@pytest.mark.parametrize("grants", GRANTS)
@pytest.mark.parametrize("way", ["live", "resume", "behind-id", "snapshot", "replay"])
async def test_exactly_what_the_grants_cover_is_delivered(autojump_clock, world: World, way: str, grants):
    world.doorkeeper.admit("agent-1", key=KEY)
    world.doorkeeper.change(KEY, *grants)
    covered = {series for series in ALL if any(grant.covers(series, START_NS) for grant in grants)}
    seen = made(next((series for series in ALL if series in covered), ALL[0]), 0)
    events = [made(series, seq) for seq, series in enumerate(ALL, 1)]
    asked = {"symbols": SYMBOLS}
    async with world.running(), world.client() as client:
        if way != "live":
            await world.publish(seen, *events)
            await world.parts.hub.reached(len(events) + 1)
        if way == "replay":
            world.archive.stored = [replace(event, recv_ns=event.recv_ns - 10**10) for event in events]
            await client.say(**asked, op="replay", start="-1m", speed="max")
        else:
            starts = {"resume": "pos:1", "behind-id": f"id:{message_id(seen)}"}
            more = {"from": starts.get(way, "now"), "snapshot": way == "snapshot"}
            await client.say(**asked, **more, op="subscribe")
        await trio.testing.wait_all_tasks_blocked()
        if way == "live":
            await world.publish(*events)
        await trio.sleep(1)
        await client.say(op="ping")
        got = await everything_until_pong(client)
    wanted = covered if way != "snapshot" else {series for series in covered if series.type != "trade"}
    assert got == wanted
    assert set(world.meter.counts) == {("agent-1", series) for series in wanted}


async def everything_until_pong(client) -> set[Series]:
    got = set()
    while (message := await client.until(lambda _: True))["type"] != "pong":
        if message["type"] in EVENT_TYPES:
            got.add(Series(message["exchange"], message["type"], message["symbol"]))
    return got
