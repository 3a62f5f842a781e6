"""Whatever a window covers and whenever it is asked for: archive and stream give every event once, in order."""

from contextlib import asynccontextmanager
from random import Random

import pytest
import trio

from ssmd.actors.edition import Edition
from ssmd.archive.remembering import RememberingStore
from ssmd.blocking import inline
from ssmd.clock import NS_PER_S, minute_of
from ssmd.codec import marketdata
from ssmd.gateway.access import Series
from ssmd.gateway.history.link import DialEachTime
from ssmd.gateway.history.plan import Plan, Source, Span, key_of
from ssmd.gateway.history.reader import Archive, MinuteReader
from ssmd.model import EVENT_TYPES, type_of
from tests.actors.fakes import START_NS, virtual_now_ns
from tests.reprocess.live import LiveSystem
from tests.reprocess.world import FEED

WINDOWS = 1_000
ASKING_AT_ONCE = 30
SYMBOLS = ("BTCUSD", "ETHUSD", "SOLUSD")
SOURCE = Source(FEED, "v1", Edition(FEED, "v1").durable)


class Everything:
    """What was ever published, by the order of the stream: nothing has left it yet."""

    def __init__(self, broker) -> None:
        self._stream = broker.streams["marketdata"]
        self._events = []

    def through(self, seq: int) -> list:
        new, _ = self._stream.read(len(self._events), "md.>", 1_000_000)
        for message in new:
            self._events.append(marketdata.decode(message.subject.split(".")[2], message.payload))
        return self._events[:seq]

    @property
    def last_seq(self) -> int:
        return self._stream.last_seq


class SlowSource(DialEachTime):
    """Time passes before the bus answers and after, so that what was asked for in a wrong order shows."""

    def __init__(self, dialer, random: Random) -> None:
        super().__init__(dialer)
        self._random = random

    @asynccontextmanager
    async def use(self):
        await trio.sleep(self._random.choice((0, 1, 6)) * self._random.random())
        async with super().use() as bus:
            yield bus
        await trio.sleep(self._random.choice((0, 1, 6)) * self._random.random())


def wanted(plan: Plan, events: list) -> list:
    series = {(one.type, one.symbol) for one in plan.series}
    near = [event for event in events if event.recv_ns in plan.span]
    found = {key_of(event): event for event in near if (type_of(event), event.symbol) in series}
    return [found[key] for key in sorted(found)]


def random_plan(random: Random) -> Plan:
    """Mostly about the last minutes, where the border is."""
    now_ns = virtual_now_ns()
    end_ns = (
        now_ns
        - int(random.choice((0, 0, 5, 60)) * random.random() * NS_PER_S)
        + random.choice((0, 1, NS_PER_S, 60 * NS_PER_S))
    )
    start_ns = max(START_NS, end_ns - int(random.choice((3, 90, 150, 300)) * random.random() * NS_PER_S))
    if random.random() < 0.1:
        start_ns = minute_of(start_ns)
    kinds = random.sample(EVENT_TYPES, random.choice((1, 1, 2, 3)))
    symbols = random.sample(SYMBOLS, random.choice((1, 1, 2, 3)))
    series = frozenset(Series(FEED, kind, symbol) for kind in kinds for symbol in symbols)
    return Plan((SOURCE,), series, Span(start_ns, max(start_ns, end_ns)), newest_first=random.random() < 0.3)


async def read(archive: Archive, plan: Plan) -> list:
    reader = await MinuteReader.open(archive, plan)
    minutes = {}
    while (batch := await reader.next()) is not None:
        minutes.setdefault(batch.minute_ns, []).extend(batch.events)
    order = list(minutes)
    assert order == sorted(order, reverse=plan.newest_first)
    return [event for minute_ns in sorted(minutes) for event in minutes[minute_ns]]


@pytest.mark.slow
async def test_a_thousand_windows_across_the_border_equal_the_brute_force_answer(
    tmp_path, monkeypatch, seed, autojump_clock
):
    """Connector and archiver run, and crash, meanwhile; the store is slow, so that each minute is half stored for long.

    Mutants: the archive listed before the acknowledgement is asked for; what is stored and not acknowledged not taken
    out; the tail cut after the messages that fit into memory; the stream read one message too late.
    """
    random = Random(seed)
    crossing, asked = 0, 0
    async with trio.open_nursery() as nursery:
        system = LiveSystem(tmp_path, nursery, monkeypatch, seed)
        await system.start("archiver", "connector")
        await trio.sleep(30)
        system.store.faults.delay_s = 1.2
        everything = Everything(system.dialer.broker)
        store = RememberingStore(system.store, virtual_now_ns)

        async def ask() -> None:
            nonlocal crossing, asked
            while asked < WINDOWS:
                asked += 1
                await trio.sleep(random.random())
                held = random.choice((20, 400, 40_000))
                archive = Archive(
                    store,
                    SlowSource(system.dialer, random),
                    "test",
                    now=virtual_now_ns,
                    blocking=inline,
                    held_messages=held,
                    settled=store.settled,
                )
                plan = random_plan(random)
                before_seq, acked = everything.last_seq, system.dialer.broker.streams["marketdata"].ack_floors
                border_ns = everything.through(acked[SOURCE.durable] or 1)[-1].recv_ns
                answer = await read(archive, plan)
                after_seq = everything.last_seq
                seqs = range(before_seq, after_seq + 1)
                expected = [wanted(plan, everything.through(seq)) for seq in {before_seq, after_seq}]
                if answer not in expected:
                    assert answer in [wanted(plan, everything.through(seq)) for seq in seqs], plan
                crossing += plan.span.from_ns < border_ns < plan.span.to_ns

        async with trio.open_nursery() as asking:
            for _ in range(ASKING_AT_ONCE):
                asking.start_soon(ask)
            for role, after_s in (("archiver", 50), ("connector", 70), ("archiver", 45)):
                await trio.sleep(after_s)
                await system.crash(role)
        system.store.faults.delay_s = 0
        await system.stop()
        nursery.cancel_scope.cancel()
    assert asked >= WINDOWS
    assert crossing > WINDOWS / 4
    print(f"\n{asked} windows, {crossing} across the border, {everything.last_seq} events")  # noqa: T201  shown by -s
