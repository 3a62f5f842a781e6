"""What the live system archived is what a reprocess of its raw data writes, object for object, whatever went wrong."""

import pytest
import trio

from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.reprocess.run import Job, reprocess
from ssmd.store.keys import NormalizedKey
from ssmd.store.memory import MemoryStore
from tests.actors.fakes import START_NS, virtual_now_ns
from tests.reprocess.live import LiveSystem
from tests.reprocess.world import FEED, archive

MINUTES = 12


@pytest.mark.slow
async def test_live_output_equals_reprocessed_output_object_for_object(tmp_path, monkeypatch, seed, autojump_clock):
    """Twelve minutes of virtual time: resets, lost updates, garbage, two crashes of the connector, one of the archiver."""
    async with trio.open_nursery() as nursery:
        system = LiveSystem(tmp_path, nursery, monkeypatch, seed)
        await system.start("archiver", "connector")
        for role, after_s in (("connector", 200), ("archiver", 100), ("connector", 155)):
            await trio.sleep(after_s)
            await system.crash(role)
        await trio.sleep(MINUTES * 60 - 455)
        await system.stop()
        nursery.cancel_scope.cancel()
    live = await archive(system.store)
    span = Job(FEED, "v1", START_NS, minute_of(virtual_now_ns()) + NS_PER_MINUTE)

    over_it = await reprocess(span, lambda: system.store)
    assert over_it.problems == []
    assert await archive(system.store) == live
    assert {"trade", "quote", "book"} == over_it.counts.keys()

    raw_only = MemoryStore()
    raw_only.objects = {key: body for key, body in system.store.objects.items() if key.startswith("raw/")}
    alone = await reprocess(span, lambda: raw_only)
    assert alone.problems == []
    again = await archive(raw_only)
    split = {NormalizedKey.parse(key).minute_prefix for key in live if NormalizedKey.parse(key).part}
    whole = {key: body for key, body in live.items() if NormalizedKey.parse(key).minute_prefix not in split}
    assert {key: body for key, body in again.items() if NormalizedKey.parse(key).minute_prefix not in split} == whole
    assert len(whole) > 0.9 * len(live) > 90
    quality = {key: body for key, body in system.store.objects.items() if key.startswith("quality/")}
    assert {key: body for key, body in raw_only.objects.items() if key.startswith("quality/")} == quality
    assert {"reset", "lost update", "garbage"} == system.exchange.troubles.keys()
    print(  # noqa: T201  shown by -s
        f"\nlive {len(live)} objects of {over_it.minutes} minutes, {over_it.events} events, {over_it.figures.frames} frames, "
        f"{len(split)} in parts; troubles {system.exchange.troubles}, {system.exchange.connections} connections"
    )
