"""What is too old goes, by the minute in the key; what is held, of today, or not understood stays."""

import json
from hashlib import sha256
from itertools import pairwise

import msgspec
import pytest
import trio
from structlog.testing import capture_logs

from ssmd import metrics
from ssmd.actors.expired import expired
from ssmd.actors.sweeper import DAY_NS, EVERY_S, FIRST_AFTER_S, GO_ON_AFTER_S, Retention, Sweeper
from ssmd.cli.samples import Samples
from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.environment.load import load
from ssmd.errors import StoreDown
from ssmd.store.base import Hold
from ssmd.store.keys import DigestKey, MinuteKey, NormalizedKey, QualityKey, RangeKey, RawKey, ShortfallKey, hold_key
from ssmd.store.memory import MemoryStore
from ssmd.store.objects import local_store
from tests.actors.fakes import START_NS, virtual_now_ns

ALL_DAYS = Retention(-1, -1)


def raw(days: float, feed: str = "kraken", part: int = 0) -> RawKey:
    """Return the key of a minute so many days ago."""
    return RawKey(feed, minute_of(START_NS - int(days * DAY_NS)), part)


def trades(days: float, version: str = "v1", part: int = 0) -> NormalizedKey:
    return NormalizedKey(version, "kraken", "trade", "BTCUSD", raw(days).minute_ns, part)


async def put_raw(store, *keys: RawKey) -> None:
    for key in keys:
        await store.create(key.key, key.key.encode())
        await store.create(key.manifest, key.manifest.encode())


async def put(store, *keys: NormalizedKey | MinuteKey | RangeKey | QualityKey | ShortfallKey | DigestKey) -> None:
    for key in keys:
        await store.create(key.key, b"x")


async def sweep(store, retention: Retention, **words):
    return await Sweeper(retention, store, lambda: START_NS, **words).sweep(retention.expiry(START_NS))


async def names(store) -> set[str]:
    return {meta.key for meta in await store.list("")}


@pytest.fixture(params=["memory", "directory"])
def store(request, tmp_path):
    return MemoryStore() if request.param == "memory" else local_store(tmp_path / "data")


async def test_what_is_older_than_it_is_kept_goes_and_the_rest_stays(store):
    old, young = raw(30.1), raw(29.9)
    await put_raw(store, old, young, raw(400), raw(0))
    await put(store, trades(7.1), trades(6.9), trades(7.1, part=1), trades(7.1, "v2"), trades(0))
    swept = await sweep(store, Retention(30, 7))
    assert await names(store) == {
        young.key, young.manifest, raw(0).key, raw(0).manifest, trades(6.9).key, trades(0).key,
    }  # fmt: skip
    assert (swept.deleted, swept.held, swept.is_whole) == (7, 0, True)
    assert swept.deleted_bytes > 0


async def test_minus_one_keeps_for_ever_and_not_even_looks():
    store = MemoryStore()
    await put_raw(store, raw(4000))
    await put(store, trades(4000))
    assert [found async for found in expired(store, ALL_DAYS.expiry(START_NS))] == []
    await sweep(store, Retention(-1, 7))
    assert await names(store) == {raw(4000).key, raw(4000).manifest}


def test_the_day_that_has_begun_is_never_touched():
    for hour in range(24):
        at_ns = START_NS - START_NS % DAY_NS + hour * 60 * NS_PER_MINUTE
        assert Retention(1, 1).expiry(at_ns).raw_ns <= at_ns - at_ns % DAY_NS
    assert Retention(36_500, 1).expiry(START_NS).raw_ns == 0


async def test_what_cannot_be_read_stays(store):
    strange = {
        "raw/kraken/2001/01/01/00/notes.txt", "raw/kraken/2001/01/01/00/00-61.jsonl.zst", "raw/kraken/old/a", "raw/top",
        "normalized/v1/kraken/trade/BTCUSD/2001/13/01/00-00.capnp.zst", "normalized/v1/kraken/other/2001/01/01/00-00.json",
        "normalized/v1/kraken/ranges/what.json", "elsewhere/2001/01/01/00-00.json", "probe/1",
    }  # fmt: skip
    for key in strange:
        await store.create(key, b"x")
    swept = await sweep(store, Retention(1, 1))
    assert (await names(store), swept.deleted) == (strange, 0)


async def test_records_of_minutes_and_ranges_go_with_what_they_speak_of(store):
    old, young = raw(8).minute_ns, raw(6).minute_ns
    gone = [MinuteKey("v2", "kraken", old), RangeKey("v2", "kraken", old, old + NS_PER_MINUTE), trades(8, "v2")]
    kept = [MinuteKey("v2", "kraken", young), RangeKey("v2", "kraken", old, young), trades(6, "v2")]
    await put(store, *gone, *kept)
    await sweep(store, Retention(30, 7))
    assert await names(store) == {key.key for key in kept}


@pytest.mark.parametrize(("retention", "stays"), [((30, 7), True), ((-1, 7), True), ((7, -1), True), ((7, 7), False)])
async def test_what_is_known_of_a_minute_stays_as_long_as_anything_of_it(retention, stays):
    store = MemoryStore()
    await put(store, QualityKey("v1", "kraken", raw(8).minute_ns, 1))
    await sweep(store, Retention(*retention))
    assert bool(store.objects) is stays


async def test_the_mark_of_a_short_minute_goes_behind_its_records(store):
    """Mutant: a mark that goes first leaves a minute that is called verified for a moment."""
    minute_ns = raw(8).minute_ns
    digest = DigestKey("v1", "kraken", minute_ns - minute_ns % DAY_NS)
    await put(store, digest, QualityKey("v1", "kraken", minute_ns), ShortfallKey("v1", "kraken", minute_ns))
    await sweep(store, Retention(9, 9))
    assert digest.key in await names(store)
    await sweep(store, Retention(7, 7), max_deletes=1)
    assert await names(store) == {digest.key, ShortfallKey("v1", "kraken", minute_ns).key}
    await sweep(store, Retention(7, 7))
    assert await names(store) == set()


async def test_an_archiver_of_one_feed_deletes_that_feed_only(store):
    await put_raw(store, raw(8), raw(8, "other"))
    await sweep(store, Retention(7, 7, "kraken"))
    assert await names(store) == {raw(8, "other").key, raw(8, "other").manifest}


# order -------------------------------------------------------------------------------------------------------


class Recording(MemoryStore):
    def __init__(self, fails_after: int | None = None) -> None:
        super().__init__()
        self.deleted: list[str] = []
        self.fails_after = fails_after

    async def delete(self, key: str) -> None:
        if self.fails_after is not None and len(self.deleted) >= self.fails_after:
            raise StoreDown("away")
        await super().delete(key)
        self.deleted.append(key)


async def test_minutes_go_oldest_first_and_each_manifest_before_its_object():
    store = Recording()
    keys = [raw(9), raw(8.5), raw(8.5, part=1), raw(8)]
    await put_raw(store, *reversed(keys))
    await sweep(store, Retention(7, 7))
    assert store.deleted == [name for key in keys for name in (key.manifest, key.key)]


@pytest.mark.parametrize("deletes", range(9))
async def test_a_crash_anywhere_leaves_no_manifest_without_its_object_and_the_end_of_the_chain(deletes):
    """The mutant that deletes the object first leaves a manifest whose object is missing: this fails for odd numbers."""
    store = Recording(fails_after=deletes)
    previous = None
    for number in range(6):
        key = raw(10 - number)
        await store.create(key.key, b"%d" % number)
        text = json.dumps({"minute": key.minute_ns, "previous_sha256": previous}).encode()
        await store.create(key.manifest, text)
        previous = sha256(text).hexdigest()
    if deletes < 6:
        with pytest.raises(StoreDown):
            await sweep(store, Retention(7, 7))
    else:
        await sweep(store, Retention(7, 7))
    manifests = sorted(name for name in store.objects if name.endswith(".manifest.json"))
    assert all(name.replace(".manifest.json", ".jsonl.zst") in store.objects for name in manifests)
    chain = [store.objects[name] for name in manifests]
    for before, after in pairwise(chain):
        assert json.loads(after)["previous_sha256"] == sha256(before).hexdigest()
    store.fails_after = None
    await sweep(store, Retention(7, 7))
    assert len(store.objects) == 2 * 3


# holds -------------------------------------------------------------------------------------------------------


async def put_hold(store, from_days: float, to_days: float, **changed) -> str:
    hold = Hold("reprocess-1", "kraken", raw(from_days).minute_ns, raw(to_days).minute_ns, START_NS + DAY_NS)
    await store.create(hold_key("reprocess-1"), msgspec.json.encode(msgspec.structs.replace(hold, **changed)))
    return hold_key("reprocess-1")


async def test_what_a_hold_names_stays_until_it_is_over(store):
    await put_raw(store, raw(12), raw(10), raw(8))
    await put(store, trades(12), trades(10), trades(8))
    hold = await put_hold(store, 11, 9)
    swept = await sweep(store, Retention(7, 7))
    held = {raw(10).key, raw(10).manifest, trades(10).key}
    assert (await names(store), swept.held, swept.is_whole) == ({hold, *held}, 3, True)
    await store.delete(hold)
    await sweep(store, Retention(7, 7))
    assert await names(store) == set()


@pytest.mark.parametrize(
    ("changed", "stays"),
    [
        ({}, True),
        ({"expires_ns": START_NS}, False),
        ({"feed": "other"}, False),
        ({"to_ns": raw(10).minute_ns}, False),
        ({"from_ns": raw(10).minute_ns + NS_PER_MINUTE - 1}, True),
        ({"from_ns": raw(10).minute_ns + NS_PER_MINUTE}, False),
    ],
)
async def test_a_hold_covers_its_feed_and_the_minutes_it_touches(changed, stays):
    store = MemoryStore()
    await put_raw(store, raw(10))
    await put_hold(store, 11, 9, **changed)
    await sweep(store, Retention(7, 7))
    assert (raw(10).key in store.objects) is stays


async def test_a_hold_that_comes_during_a_sweep_counts_from_the_next_day_folder():
    class Late(Recording):
        async def delete(self, key: str) -> None:
            await super().delete(key)
            if len(self.deleted) == 1:
                await put_hold(self, 9.5, 7)

    store = Late()
    await put_raw(store, raw(10), raw(9), raw(8))
    await sweep(store, Retention(7, 7))
    assert {raw(9).key, raw(8).manifest} <= set(store.objects)
    assert raw(10).key not in store.objects


async def test_while_a_hold_cannot_be_read_everything_stays(autojump_clock):
    store = MemoryStore()
    await put_raw(store, raw(10))
    await store.create(hold_key("mine"), b"until I am done")
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(Sweeper(Retention(7, 7), store, virtual_now_ns).run)
            await trio.sleep(FIRST_AFTER_S + 1)
            nursery.cancel_scope.cancel()
    assert raw(10).key in store.objects
    assert [(log["event"], log["log_level"]) for log in logs] == [("retention_stopped", "error")]
    assert "holds/mine.json cannot be read" in logs[0]["error"]


# when --------------------------------------------------------------------------------------------------------


async def test_it_sweeps_once_a_day_with_one_event_each_and_drains_at_once(autojump_clock):
    store = MemoryStore()
    sweeper = Sweeper(Retention(7, 7), store, virtual_now_ns)
    for days in range(5, 12):
        await put_raw(store, raw(days + 0.5))
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(sweeper.run)
            await trio.sleep(FIRST_AFTER_S - 1)
            assert len(store.objects) == 14
            await trio.sleep(2)
            assert len(store.objects) == 4
            await trio.sleep(EVERY_S)
            assert len(store.objects) == 2
            await trio.sleep(EVERY_S)
            assert len(store.objects) == 0
            sweeper.drain()
    assert [(log["event"], log["deleted"]) for log in logs] == [("retention_swept", n) for n in (10, 2, 2)]
    assert trio.current_time() == pytest.approx(FIRST_AFTER_S + 1 + 2 * EVERY_S)


async def test_a_sweep_is_bounded_and_the_rest_follows_soon(autojump_clock):
    store = MemoryStore()
    await put_raw(store, *(raw(10 + number) for number in range(10)))
    async with trio.open_nursery() as nursery:
        await nursery.start(Sweeper(Retention(7, 7), store, virtual_now_ns, max_deletes=8).run)
        for left in (12, 4, 0):
            await trio.sleep(FIRST_AFTER_S + 1 if left == 12 else GO_ON_AFTER_S)
            assert len(store.objects) == left
        nursery.cancel_scope.cancel()


async def test_what_was_deleted_is_counted_by_bucket():
    before = Samples.parse(metrics.render().decode())
    store = MemoryStore()
    await put_raw(store, raw(10))
    await put(store, trades(10))
    await sweep(store, Retention(7, 7))
    after = Samples.parse(metrics.render().decode())
    name = "ssmd_retention_deleted_objects_total"
    assert [after.total(name, bucket=b) - before.total(name, bucket=b) for b in ("raw", "normalized")] == [2, 1]


def test_every_shipped_environment_gives_a_retention_that_works():
    for name in ("dev", "staging", "prod", "homelab", "demo"):
        storage = load(name).spec.storage
        expiry = Retention(storage.raw.retention_days, storage.normalized.retention_days).expiry(START_NS)
        assert (expiry.raw_ns is None) is (storage.raw.retention_days == -1)
