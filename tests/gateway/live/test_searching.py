"""A message is found in the stream by its identity: where it was stored first, and with few looks."""

from collections.abc import Collection, Sequence
from contextlib import asynccontextmanager
from math import log2
from random import Random

import pytest
import trio
from msgspec.structs import replace

from ssmd.bus.base import FROM_NOW, Bus, Consumer, Incoming, Outgoing, Start
from ssmd.gateway.access import EVENT_TYPES, Series
from ssmd.gateway.live import searching
from ssmd.gateway.live.identity import Identity
from ssmd.gateway.live.searching import Search
from ssmd.model import Event, message_id
from tests.gateway.live_world import STREAM, World, outgoing, quote, trade, virtual_now_ns

SYMBOLS = ("BTCUSD", "ETHUSD", "SOLUSD")
BTC = tuple(Series("kraken", kind, "BTCUSD") for kind in EVENT_TYPES)
ALL = tuple(Series("kraken", kind, symbol) for kind in EVENT_TYPES for symbol in SYMBOLS)


@pytest.fixture(autouse=True)
def small_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a test's stream is a long one."""
    monkeypatch.setattr(searching, "NEAR", 10)
    monkeypatch.setattr(searching, "LOOK_MESSAGES", 5)


class Dribbling:
    """A consumer that gives less at a time than it is asked for, as one over a network may."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.present = consumer.present

    async def fetch(self, limit: int, within_s: float) -> Sequence[Incoming]:
        return await self._consumer.fetch(min(limit, 2), within_s)


class Watched:
    """A connection that notes where a search looks."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.looks: list[tuple[str, Start]] = []

    @asynccontextmanager
    async def listen(self, stream: str, subject: str, start: Start = FROM_NOW):
        self.looks.append((subject, start))
        async with self.bus.listen(stream, subject, start) as consumer:
            yield Dribbling(consumer)


async def searched(world: World, wanted: str, series: Collection[Series]) -> tuple[int | None, list[tuple[str, Start]]]:
    """Return where a message is, and where was looked for it."""
    identity = Identity.parse(wanted)
    assert identity is not None
    async with world.dialer.connect() as bus:
        usage = await bus.usage(STREAM.name)
        assert usage is not None
        watched = Watched(bus)
        return await Search(watched, STREAM.name, identity, series).pos(usage), watched.looks


async def found(world: World, wanted: str, series: Collection[Series] = ALL) -> int | None:
    return (await searched(world, wanted, series))[0]


async def filled(world: World, messages: Sequence[Event | Outgoing]) -> None:
    async with world.dialer.connect() as bus:
        await bus.ensure_stream(world.spec)
        await bus.publish([each if isinstance(each, Outgoing) else outgoing(each) for each in messages])


def received_now(event: Event) -> Event:
    return replace(event, recv_ns=virtual_now_ns())


class Slots:
    """Names connections as a connector does: each slot has a new one now and then, and all have when it starts anew."""

    def __init__(self, random: Random, slots: int) -> None:
        self._random = random
        self._slots = slots
        self._boot = 100
        self._start()

    def _start(self) -> None:
        self._boot += 1
        self._nth = 0
        self._names = [self._named(slot) for slot in range(self._slots)]

    def _named(self, slot: int) -> str:
        self._nth += 1
        return f"b{self._boot}-{slot}-{self._nth}"

    def of(self, symbol: str) -> str:
        """Return the connection that the next message of a symbol comes from: always one of the same slot."""
        slot = SYMBOLS.index(symbol) % self._slots
        if self._random.random() < 0.002:
            self._start()
        if self._random.random() < 0.01:
            self._names[slot] = self._named(slot)
        return self._names[slot]


def at_random(random: Random, count: int, slots: int) -> list[Event]:
    """Return messages of one feed in the order of publishing, each with an id of its own, and some of another feed."""
    events, names = list[Event](), Slots(random, slots)
    for seq in range(count):
        symbol = random.choice(SYMBOLS)
        event = random.choice((trade, quote))(seq, symbol, names.of(symbol))
        events.append(received_now(replace(event, feed=random.choice(("kraken", "kraken", "nyse")))))
    return events


@pytest.mark.parametrize("slots", [1, 3])
async def test_each_message_is_found_where_it_lies_with_few_looks(autojump_clock, seed: int, slots: int):
    random, world = Random(seed), World()
    events = at_random(random, 2_000, slots)
    await filled(world, events)
    for at in random.sample([at for at, event in enumerate(events) if event.feed == "kraken"], 60):
        pos, looks = await searched(world, message_id(events[at]), ALL)
        assert pos == at + 1
        assert len(looks) <= slots * log2(len(events))


async def test_a_slot_that_says_little_beside_one_that_says_much_is_found_too(autojump_clock, seed: int):
    random, world = Random(seed), World()
    quiet = {"BTCUSD": "k-0-1", "ETHUSD": "k-0-1", "SOLUSD": "k-1-2"}
    symbols = [random.choice(("BTCUSD", "ETHUSD")) if random.random() < 0.02 else "SOLUSD" for _ in range(3_000)]
    events = [received_now(quote(seq, symbol, quiet[symbol])) for seq, symbol in enumerate(symbols)]
    await filled(world, events)
    for at in [seq for seq, symbol in enumerate(symbols) if symbol != "SOLUSD"][:40]:
        pos, looks = await searched(world, message_id(events[at]), ALL)
        assert pos == at + 1
        assert len(looks) <= 2 * len(ALL) * log2(len(events))


@pytest.mark.parametrize(
    "text",
    ["k-0-1/11/0", "k-0-1/1000/1", "k-0-1/0/0", "k-0-1/2001/0", "k-0-2/10/0", "j-0-1/10/0", f"k-0-1/{10**18 - 1}/0"],
)
async def test_what_is_not_there_is_not_found_with_few_looks_either(autojump_clock, text: str):
    world = World()
    await filled(world, [trade(seq) for seq in range(10, 2_000, 2)])
    pos, looks = await searched(world, f"kraken/{text}", ALL)
    assert pos is None
    assert len(looks) <= log2(1_000)


@pytest.mark.parametrize("conn", ["k-1-1", "unheard", "0"])
async def test_a_name_that_nobody_has_given_costs_a_bounded_number_of_looks(
    autojump_clock, monkeypatch: pytest.MonkeyPatch, conn: str
):
    monkeypatch.setattr(searching, "MAX_LOOKS", 20)
    world = World()
    await filled(world, [trade(seq) for seq in range(1_000)])
    pos, looks = await searched(world, f"kraken/{conn}/10/0", ALL)
    assert pos is None
    assert len(looks) <= 21


async def test_an_empty_stream_and_no_series_have_nothing(autojump_clock):
    world = World()
    await filled(world, [])
    assert await found(world, "kraken/k-0-1/1/0") is None
    await filled(world, [trade(1)])
    assert await found(world, "kraken/k-0-1/1/0", ()) is None


@pytest.mark.parametrize("at", [3, 197])
async def test_a_connection_that_was_silent_for_long_hides_nothing(autojump_clock, at: int):
    """Another slot alone fills most of the stream, and tells nothing of what lies before it or behind."""
    world = World()
    ends = [quote(seq, "BTCUSD", "k-0-1") for seq in range(200)]
    middle = [quote(seq, "ETHUSD", "k-1-2") for seq in range(1_500)]
    events = [received_now(event) for event in (*ends[:100], *middle, *ends[100:])]
    await filled(world, events)
    assert await found(world, message_id(ends[at])) == at + 1 + (1_500 if at >= 100 else 0)


async def test_a_message_that_cannot_be_read_is_not_found_and_hides_no_other(autojump_clock):
    world = World()
    events = [outgoing(received_now(trade(seq))) for seq in range(200)]
    events[57] = replace(events[57], payload=b"no message")
    events[99] = replace(events[99], message_id="no identity")
    await filled(world, events)
    assert [await found(world, f"kraken/k-0-1/{seq}/0") for seq in (57, 56, 58, 99, 98, 100)] == [
        None, 57, 59, None, 99, 101,
    ]  # fmt: skip


# published again -------------------------------------------------------------------------------------------------


async def published_again(world: World) -> list[Event]:
    """Publish, be away for longer than the bus knows a message again, and repeat the last ones, then go on."""
    events = [received_now(trade(seq)) for seq in range(100)]
    await filled(world, events)
    await filled(world, [replace(received_now(trade(seq)), feed="nyse") for seq in range(300)])
    await trio.sleep(3_600)
    later = [received_now(trade(seq)) for seq in range(100, 400)]
    await filled(world, [*events[60:], *later])
    return [*events, *later]


@pytest.mark.parametrize("series", [ALL, BTC])
async def test_of_a_message_that_was_published_again_the_first_copy_counts(autojump_clock, series):
    """Behind the second one, all would be missing that other feeds have sent in between."""
    world = World()
    events = await published_again(world)
    for seq in (0, 59, 60, 77, 99):
        assert await found(world, message_id(events[seq]), series) == seq + 1
    assert await found(world, message_id(events[100]), series) == 441


async def test_a_message_that_was_late_by_hours_is_found_too(autojump_clock):
    world = World()
    early = [received_now(trade(seq)) for seq in range(50)]
    await filled(world, early)
    late = [received_now(trade(seq)) for seq in range(50, 150)]
    await trio.sleep(7_200)
    await filled(world, late)
    assert await found(world, message_id(late[70])) == 121


async def test_when_the_first_copy_may_be_gone_there_is_none(autojump_clock):
    world = World()
    events = await published_again(world)
    stream = world.broker.streams[STREAM.name]
    stream.spec = replace(STREAM, max_bytes=stream.stored_bytes * 2 // 3)
    stream.keep_limits()
    assert stream.first_seq > 100
    assert await found(world, message_id(events[77])) is None
    assert await found(world, message_id(events[350])) is not None


# what may not be read ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("near", [10, 300])
async def test_the_way_of_a_search_does_not_tell_what_there_is_of_other_series(
    autojump_clock, monkeypatch: pytest.MonkeyPatch, near: int
):
    monkeypatch.setattr(searching, "NEAR", near)
    ways = []
    for stand_in in ("ETHUSD", None):
        world = World()
        events = [received_now(trade(seq, ("BTCUSD", "ETHUSD", "SOLUSD")[seq % 3])) for seq in range(1_000)]
        if stand_in is None:
            events[500] = replace(events[500], feed="nyse")
        assert events[500].symbol == "SOLUSD"
        await filled(world, events)
        ways.append(await searched(world, "kraken/k-0-1/500/0", [one for one in ALL if one.symbol != "SOLUSD"]))
    assert ways[0] == ways[1]
    assert ways[0][0] is None
