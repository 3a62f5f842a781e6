from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from ssmd.actors.seeder import ConfigSeeder
from ssmd.actors.symbol_watcher import BUCKET, config_key
from ssmd.bus.base import KvEntry, StreamSpec
from ssmd.bus.memory import MemoryBus, MemoryDialer
from ssmd.errors import BusDown
from ssmd.records import FeedConfig
from tests.actors.fakes import BTC, ETH

STREAM = StreamSpec("marketdata", ("md.>",), 1 << 30, 86_400)
FEEDS = {"kraken": FeedConfig(symbols=(BTC, ETH)), "coinbase": FeedConfig(symbols=(BTC,))}


async def revisions(dialer: MemoryDialer) -> dict[str, int]:
    async with dialer.connect() as bus:
        entries = [await bus.kv_get(BUCKET, config_key("dev", feed)) for feed in FEEDS]
    return {entry.key: entry.revision for entry in entries}


async def test_every_feed_and_the_stream_are_there_when_it_has_finished(autojump_clock):
    dialer = MemoryDialer()
    await ConfigSeeder("dev", FEEDS, STREAM, dialer).run()
    async with dialer.connect() as bus:
        entry = await bus.kv_get(BUCKET, "dev.feeds.kraken")
    assert msgspec.json.decode(entry.value, type=FeedConfig) == FEEDS["kraken"]
    assert dialer.broker.streams["marketdata"].spec == STREAM


async def test_an_equal_copy_stays_untouched_and_another_is_brought_to_the_file(autojump_clock):
    dialer = MemoryDialer()
    await ConfigSeeder("dev", FEEDS, STREAM, dialer).run()
    first = await revisions(dialer)
    changed = {**FEEDS, "coinbase": FeedConfig(symbols=(ETH,))}
    await ConfigSeeder("dev", changed, STREAM, dialer).run()
    second = await revisions(dialer)
    assert second["dev.feeds.kraken"] == first["dev.feeds.kraken"]
    assert second["dev.feeds.coinbase"] > first["dev.feeds.coinbase"]


NEWER = b'{"symbols":[],"enabled":false}'


class RacingBus(MemoryBus):
    """Somebody changes the copy just after it was read."""

    async def kv_get(self, bucket: str, key: str) -> KvEntry | None:
        entry = await super().kv_get(bucket, key)
        self.broker.write(bucket, key, NEWER)
        return entry


class RacingDialer(MemoryDialer):
    @asynccontextmanager
    async def connect(self) -> AsyncIterator[MemoryBus]:
        async with super().connect():
            yield RacingBus(self.broker)


@pytest.mark.parametrize("before", [None, b"{}"])
async def test_a_change_that_came_meanwhile_stays(before, autojump_clock):
    dialer = RacingDialer()
    if before is not None:
        dialer.broker.write(BUCKET, "dev.feeds.kraken", before)
    await ConfigSeeder("dev", {"kraken": FEEDS["kraken"]}, STREAM, dialer).run()
    assert dialer.broker.buckets[BUCKET].last("dev.feeds.kraken").value == NEWER


async def test_without_a_bus_it_is_an_outage(autojump_clock):
    dialer = MemoryDialer()
    dialer.broker.down()
    with pytest.raises(BusDown):
        await ConfigSeeder("dev", FEEDS, STREAM, dialer).run()
