from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio
from msgspec.structs import replace

from ssmd.actors.report import BUCKET, ConnectorReport, Identity, RefusedSymbol, digest_of, reports_of
from ssmd.actors.standing import SlotState, Standing
from ssmd.actors.status_reporter import StatusReporter
from ssmd.bus.base import BusDialer, KvEntry
from ssmd.bus.memory import MemoryDialer
from ssmd.bus.nats import NatsDialer
from ssmd.bus.server import wait_ready
from ssmd.clock import NS_PER_S
from ssmd.records import FeedConfig
from ssmd.supervisor import Backoff, ChildSpec, ChildState, HealthBoard, Strategy, Supervisor, Surroundings
from tests.actors.fakes import BTC, ETH, START_NS, virtual_now_ns
from tests.bus.conftest import RunningServer, as_admin, running

WHO = Identity("dev", "kraken", "mybox-abc123", 4242, START_NS - 1, "0.1.0")
KEY = "dev.connectors.kraken.mybox-abc123"
CONFIG = FeedConfig(symbols=(BTC, ETH))


class Rig:
    def __init__(self, dialer: BusDialer | None = None) -> None:
        memory = MemoryDialer()
        self.dialer = dialer or memory
        self.broker = memory.broker
        self.standing = Standing(CONFIG, virtual_now_ns)
        self.board = HealthBoard()
        spec = ChildSpec("status-reporter", self.reporter, Backoff(first_s=0.1, cap_s=2.0))
        surroundings = Surroundings(board=self.board)
        self.tree = Supervisor("connector", Strategy.ONE_FOR_ONE, [spec], surroundings=surroundings)

    def reporter(self) -> StatusReporter:
        return StatusReporter(WHO, self.dialer, self.standing, virtual_now_ns)

    def entry(self) -> KvEntry | None:
        bucket = self.broker.buckets.get(BUCKET.name)
        return None if bucket is None else bucket.last(KEY)

    def last(self) -> ConnectorReport:
        return msgspec.json.decode(self.entry().value, type=ConnectorReport)

    def run(self, revision: int, **fields: object) -> None:
        self.standing.tell(0, SlotState(1 + revision, replace(CONFIG, revision=revision), **fields))


@asynccontextmanager
async def reporting() -> AsyncIterator[Rig]:
    """Give a rig whose reporter runs; what still runs at the end is killed."""
    async with trio.open_nursery() as nursery:
        rig = Rig()
        nursery.start_soon(rig.tree.run)
        await trio.sleep(1)
        yield rig
        nursery.cancel_scope.cancel()


async def test_at_the_start_it_says_who_it_is_and_that_everything_is_pending(autojump_clock):
    async with reporting() as rig:
        assert rig.last() == ConnectorReport(
            feed="kraken",
            instance="mybox-abc123",
            pid=4242,
            started_ns=START_NS - 1,
            version="0.1.0",
            reported_ns=START_NS,
            revision=0,
            digest=digest_of(CONFIG),
            pending=("BTCUSD", "ETHUSD"),
        )


async def test_each_change_is_told_at_once(autojump_clock):
    async with reporting() as rig:
        rig.run(7, live=("ETHUSD",), pending=("BTCUSD",))
        await trio.sleep(0.01)
        assert (rig.last().revision, rig.last().live, rig.last().pending) == (7, ("ETHUSD",), ("BTCUSD",))
        await trio.sleep(1)
        rig.run(7, live=("ETHUSD",), refused=(RefusedSymbol("BTCUSD", "no"),))
        await trio.sleep(0.01)
        assert rig.last().refused == (RefusedSymbol("BTCUSD", "no"),)
        await trio.sleep(1)
        rig.standing.refuse(KvEntry("k", b"{", 8), "not JSON")
        await trio.sleep(0.01)
        assert (rig.last().refused_config.revision, rig.last().refused_config.reason) == (8, "not JSON")
        assert rig.last().revision == 7


async def test_a_burst_of_changes_is_few_reports_and_the_last_one_is_told(autojump_clock):
    async with reporting() as rig:
        before = rig.entry().revision
        for count in range(1000):
            rig.run(count)
            await trio.sleep(0.001)
        await trio.sleep(0.2)
        assert rig.last().revision == 999
        assert rig.entry().revision - before <= 12


async def test_without_any_change_it_tells_every_five_seconds(autojump_clock):
    async with reporting() as rig:
        before = rig.entry().revision
        await trio.sleep(60)
        assert rig.entry().revision - before in {11, 12}
        assert virtual_now_ns() - rig.last().reported_ns <= 5.2 * NS_PER_S


async def test_a_disabled_feed_says_so(autojump_clock):
    async with reporting() as rig:
        rig.standing.tell(0, SlotState(2, replace(CONFIG, revision=3, enabled=False)))
        await trio.sleep(1)
        assert (rig.last().enabled, rig.last().revision, rig.last().pending) == (False, 3, ())


async def test_a_drain_takes_the_report_away(autojump_clock):
    async with reporting() as rig:
        rig.tree.drain()
        await trio.sleep(1)
        assert rig.entry().value is None
        assert rig.board.snapshot()[0].state is ChildState.FINISHED


async def test_a_drain_while_the_bus_is_away_is_no_failure(autojump_clock):
    async with reporting() as rig:
        rig.broker.down()
        await trio.sleep(60)
        rig.tree.drain()
        await trio.sleep(1)
        assert rig.board.snapshot()[0].state is ChildState.FINISHED


async def test_a_killed_connector_leaves_its_report_and_that_grows_old(autojump_clock):
    async with reporting() as rig:
        pass
    await trio.sleep(16)
    assert rig.last().is_silent(virtual_now_ns())
    await trio.sleep(3600)
    assert rig.entry() is None


async def test_after_an_outage_it_tells_again_and_makes_its_bucket_anew(autojump_clock):
    async with reporting() as rig:
        rig.run(7)
        rig.broker.down()
        await trio.sleep(3600)
        rig.broker.lose_memory()
        rig.broker.up()
        await trio.sleep(3)
        assert rig.last().revision == 7
        assert rig.broker.buckets[BUCKET.name].spec == BUCKET


async def test_a_bucket_deleted_under_it_is_made_again_as_it_was(autojump_clock):
    """Mutant: ensure the bucket at the start only; the next put made one on disk that forgets nothing."""
    async with reporting() as rig:
        rig.broker.delete_bucket(BUCKET.name)
        await trio.sleep(6)
        assert rig.last().revision == 0
        assert rig.broker.buckets[BUCKET.name].spec == BUCKET


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running(tmp_path / "nats") as made:
        yield made


async def first_report(server: RunningServer) -> ConnectorReport:
    with trio.fail_after(10):
        async with NatsDialer(server.url).connect() as bus:
            await bus.ensure_bucket(BUCKET)
            async with bus.kv_watch(BUCKET.name, reports_of("dev", "kraken")) as entries:
                return msgspec.json.decode((await anext(entries)).value, type=ConnectorReport)


@pytest.mark.slow
async def test_a_killed_server_has_forgotten_the_report_and_is_told_again(server):
    rig = Rig(NatsDialer(server.url))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.tree.run)
        assert (await first_report(server)).revision == 0
        server.kill()
        rig.run(7)
        server.start()
        await wait_ready(server.settings)
        assert (await first_report(server)).revision == 7
        config = await as_admin(server.url, lambda js: js.stream_info(f"KV_{BUCKET.name}"))
        assert (config.config.storage, config.config.max_age) == ("memory", BUCKET.max_age_s)
        rig.tree.drain()
    async with NatsDialer(server.url).connect() as bus:
        assert await bus.kv_list(BUCKET.name, ">") == []
