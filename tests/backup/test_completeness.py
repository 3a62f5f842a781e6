"""How far a feed is complete is known from the store alone: never more is said than is there."""

from hashlib import sha256

import msgspec
import pytest
from msgspec.structs import replace

from ssmd.backup.completeness import reach_of
from ssmd.backup.walk import key_time
from ssmd.clock import NS_PER_MINUTE
from ssmd.codec.packing import pack
from ssmd.store.keys import NormalizedKey, QualityKey, RawKey
from tests.backup.world import site
from tests.reprocess.captured import FEED, HEARTBEAT, Captured, at

LAST = RawKey(FEED, at(4))


@pytest.fixture
async def store(tmp_path, autojump_clock):
    return (await site(tmp_path)).source


def minute_of_key(key):
    return (key_time(key).minute_ns - at(0)) // NS_PER_MINUTE


def minute_keys(store, minute, version="v1"):
    return [
        key
        for key in store.objects
        if key.startswith(f"normalized/{version}/") and NormalizedKey.parse(key).minute_ns == at(minute)
    ]


async def minutes(store):
    reach = await reach_of(store, FEED)
    return tuple(
        None if each is None else (each - at(0)) // NS_PER_MINUTE
        for each in (reach.first_minute, reach.raw_through, reach.complete_through)
    )


async def test_an_archive_that_was_drained_is_complete_to_its_end(store, autojump_clock):
    assert await minutes(store) == (0, 4, 4)


async def test_a_feed_without_anything_has_no_minutes(store, autojump_clock):
    reach = await reach_of(store, "nobody")
    assert (reach.first_minute, reach.raw_through, reach.complete_through) == (None, None, None)


async def test_a_minute_without_its_ledger_record_is_on_its_way(store, autojump_clock):
    del store.objects[QualityKey.of("v1", LAST).key]
    assert await minutes(store) == (0, 4, 3)


async def test_a_minute_whose_archive_lacks_an_event_is_on_its_way(store, autojump_clock):
    assert len(minute_keys(store, 4)) >= 2
    key = NormalizedKey.parse(minute_keys(store, 4)[0])
    del store.objects[key.key]
    assert await minutes(store) == (0, 4, 3)
    store.objects[key.key] = pack([])  # an object that holds too few counts no more than none
    assert await minutes(store) == (0, 4, 3)


async def test_an_object_without_manifest_is_not_sealed_yet(store, autojump_clock):
    del store.objects[LAST.manifest]
    del store.objects[QualityKey.of("v1", LAST).key]
    assert await minutes(store) == (0, 3, 3)


async def test_what_is_missing_in_an_older_minute_is_missing_and_not_on_its_way(store, autojump_clock):
    del store.objects[QualityKey.of("v1", RawKey(FEED, at(1))).key]
    for key in minute_keys(store, 1):
        del store.objects[key]
    assert await minutes(store) == (0, 4, 4)


async def test_a_second_writer_that_is_behind_holds_everything_back(store, autojump_clock):
    """Its raw minutes are stored and nothing is known of what came of them, while the first one went on."""
    for minute in (1, 3):
        key = RawKey(FEED, at(minute))
        other = replace(key, part=1)
        manifest = msgspec.json.decode(store.objects[key.manifest])
        manifest |= {"key": other.key, "writer": "pod-2"}
        store.objects[other.key] = store.objects[key.key]
        store.objects[other.manifest] = msgspec.json.encode(manifest)
    assert await minutes(store) == (0, 4, 0)


async def test_a_second_version_beside_the_first_is_waited_for_unless_it_stopped_long_ago(store, autojump_clock):
    for key in [key for key in store.objects if "/v1/" in key]:
        if minute_of_key(key) <= 1:
            store.objects[key.replace("/v1/", "/v2/")] = store.objects[key]
    assert await minutes(store) == (0, 4, 1)
    del store.objects[minute_keys(store, 1, "v2")[0]]
    assert await minutes(store) == (0, 4, 0)
    for key in [key for key in store.objects if "/v2/" in key]:
        store.objects[key.replace("/14", "/13")] = store.objects.pop(key)
    assert await minutes(store) == (0, 4, 4)


async def test_nothing_is_known_where_no_minute_was_ever_archived(store, autojump_clock):
    for key in [key for key in store.objects if not key.startswith("raw/")]:
        del store.objects[key]
    assert await minutes(store) == (0, 4, None)


async def quiet_end(tmp_path):
    """A minute with trades, then one with heartbeats only."""
    world = Captured(tmp_path)
    conn = world.connect()
    world.traffic(conn)
    world.until(1)
    world.frame(conn, HEARTBEAT)  # ends the last interval of the book
    world.until(2)
    world.frame(conn, HEARTBEAT)
    await world.end()
    world.archive()
    return world.store


async def test_a_minute_without_events_is_complete_if_the_one_before_it_is(tmp_path, autojump_clock):
    store = await quiet_end(tmp_path)
    assert await minutes(store) == (0, 2, 2)
    archived = [key for key in store.objects if key.startswith("normalized/")]
    held = {key: store.objects.pop(key) for key in archived}
    assert (await minutes(store))[2] is None  # the archiver is behind, so the quiet minutes prove nothing
    store.objects |= held
    assert sha256(b"".join(held.values())).hexdigest()
    assert await minutes(store) == (0, 2, 2)
