from collections.abc import Sequence

import pytest
import trio

from ssmd import metrics
from ssmd.actors.pipeline import Batch
from ssmd.actors.publisher import Publisher, PublisherLinks
from ssmd.bus.base import Outgoing, StreamSpec
from ssmd.bus.memory import MemoryDialer
from ssmd.clock import NS_PER_S
from ssmd.errors import BusDown
from ssmd.journal import Checkpoints, Cursor, Position
from ssmd.supervisor import Backoff, ChildSpec, HealthBoard, Mailbox, Overflow, Strategy, Supervisor
from tests.actors.fakes import START_NS, virtual_now_ns

STREAM = StreamSpec("marketdata", ("md.>",), 1 << 30, 86_400)
SEGMENT = "20251206T1400-0000.jsonl"


def batch(number: int, messages: int = 2, at_s: float = 0) -> Batch:
    recv_ns = START_NS + int(at_s * NS_PER_S)
    outgoing = [Outgoing("md.kraken.trade.BTCUSD", b"x", f"kraken/c/{number}/{n}") for n in range(messages)]
    return Batch(Position(SEGMENT, number), tuple(outgoing), (recv_ns,) * messages, recv_ns)


class Rig:
    def __init__(self, directory) -> None:
        directory.mkdir()
        self.directory = directory
        self.dialer = MemoryDialer()
        self.outbox: Mailbox[Batch] = Mailbox("publisher", 64, Overflow.BLOCK)
        self.cursor = Cursor(directory)
        self.checkpoints = Checkpoints(directory)
        self.board = HealthBoard()
        self.links = PublisherLinks(self.outbox, self.cursor, self.checkpoints, self.board)

    def publisher(self) -> Publisher:
        return Publisher("kraken", self.dialer, STREAM, self.links, virtual_now_ns)

    def supervised(self) -> Supervisor:
        spec = ChildSpec("publisher", self.publisher, Backoff(first_s=0.1, cap_s=2.0))
        return Supervisor("connector", Strategy.ONE_FOR_ONE, [spec])

    async def stored(self) -> Sequence[str]:
        messages, _ = self.dialer.broker.streams["marketdata"].read(0, "md.>", 10_000)
        return [message.message_id for message in messages]


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path / "kraken")


def ids(*numbers: int, messages: int = 2) -> list[str]:
    return [f"kraken/c/{number}/{n}" for number in numbers for n in range(messages)]


async def test_the_cursor_follows_the_acks_and_is_on_disk_at_the_end(rig, autojump_clock):
    for number in (1, 2, 3):
        rig.outbox.offer(batch(number))
    rig.outbox.close()
    await rig.publisher().run()
    assert await rig.stored() == ids(1, 2, 3)
    assert Cursor(rig.directory).position == Position(SEGMENT, 3)


async def test_a_lost_ack_keeps_the_cursor_and_the_same_identities_go_out_again_once(rig, autojump_clock):
    rig.outbox.offer(batch(1))
    rig.dialer.broker.fail_next_acks()
    with pytest.raises(BusDown):
        await rig.publisher().run()
    assert rig.cursor.position is None
    duplicates = metrics.PUBLISH_DUPLICATES.labels("kraken")._value.get()
    rig.outbox.close()
    await rig.publisher().run()
    assert await rig.stored() == ids(1)
    assert rig.cursor.position == Position(SEGMENT, 1)
    assert metrics.PUBLISH_DUPLICATES.labels("kraken")._value.get() == duplicates + 2


async def test_records_without_events_move_the_cursor_too(rig, autojump_clock):
    rig.outbox.offer(batch(7, messages=0))
    rig.outbox.close()
    await rig.publisher().run()
    assert rig.cursor.position == Position(SEGMENT, 7)


async def test_an_hour_without_the_bus_is_no_bug_and_costs_nothing(rig, autojump_clock):
    rig.outbox.offer(batch(1))
    rig.dialer.broker.down()

    async def come_back() -> None:
        await trio.sleep(3600)
        rig.dialer.broker.up()
        rig.outbox.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back)
        await rig.supervised().run()
    assert await rig.stored() == ids(1)
    assert trio.current_time() == pytest.approx(3600, abs=3)


async def test_the_lag_rises_while_the_bus_is_away_and_falls_behind_it(rig, autojump_clock):
    """Mutant: set it only when something was published; it then showed the last good value all through an outage."""
    lag = metrics.CONNECTOR_LAG.labels("kraken")._value
    seen = []

    async def look() -> None:
        rig.outbox.offer(batch(1))
        await trio.sleep(1)
        rig.dialer.broker.down()
        rig.outbox.offer(batch(1, at_s=1))
        await trio.sleep(300)
        seen.append(lag.get())
        rig.dialer.broker.up()
        await trio.sleep(5)
        rig.outbox.offer(batch(2, at_s=306))
        await trio.sleep(1)
        seen.append(lag.get())
        rig.outbox.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await rig.supervised().run()
    assert seen == [pytest.approx(300, abs=3), pytest.approx(0, abs=0.1)]


async def test_the_lag_rises_too_when_the_bus_was_never_there(rig, autojump_clock):
    rig.dialer.broker.down()
    rig.outbox.offer(batch(1))
    with trio.move_on_after(60):
        await rig.supervised().run()
    assert metrics.CONNECTOR_LAG.labels("kraken")._value.get() == pytest.approx(60, abs=3)


async def test_readiness_says_whether_the_bus_is_there(rig, autojump_clock):
    seen = []

    async def look() -> None:
        await trio.sleep(1)
        seen.append(rig.board.ready)
        rig.dialer.broker.down()
        rig.outbox.offer(batch(1))
        await trio.sleep(1)
        seen.append(rig.board.ready)
        rig.dialer.broker.up()
        await trio.sleep(3)
        seen.append(rig.board.ready)
        rig.outbox.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await rig.supervised().run()
    assert seen == [True, False, True]


async def test_checkpoints_of_published_segments_are_removed(rig, autojump_clock):
    rig.checkpoints.save("20251206T1358-0000.jsonl", b"older")
    rig.checkpoints.save("20251206T1359-0000.jsonl", b"in reserve")
    rig.checkpoints.save(SEGMENT, b"present")
    rig.outbox.offer(batch(1))
    rig.outbox.close()
    await trio.sleep(1)
    await rig.publisher().run()
    assert rig.checkpoints.load("20251206T1358-0000.jsonl") is None
    assert rig.checkpoints.load("20251206T1359-0000.jsonl") == b"in reserve"
    assert rig.checkpoints.load(SEGMENT) == b"present"


async def test_more_than_one_window_of_messages_goes_out_in_order(rig, autojump_clock):
    rig.outbox.offer(batch(1, messages=2500))
    rig.outbox.close()
    await rig.publisher().run()
    assert await rig.stored() == ids(1, messages=2500)
