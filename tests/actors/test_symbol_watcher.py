import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from ssmd import metrics
from ssmd.actors.report import RefusedConfig, value_digest
from ssmd.actors.standing import Standing
from ssmd.actors.symbol_watcher import BUCKET, MAX_VALUE_BYTES, SymbolWatcher, WatchedFeed, config_key
from ssmd.bus.base import KvEntry
from ssmd.bus.memory import MemoryDialer
from ssmd.records import FeedConfig, SymbolSpec
from ssmd.supervisor import Backoff, Cell, ChildSpec, Strategy, Supervisor
from tests.actors.fakes import BTC, ETH, virtual_now_ns

KEY = config_key("dev", "kraken")
FEED = WatchedFeed("kraken", KEY, {"v1"})
GOOD = FeedConfig(symbols=(BTC,))
BAD = {
    "not JSON": b"{",
    "binary": b"\xff\xfe\x00",
    "empty": b"",
    "another shape": b'{"symbols":"BTC/USD"}',
    "a number": b"7",
    "nested too deeply": b'{"symbols":' + b"[" * 100_000,
    "too large": b'{"symbols":[' + b" " * MAX_VALUE_BYTES + b"]}",
    "10 MB": b" " * 10_000_000,
    "a bomb of YAML aliases": b"a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b]\nsymbols: [*c,*c,*c,*c]\n",
    "nested deeply inside": b'{"symbols":[],"x":' + b'{"x":' * 20_000 + b"1" + b"}" * 20_001,
    "what another program keeps": b'{"replicas":3,"image":"nginx"}',
    "an endless name": msgspec.json.encode(FeedConfig(symbols=(SymbolSpec("B" * 200_000, "BTCUSD"),))),
    "an endless symbol": msgspec.json.encode(FeedConfig(symbols=(SymbolSpec("BTC/USD", "b" * 200_000),))),
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
        self.standing = Standing(GOOD, virtual_now_ns)

    def watcher(self) -> SymbolWatcher:
        return SymbolWatcher(FEED, self.dialer, self.config, self.standing)

    def write(self, value: bytes | None) -> int:
        return self.dialer.broker.write(BUCKET, KEY, value)

    def refused(self) -> RefusedConfig | None:
        return self.standing.cell.get().refused_config

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
    revision = rig.write(BAD[what])
    with capture_logs() as logs:
        await rig.run_for(1)
    assert rig.config.get() == good
    assert rig.config.version == version
    assert refused() == before + 1
    assert [line["revision"] for line in logs if line["event"] == "config_refused"] == [revision]
    assert rig.refused().revision == revision
    assert 0 < len(rig.refused().reason) < 200


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


async def test_a_refused_value_is_told_until_a_good_one_is_taken(rig, autojump_clock):
    async def write() -> None:
        for value in (encoded(ETH), b"bad", encoded(BTC, ETH)):
            rig.write(value)
            await trio.sleep(1)
            seen.append((rig.config.get().revision, rig.refused() and rig.refused().revision))

    seen: list[tuple[int, int | None]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(rig.run_for, 4)
    assert seen == [(1, None), (1, 2), (3, None)]


async def test_a_refused_value_is_told_again_after_a_restart_and_an_equal_good_one_ends_it(rig, autojump_clock):
    rig.write(b"bad")
    for _ in range(2):
        await rig.run_for(1)
        assert (rig.refused().revision, rig.refused().digest) == (1, value_digest(b"bad"))
    rig.config.set(FeedConfig(symbols=(ETH,), revision=2))
    rig.write(encoded(ETH))
    await rig.run_for(1)
    assert rig.refused() is None


async def test_a_value_older_than_one_that_came_before_is_refused_be_that_good_or_bad(rig, autojump_clock):
    """Mutants: compare with the last good one only; let the older refusal hide the newer one."""
    watcher, before = rig.watcher(), refused()
    watcher._take(KvEntry(KEY, encoded(ETH), 5))
    watcher._take(KvEntry(KEY, encoded(BTC), 4))
    assert (rig.config.get().revision, rig.refused().revision) == (5, 4)
    watcher._take(KvEntry(KEY, b"bad", 7))
    watcher._take(KvEntry(KEY, encoded(BTC), 6))
    assert (rig.config.get().revision, rig.refused().revision) == (5, 7)
    assert refused() == before + 3


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
    assert rig.config.get() == FeedConfig(symbols=(BTC, ETH), revision=1)


async def test_a_new_bucket_whose_number_and_value_are_the_old_ones_changes_nothing(rig, autojump_clock):
    rig.write(encoded(ETH))
    await rig.run_for(1)
    version = rig.config.version
    rig.dialer.broker.delete_bucket(BUCKET)
    rig.write(encoded(ETH))
    await rig.run_for(1)
    assert (rig.config.version, rig.config.get().revision) == (version, 1)
    rig.dialer.broker.delete_bucket(BUCKET)
    rig.write(encoded(BTC))
    await rig.run_for(1)
    assert rig.config.get() == FeedConfig(symbols=(BTC,), revision=1)


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
