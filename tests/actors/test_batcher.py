import pytest
import trio

from ssmd import metrics
from ssmd.actors.batcher import ArchiveFeed, Batcher
from ssmd.actors.edition import Edition
from ssmd.blocking import inline
from ssmd.bus.base import Outgoing, StreamSpec
from ssmd.bus.memory import MemoryDialer
from ssmd.clock import NS_PER_S
from ssmd.codec import blocks, marketdata
from ssmd.errors import BusDown, StoreDown
from ssmd.model import Trade, message_id
from ssmd.store.memory import MemoryStore
from ssmd.supervisor import Backoff, ChildSpec, HealthBoard, Strategy, Supervisor
from tests.actors.fakes import START_NS, virtual_now_ns

STREAM = StreamSpec("marketdata", ("md.>",), 1 << 30, 86_400)
FIRST = "normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.capnp.zst"
SECOND = "normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-01.capnp.zst"
LATE = "normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.p01.capnp.zst"


def trade(at_s: float, seq: int, symbol: str = "BTCUSD") -> Trade:
    recv_ns = START_NS + int(at_s * NS_PER_S)
    return Trade("kraken", symbol, recv_ns, "c-0-1", seq, 0, recv_ns, "100.5", "0.25", "buy", str(seq))


class Rig:
    def __init__(self) -> None:
        self.dialer = MemoryDialer()
        self.store = MemoryStore()
        self.board = HealthBoard()

    def batcher(self) -> Batcher:
        archive = ArchiveFeed(Edition("kraken", "v1"), STREAM, inline)
        return Batcher(archive, self.dialer, self.store, self.board, virtual_now_ns)

    def supervised(self) -> Supervisor:
        return Supervisor(
            "archiver", Strategy.ONE_FOR_ONE, [ChildSpec("batcher", self.batcher, Backoff(first_s=0.1, cap_s=2))]
        )

    async def publish(self, *trades: Trade) -> None:
        messages = [Outgoing(f"md.kraken.trade.{t.symbol}", marketdata.encode(t), message_id(t)) for t in trades]
        async with self.dialer.connect() as bus:
            await bus.ensure_stream(STREAM)
            await bus.publish(messages)

    @property
    def acked(self) -> int:
        return self.dialer.broker.streams["marketdata"].ack_floors.get("archiver-kraken", 0)

    def seqs(self, key: str) -> list[int]:
        return [t.seq for t in marketdata.decode_many("trade", blocks.decompress(self.store.objects[key], 1 << 20))]


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def run_for(rig: Rig, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await rig.batcher().run()


async def test_record_time_closes_a_minute_and_only_then_it_is_acknowledged(rig, autojump_clock):
    await rig.publish(trade(1, 0), trade(59, 1), trade(61.9, 2))
    await run_for(rig, 3)
    assert rig.store.objects == {}
    assert rig.acked == 0
    await rig.publish(trade(62.1, 3))
    await run_for(rig, 3)
    assert {key: rig.seqs(key) for key in rig.store.objects} == {FIRST: [0, 1]}
    assert rig.acked == 2


async def test_a_silent_stream_lets_the_clock_close_the_last_minute(rig, autojump_clock):
    await rig.publish(trade(1, 0))
    await run_for(rig, 70)
    assert rig.seqs(FIRST) == [0]
    assert rig.acked == 1


async def test_an_object_is_ordered_by_receive_time_and_identity_whatever_the_order_of_arrival(rig, autojump_clock):
    await rig.publish(trade(3, 2), trade(1, 0), trade(2, 1), trade(63, 3))
    await run_for(rig, 3)
    assert rig.seqs(FIRST) == [0, 1, 2]


async def test_symbols_get_objects_of_their_own(rig, autojump_clock):
    await rig.publish(trade(1, 0), trade(2, 1, "ETHUSD"), trade(63, 2))
    await run_for(rig, 3)
    assert sorted(rig.store.objects) == [FIRST, FIRST.replace("BTCUSD", "ETHUSD")]


async def test_a_late_message_goes_into_a_further_part_alone(rig, autojump_clock):
    await rig.publish(trade(1, 0), trade(63, 1))
    await run_for(rig, 3)
    await rig.publish(trade(30, 2), trade(64, 3))
    await run_for(rig, 8)
    assert (rig.seqs(FIRST), rig.seqs(LATE)) == ([0], [2])


async def test_a_crash_between_storing_and_acknowledging_repeats_nothing(rig, autojump_clock):
    """Mutant: store what comes again as a further part without looking at the earlier ones."""
    await rig.publish(trade(1, 0), trade(2, 1), trade(63, 2))
    rig.store.faults.creates_failing_after_store = 1
    with pytest.raises(StoreDown):
        await rig.batcher().run()
    assert rig.acked == 0
    await rig.publish(trade(3, 3))
    await run_for(rig, 3)
    assert (rig.seqs(FIRST), rig.seqs(LATE)) == ([0, 1], [3])
    assert rig.acked == 2


async def test_drain_stores_the_open_minute_and_takes_everything_there_is(rig, autojump_clock):
    await rig.publish(*(trade(1 + i / 1000, i) for i in range(2500)))
    batcher = rig.batcher()
    batcher.drain()
    await batcher.run()
    assert rig.seqs(FIRST) == list(range(2500))
    assert rig.acked == 2500


async def test_an_archiver_behind_by_minutes_keeps_each_minute_in_one_object(rig, autojump_clock):
    await trio.sleep(600)  # the clock is long past these minutes
    for minute in range(3):
        await rig.publish(*(trade(60 * minute + i / 100, 1500 * minute + i) for i in range(1500)))
    await run_for(rig, 20)
    assert len(rig.store.objects) == 3
    assert rig.seqs(SECOND) == list(range(1500, 3000))


async def test_while_the_store_is_away_lag_rises_readiness_falls_and_nothing_is_lost(rig, autojump_clock):
    """Mutants: report the lag only behind storing; never take back that the store was fine."""
    rig.store.faults.down = True
    await rig.publish(trade(1, 0), trade(63, 1))
    with trio.move_on_after(600):
        await rig.supervised().run()
    assert metrics.ARCHIVER_LAG._value.get() == pytest.approx(600, abs=5)
    assert {check.name: check.is_ok for check in rig.board.checks()}["store"] is False
    assert rig.acked == 0
    rig.store.faults.down = False
    await run_for(rig, 10)
    assert (rig.seqs(FIRST), rig.seqs(SECOND)) == ([0], [1])
    assert metrics.ARCHIVER_LAG._value.get() == 0


async def test_it_is_ready_as_soon_as_bus_and_store_answer_and_not_before(rig, autojump_clock):
    """Mutant: wait for the first object to be stored, a minute after the start."""
    seen = []

    async def look() -> None:
        seen.append(rig.board.ready)
        await trio.sleep(1)
        seen.append(rig.board.ready)

    batcher = rig.batcher()
    with trio.move_on_after(3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(batcher.run)
            nursery.start_soon(look)
    assert seen == [False, True]


async def test_a_bus_that_goes_away_ends_it_as_an_outage(rig, autojump_clock):
    async def lose() -> None:
        await trio.sleep(2)
        rig.dialer.broker.down()

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            await rig.batcher().run()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run()
    assert caught.group_contains(BusDown)
    assert not rig.board.ready


@pytest.mark.parametrize("subject", ["md.kraken.trade.BTCUSD", "md.kraken.nonsense.BTCUSD", "md.kraken.trade"])
async def test_a_message_that_cannot_be_read_is_counted_and_passed(rig, subject, autojump_clock):
    before = metrics.ARCHIVER_POISON.labels("kraken")._value.get()
    await rig.publish(trade(1, 0))
    async with rig.dialer.connect() as bus:
        await bus.publish([Outgoing(subject, b"no message", "poison")])
    await rig.publish(trade(63, 1), trade(125, 2))
    await run_for(rig, 3)
    assert metrics.ARCHIVER_POISON.labels("kraken")._value.get() == before + 1
    assert (rig.seqs(FIRST), rig.seqs(SECOND)) == ([0], [1])
    assert rig.acked == 3


async def test_a_subject_that_contradicts_its_message_is_poison_not_a_crash(rig, autojump_clock):
    """Mutant: believe the subject; its symbol then broke the key while storing, before any ack, for ever."""
    before = metrics.ARCHIVER_POISON.labels("kraken")._value.get()
    await rig.publish(trade(1, 0))
    payload = marketdata.encode(trade(2, 1))
    async with rig.dialer.connect() as bus:
        await bus.publish(
            [Outgoing("md.kraken.trade.btcusd", payload, "p1"), Outgoing("md.kraken.trade.ETHUSD", payload, "p2")]
        )
    await run_for(rig, 90)
    assert metrics.ARCHIVER_POISON.labels("kraken")._value.get() == before + 2


async def test_a_message_of_tomorrow_neither_closes_todays_minutes_nor_holds_the_acknowledgement(rig, autojump_clock):
    """A connector whose clock was wrong for a moment. Mutant: its time is how far the feed has come."""
    await rig.publish(trade(1, 0), trade(86_400, 1), trade(2, 2))
    await run_for(rig, 8)
    assert FIRST not in rig.store.objects
    assert len(rig.store.objects) == 1
    await rig.publish(trade(3, 3), trade(63, 4))
    await run_for(rig, 8)
    assert rig.seqs(FIRST) == [0, 2, 3]
    assert rig.acked == 4
    assert LATE not in rig.store.objects


async def test_what_comes_late_for_a_minute_is_collected_before_it_takes_a_part(rig, autojump_clock):
    """A second connector that lags by more than a minute. Mutant: a part for each fetch, until there are a hundred."""
    await rig.publish(trade(1, 0), trade(63, 1))

    async def lagging() -> None:
        for number in range(40):
            await rig.publish(trade(2 + number / 10, 100 + number), trade(64 + number, 200 + number))
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lagging)
        await run_for(rig, 40)
    parts = [key for key in rig.store.objects if "/2025/12/06/14-00." in key]
    assert 2 <= len(parts) <= 6
    assert sorted(seq for key in parts for seq in rig.seqs(key)) == [0, *range(100, 140)]


async def test_a_minute_without_a_part_left_is_an_outage_and_not_a_bug(rig, autojump_clock):
    for part in range(100):
        ending = f".p{part:02}" if part else ""
        rig.store.objects[FIRST.replace("14-00", f"14-00{ending}")] = blocks.compress(b"")
    await rig.publish(trade(1, 0), trade(63, 1))
    with pytest.raises(StoreDown, match="100 parts"):
        await rig.batcher().run()
