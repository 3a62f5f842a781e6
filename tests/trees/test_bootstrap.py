import signal
from collections.abc import Iterator

import msgspec
import pytest
import structlog
import trio
from msgspec.structs import replace

from ssmd.actors.symbol_watcher import BUCKET
from ssmd.bus.memory import MemoryDialer
from ssmd.errors import ConfigError
from ssmd.records import FeedConfig
from ssmd.settings import Settings
from ssmd.store.memory import MemoryStore
from ssmd.trees import RoleSpec, World
from ssmd.trees.roles import BOOTSTRAP_WITHIN_S, bootstrap
from tests.integration.rig import environment
from tests.store.fake_s3 import FakeS3, fake_s3

BUCKETS = {"ssmd-test-raw", "ssmd-test-normalized"}
SPEC = RoleSpec("bootstrap", "", environment(["BTC/USD"]), Settings(), "nats://127.0.0.1:1", "", "")


@pytest.fixture
def dialer() -> MemoryDialer:
    return MemoryDialer()


@pytest.fixture
def world(dialer) -> World:
    return World(dialer, MemoryStore())


async def seeded(dialer: MemoryDialer) -> FeedConfig | None:
    async with dialer.connect() as bus:
        entry = await bus.kv_get(BUCKET, "test.feeds.kraken")
    return None if entry is None else msgspec.json.decode(entry.value, type=FeedConfig)


async def test_it_ends_when_stream_and_live_configuration_are_there(world, dialer, autojump_clock):
    assert await bootstrap(SPEC, world)
    assert await seeded(dialer) == SPEC.environment.spec.feeds["kraken"].config()
    assert list(dialer.broker.streams) == ["marketdata"]


async def test_it_waits_for_a_bus_that_comes_in_time(world, dialer, autojump_clock):
    dialer.broker.down()

    async def come_back() -> None:
        await trio.sleep(BOOTSTRAP_WITHIN_S - 5)
        dialer.broker.up()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(come_back)
        assert await bootstrap(SPEC, world)
    assert await seeded(dialer) is not None


async def test_without_a_bus_it_gives_up_after_its_time_and_says_so(world, dialer, autojump_clock):
    dialer.broker.down()
    started_s = trio.current_time()
    assert not await bootstrap(SPEC, world)
    assert trio.current_time() - started_s == pytest.approx(BOOTSTRAP_WITHIN_S)


async def test_a_signal_that_comes_first_is_not_done(world, dialer, autojump_clock):
    """A node that is drained ends the pod with SIGTERM: exit code 0 would make the Job complete with nothing seeded."""
    dialer.broker.down()

    async def interrupt() -> None:
        await trio.sleep(3)
        signal.raise_signal(signal.SIGTERM)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt)
        assert not await bootstrap(SPEC, world)
    assert trio.current_time() < BOOTSTRAP_WITHIN_S / 2


async def test_a_feed_that_is_not_there_is_refused_before_anything_is_written(world, dialer, autojump_clock):
    with pytest.raises(ConfigError, match="it has kraken"):
        await bootstrap(replace(SPEC, feed="coinbase"), world)
    assert not dialer.broker.streams


# the buckets; in real time, because the store's driver works in threads ----------------------------------------------


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3() as server:
        server.absent = set(BUCKETS)
        yield server


def on(server: FakeS3) -> RoleSpec:
    return replace(SPEC, settings=Settings(storage=server.settings))


async def test_it_makes_both_buckets_and_a_second_one_changes_nothing(world, s3):
    for _ in range(2):
        assert await bootstrap(on(s3), world)
    made = sorted(
        path.strip("/") for verb, path in map(str.split, s3.requests) if verb == "PUT" and "probe" not in path
    )
    assert made == sorted(BUCKETS)
    assert (s3.absent, s3.objects) == (set(), {})  # and nothing of its own stays in them


async def test_a_bucket_that_may_not_be_made_is_named_and_it_is_not_done(world, dialer, s3):
    s3.absent, s3.refuses_buckets = {"ssmd-test-raw"}, True
    with structlog.testing.capture_logs() as logs:
        assert not await bootstrap(on(s3), world, within_s=0.3)
    missing = [line for line in logs if line["event"] == "bootstrap_missing"]
    assert [line["actor"] for line in missing] == ["bootstrap/bucket-ssmd-test-raw"]
    assert "bucket ssmd-test-raw does not exist" in missing[0]["error"]
    assert "create it and let this key read and write it" in missing[0]["error"]
    assert await seeded(dialer) is not None  # the rest is done all the same


async def test_a_bucket_in_which_the_key_may_not_write_is_not_done(world, s3):
    s3.absent, s3.readonly = set(), {"ssmd-test-normalized"}
    assert not await bootstrap(on(s3), world, within_s=0.3)
