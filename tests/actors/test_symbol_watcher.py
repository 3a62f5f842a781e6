import msgspec
import pytest
import trio

from ssmd import metrics
from ssmd.actors.symbol_watcher import BUCKET, MAX_VALUE_BYTES, SymbolWatcher, config_key
from ssmd.bus.memory import MemoryDialer
from ssmd.records import FeedConfig, SymbolSpec
from ssmd.supervisor import Backoff, Cell, ChildSpec, Strategy, Supervisor
from tests.actors.fakes import BTC, ETH

KEY = config_key("dev", "kraken")
GOOD = FeedConfig(symbols=(BTC,))
BAD = {
    "not JSON": b"{",
    "binary": b"\xff\xfe\x00",
    "empty": b"",
    "another shape": b'{"symbols":"BTC/USD"}',
    "a number": b"7",
    "nested too deeply": b'{"symbols":' + b"[" * 100_000,
    "too large": b'{"symbols":[' + b" " * MAX_VALUE_BYTES + b"]}",
    "a name for a path": msgspec.json.encode(FeedConfig(symbols=(SymbolSpec("BTC/USD", "../BTC"),))),
    "a symbol twice": msgspec.json.encode(FeedConfig(symbols=(BTC, BTC))),
    "an unknown normalizer": msgspec.json.encode(FeedConfig(symbols=(BTC,), normalizer="v999")),
    "other shards": msgspec.json.encode(FeedConfig(symbols=(BTC,), shards=2)),
    "deleted": None,
}


class Rig:
    def __init__(self) -> None:
        self.dialer = MemoryDialer()
        self.config = Cell(GOOD)

    def watcher(self) -> SymbolWatcher:
        return SymbolWatcher(KEY, "kraken", self.dialer, self.config, {"v1"})

    def write(self, value: bytes | None) -> int:
        return self.dialer.broker.write(BUCKET, KEY, value)

    async def run_for(self, seconds: float) -> None:
        spec = ChildSpec("symbol-watcher", self.watcher, Backoff(first_s=0.1, cap_s=2.0))
        with trio.move_on_after(seconds):
            await Supervisor("connector", Strategy.ONE_FOR_ONE, [spec]).run()


@pytest.fixture
def rig() -> Rig:
    return Rig()


def refused() -> float:
    return metrics.CONFIG_REFUSED.labels("kraken", "invalid")._value.get()


def encoded(*symbols: SymbolSpec) -> bytes:
    return msgspec.json.encode(FeedConfig(symbols=symbols))


async def test_a_good_value_is_in_force_with_the_revision_of_the_bus(rig, autojump_clock):
    revision = rig.write(encoded(BTC, ETH))
    await rig.run_for(1)
    assert rig.config.get() == FeedConfig(symbols=(BTC, ETH), revision=revision)


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_value_is_refused_and_the_last_good_one_stays(rig, what, autojump_clock):
    rig.write(encoded(ETH))
    await rig.run_for(1)
    good, before = rig.config.get(), refused()
    version = rig.config.version
    rig.write(BAD[what])
    await rig.run_for(1)
    assert rig.config.get() == good
    assert rig.config.version == version
    assert refused() == before + 1


async def test_behind_a_bad_value_the_next_good_one_is_taken(rig, autojump_clock):
    async def write() -> None:
        for value in (encoded(ETH), *BAD.values(), encoded(BTC, ETH)):
            await trio.sleep(0.5)
            rig.write(value)

    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            nursery.start_soon(rig.run_for, 15)
    assert rig.config.get().symbols == (BTC, ETH)


async def test_while_the_bus_is_away_the_last_value_holds_and_afterwards_the_newest_comes(rig, autojump_clock):
    async def lose() -> None:
        rig.write(encoded(ETH))
        await trio.sleep(1)
        rig.dialer.broker.down()
        await trio.sleep(3600)
        rig.dialer.broker.up()
        rig.write(encoded(BTC, ETH))

    with trio.move_on_after(3610):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            nursery.start_soon(rig.run_for, 3609)
    assert rig.config.get().symbols == (BTC, ETH)


async def test_a_deleted_bucket_is_watched_again_and_its_successor_is_obeyed(rig, autojump_clock):
    """Mutant: compare revisions over watches; a new bucket counts from 1, so everything in it was refused as older."""

    async def lose() -> None:
        for symbols in ((ETH,), (BTC,), (ETH,)):
            rig.write(encoded(*symbols))
        await trio.sleep(1)
        rig.dialer.broker.delete_bucket(BUCKET)
        await trio.sleep(5)
        assert rig.config.get().symbols == (ETH,)
        rig.write(encoded(BTC, ETH))

    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            nursery.start_soon(rig.run_for, 19)
    assert rig.config.get().symbols == (BTC, ETH)


async def test_an_equal_value_wakes_nobody(rig, autojump_clock):
    rig.write(encoded(ETH))
    await rig.run_for(1)
    version = rig.config.version
    await rig.run_for(1)  # the next start takes the present value anew
    assert rig.config.version == version


async def test_drain_ends_it(rig, autojump_clock):
    watcher = rig.watcher()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watcher.run)
        await trio.sleep(1)
        watcher.drain()
