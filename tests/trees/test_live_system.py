"""A running system is changed over the bus: real nats-server, simulated exchange, connector in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from ssmd.records import Connected, Disconnected, FeedConfig
from ssmd.trees import LiveLink, Waited, live_link
from tests.integration import rig
from tests.integration.rig import System

pytestmark = pytest.mark.slow
NAMES = ("BTC/USD", "ETH/USD", "SOL/USD")


@asynccontextmanager
async def running(folder: Path, **feed: object) -> AsyncIterator[tuple[System, LiveLink]]:
    described, exchange = rig.environment(NAMES, **feed), rig.synthetic(NAMES, 200)
    async with rig.running(folder, described, exchange) as system, live_link(system.nats_url) as link:
        yield system, link


def file_of(system: System) -> FeedConfig:
    return system.described.spec.feeds["kraken"].config()


async def put(link: LiveLink, config: FeedConfig) -> Waited:
    """Change what runs and return the one connector's answer."""
    present = await link.copy("test", "kraken")
    revision = await link.put("test", "kraken", config, present.revision)
    symbols = [spec.symbol for spec in config.symbols]
    (answer,) = await link.wait("test", "kraken", revision, symbols, 10)
    assert answer.report.revision >= revision
    return answer


async def test_a_feed_that_begins_disabled_is_enabled_disabled_and_enabled_again_without_any_gap(tmp_path):
    async with running(tmp_path, enabled=False) as (system, link):
        config = file_of(system)
        idle = (await put(link, config)).report
        assert (idle.enabled, idle.live, idle.pending) == (False, (), ())
        assert system.count("connector_frames_received_total") == 0
        for _ in range(2):
            answer = await put(link, replace(config, enabled=True))
            assert (answer.state, answer.report.live) == ("running", ("BTCUSD", "ETHUSD", "SOLUSD"))
            await system.until_frames(system.count("connector_frames_received_total") + 100)
            answer = await put(link, config)
            assert (answer.state, answer.report.live, answer.report.pending) == ("running", (), ())
        await system.stop()
        notes = [record.note for record in await rig.raw_of(system.store)]
        assert [note.reason for note in notes if isinstance(note, Disconnected)] == ["not_wanted", "not_wanted"]
        assert sum(isinstance(note, Connected) for note in notes) == 2
        assert await rig.gaps_of(system.store) == []
        assert await link.reports("test") == []


async def test_each_shard_counts_until_the_last_one_has_the_change(tmp_path):
    async with running(tmp_path, shards=3) as (system, link):
        config = file_of(system)
        assert (await put(link, config)).report.live == ("BTCUSD", "ETHUSD", "SOLUSD")
        changed = await put(link, replace(config, symbols=config.symbols[:1]))
        assert (changed.state, changed.report.live, changed.report.pending) == ("running", ("BTCUSD",), ())
        changed = await put(link, config)
        assert (changed.state, changed.report.live) == ("running", ("BTCUSD", "ETHUSD", "SOLUSD"))


async def test_a_value_that_the_connector_refuses_is_told_and_the_next_good_one_ends_it(tmp_path):
    async with running(tmp_path) as (system, link):
        config = file_of(system)
        good = (await put(link, config)).report
        refused = await put_refused(link, replace(config, shards=2))
        assert refused.report.refused_config is not None
        assert refused.report.refused_config.revision > good.revision == refused.report.revision
        assert refused.report.live == good.live
        assert (await put(link, config)).report.refused_config is None


async def put_refused(link: LiveLink, config: FeedConfig) -> Waited:
    present = await link.copy("test", "kraken")
    revision = await link.put("test", "kraken", config, present.revision)
    (answer,) = await link.wait("test", "kraken", revision, (), 10)
    assert answer.state == "refused"
    return answer
