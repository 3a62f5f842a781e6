"""The symbol watcher against a real nats-server: hostile values, a bucket that goes, a server that goes."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from ssmd.actors.standing import Standing
from ssmd.actors.symbol_watcher import BUCKET, SymbolWatcher
from ssmd.bus.base import BusDialer
from ssmd.bus.nats import NatsDialer
from ssmd.bus.server import wait_ready
from ssmd.errors import ConfigError
from ssmd.records import FeedConfig
from ssmd.supervisor import Backoff, Cell, ChildSpec, HealthBoard, Strategy, Supervisor, Surroundings
from tests.actors.fakes import BTC, ETH, SOL
from tests.actors.test_symbol_watcher import BAD, FEED, GOOD, KEY, encoded
from tests.bus.conftest import RunningServer, as_admin

pytestmark = pytest.mark.slow
T = TypeVar("T")
WITHIN_S = 10.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that takes values of 10 MB, as somebody else's may."""
    made = RunningServer(tmp_path / "nats")
    with Path(made.argv[-1]).open("a") as file:
        file.write("max_payload: 16MB\n")
    made.start()
    trio.run(wait_ready, made.settings)
    yield made
    made.kill()


class Watching:
    """A supervised watcher, and what it has made of what it saw."""

    def __init__(self, dialer: BusDialer) -> None:
        self.dialer = dialer
        self.config = Cell(GOOD)
        self.standing = Standing(GOOD)
        self.board = HealthBoard()
        spec = ChildSpec("symbol-watcher", self._watcher, Backoff(first_s=0.1, cap_s=2.0))
        surroundings = Surroundings(board=self.board)
        self.tree = Supervisor("connector", Strategy.ONE_FOR_ONE, [spec], surroundings=surroundings)

    def _watcher(self) -> SymbolWatcher:
        return SymbolWatcher(FEED, self.dialer, self.config, self.standing)

    async def put(self, value: bytes | None) -> int:
        """Write the value, None deletes it; return the revision."""
        async with self.dialer.connect() as bus:
            if value is not None:
                return await bus.kv_put(BUCKET, KEY, value)
            await bus.kv_delete(BUCKET, KEY)
            return await bus.kv_put(BUCKET, "dev.feeds.other", b"") - 1

    async def until_refused(self, revision: int) -> None:
        await until(
            self.standing.cell, lambda stand: stand.refused_config and stand.refused_config.revision == revision
        )

    async def until_taken(self, wanted: FeedConfig) -> None:
        await until(self.config, lambda config: config == wanted)


async def until(cell: Cell[T], is_so: Callable[[T], object]) -> None:
    version = 0
    with trio.fail_after(WITHIN_S):
        while True:
            latest = await cell.wait_newer(version)
            if is_so(latest.value):
                return
            version = latest.version


@asynccontextmanager
async def watching(server: RunningServer) -> AsyncIterator[Watching]:
    async with trio.open_nursery() as nursery:
        made = Watching(NatsDialer(server.url))
        nursery.start_soon(made.tree.run)
        yield made
        made.tree.drain()


async def test_no_hostile_value_gets_through_or_breaks_the_watch(server):
    await as_admin(server.url, lambda js: js.create_key_value(bucket=BUCKET))  # by somebody else, so without our limit
    async with watching(server) as seen:
        good = FeedConfig(symbols=(ETH,), revision=await seen.put(encoded(ETH)))
        await seen.until_taken(good)
        for what, value in BAD.items():
            revision = await seen.put(value)
            await seen.until_refused(revision)
            assert seen.config.get() == good, what
        last = FeedConfig(symbols=(BTC, SOL), revision=await seen.put(encoded(BTC, SOL)))
        await seen.until_taken(last)
        assert seen.standing.cell.get().refused_config is None
    assert [child.restarts for child in seen.board.snapshot()] == [0]


async def test_a_bucket_of_ours_takes_no_value_that_would_fill_a_readers_memory(server):
    async with watching(server) as seen:
        with pytest.raises(ConfigError, match="exceeds maximum allowed"):
            await seen.put(bytes(10_000_000))
        good = FeedConfig(symbols=(ETH,), revision=await seen.put(encoded(ETH)))
        await seen.until_taken(good)


async def test_a_bucket_that_is_deleted_and_made_again_is_followed_from_its_first_revision(server):
    async with watching(server) as seen:
        for symbols in ((ETH,), (BTC,), (ETH,)):
            old = FeedConfig(symbols=symbols, revision=await seen.put(encoded(*symbols)))
        await seen.until_taken(old)
        await as_admin(server.url, lambda js: js.delete_key_value(BUCKET))
        assert seen.config.get() == old
        assert await seen.put(encoded(BTC, SOL)) == 1
        await seen.until_taken(FeedConfig(symbols=(BTC, SOL), revision=1))


async def test_a_killed_server_changes_nothing_and_its_successor_is_followed(server):
    async with watching(server) as seen:
        good = FeedConfig(symbols=(ETH,), revision=await seen.put(encoded(ETH)))
        await seen.until_taken(good)
        server.kill()
        server.start()
        await wait_ready(server.settings)
        assert seen.config.get() == good
        last = FeedConfig(symbols=(SOL,), revision=await seen.put(encoded(SOL)))
        await seen.until_taken(last)
