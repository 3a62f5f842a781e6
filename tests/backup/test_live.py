"""A backup of a running system, restored elsewhere: what it says is complete is proved there, and capture goes on."""

import msgspec
import pytest
import trio

from ssmd.backup.backing_up import Job, back_up
from ssmd.backup.restoring import restore
from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.protocols.manifest import Manifest
from ssmd.reprocess.run import Job as Rebuild
from ssmd.reprocess.run import reprocess
from ssmd.reprocess.verify import VerifySpec, verify
from ssmd.store.memory import MemoryStore
from tests.actors.fakes import START_NS, virtual_now_ns
from tests.backup.world import OWNER, hashes
from tests.reprocess.live import LiveSystem

FEED = "kraken"


async def findings(store, end_ns):
    report = await verify(store, VerifySpec(FEED, "v1", START_NS, end_ns))
    assert report.minutes >= 1
    return report.findings


def writers(store):
    bodies = [body for key, body in store.objects.items() if key.endswith(".manifest.json")]
    return {msgspec.json.decode(body, type=Manifest).writer for body in bodies}


@pytest.mark.slow
async def test_a_running_system_is_restored_elsewhere_and_goes_on(tmp_path, monkeypatch, seed, autojump_clock):
    place, restored = MemoryStore(), MemoryStore()
    async with trio.open_nursery() as nursery:
        system = LiveSystem(tmp_path / "one", nursery, monkeypatch, seed)
        await system.start("archiver", "connector")
        runs = []
        for after_s in (40, 21.5, 6, 20, 34):  # before any minute is sealed, at a border, in the middle of a minute
            await trio.sleep(after_s)
            runs.append((await back_up(Job(OWNER), system.store, place, now=virtual_now_ns)).run)
        system._scopes["archiver"].cancel()  # from here on raw data is stored and nothing is archived
        await trio.sleep(130)
        runs.append((await back_up(Job(OWNER), system.store, place, now=virtual_now_ns)).run)
        nursery.cancel_scope.cancel()  # the machine is lost

    told = [run.feeds[0].complete_through if run.feeds else None for run in runs]
    assert told[0] is None
    assert told[-2] is not None
    for run, through in zip(runs, told, strict=True):
        into = MemoryStore()
        assert (await restore(place, run, into)).problems == []
        assert hashes(into).items() <= hashes(system.store).items()
        if through is not None:
            assert await findings(into, through + NS_PER_MINUTE) == []

    (reach,) = runs[-1].feeds
    assert reach.complete_through < reach.raw_through
    await restore(place, runs[-1], restored)
    span = Rebuild(FEED, "v1", reach.complete_through + NS_PER_MINUTE, reach.raw_through + NS_PER_MINUTE)
    assert (await reprocess(span, lambda: restored)).problems == []
    assert await findings(restored, reach.raw_through + NS_PER_MINUTE) == []

    async with trio.open_nursery() as nursery:
        lost, system = system, LiveSystem(tmp_path / "two", nursery, monkeypatch, seed + 1, restored)
        system.exchange.trade_ids = lost.exchange.trade_ids  # the market went on
        await system.start("archiver", "connector")
        await trio.sleep(130)
        await system.stop()
        nursery.cancel_scope.cancel()
    assert len(writers(restored)) == 2
    assert await findings(restored, minute_of(virtual_now_ns()) + NS_PER_MINUTE) == []
