"""The checker is only worth something if it finds every kind of damage; each is done to data that is well."""

from hashlib import sha256

import pytest
from msgspec.structs import replace

from chaos.check import check
from ssmd.clock import NS_PER_MINUTE, NS_PER_S
from ssmd.store.keys import NormalizedKey
from tests.chaos.small_world import FEED, LAST, START_NS, SmallWorld
from tests.protocols.recorded import HEARTBEAT

HERE = 10
"""A frame in the middle of the object."""


def remove(items):
    return [*items[:HERE], *items[HERE + 1 :]]


def double(items):
    return [*items[: HERE + 1], *items[HERE:]]


def swap(items):
    return [*items[:HERE], items[HERE + 1], items[HERE], *items[HERE + 2 :]]


def flip_a_digit(lines):
    line = next(line for line in lines if b'"qty":0.10' in line)
    return [line.replace(b'"qty":0.10', b'"qty":0.18') if each is line else each for each in lines]


def flip_a_price(events):
    return [*events[:HERE], replace(events[HERE], price="9.5"), *events[HERE + 1 :]]


@pytest.fixture
async def world(tmp_path) -> SmallWorld:
    small = SmallWorld(tmp_path)
    await small.store_all()
    return small


def has(verdict, text: str) -> bool:
    return any(text in problem for problem in verdict.problems)


async def test_data_that_is_well_passes(world):
    verdict = await world.check()
    assert verdict.ok, verdict.text()
    assert (verdict.sent - verdict.kept, verdict.in_gaps, verdict.gaps, verdict.objects) == (2, 2, 1, 4)
    assert verdict.archived > 50


@pytest.mark.parametrize("damage", [remove, double, swap, flip_a_digit])
async def test_a_changed_raw_object_no_longer_fits_its_manifest(world, damage):
    world.edit_raw(damage, cover_up=False)
    assert has(await world.check(), "manifest and object differ")


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (remove, "seq 11 follows 9"),
        (double, "seq 10 follows 10"),
        (swap, "seq 11 follows 9"),
        (flip_a_digit, "differs"),
    ],
)
async def test_a_changed_raw_line_is_found_though_the_manifest_was_made_to_fit(world, damage, found):
    world.edit_raw(damage, cover_up=True)
    verdict = await world.check()
    assert not has(verdict, "manifest and object differ")
    assert has(verdict, found)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (remove, "trade: 1 missing"),
        (double, "not in order"),
        (swap, "not in order"),
        (flip_a_price, "1 differ in content"),
    ],
)
async def test_a_changed_event_of_the_archive_is_found(world, damage, found):
    world.edit_archive(damage)
    assert has(await world.check(), found)


async def test_an_event_that_a_late_part_repeats_is_a_duplicate(world):
    key = NormalizedKey("v1", FEED, "trade", "BTCUSD", LAST.minute_ns)
    late = replace(key, part=1)
    world.store.objects[late.key] = world.store.objects[key.key]
    assert (await world.check()).duplicates == 15


async def test_a_late_part_without_the_part_before_it_is_found(world):
    key = NormalizedKey("v1", FEED, "trade", "BTCUSD", LAST.minute_ns)
    world.store.objects[replace(key, part=1).key] = world.store.objects.pop(key.key)
    assert has(await world.check(), "the part before it is missing")


async def test_a_missing_manifest_is_found(world):
    del world.store.objects[LAST.manifest]
    assert has(await world.check(), "has no manifest")


async def test_a_manifest_without_its_object_is_found(world):
    del world.store.objects[LAST.key]
    assert has(await world.check(), "belongs to no object")


async def test_a_changed_earlier_manifest_breaks_the_chain(world):
    first = replace(LAST, minute_ns=START_NS).manifest
    world.store.objects[first] = world.store.objects[first].replace(b'"feed":"kraken"', b'"feed":"brakes"')
    assert has(await world.check(), "the chain of manifests is broken")


async def test_a_frame_that_was_sent_but_neither_kept_nor_in_a_gap_is_found(world):
    world.send(0, START_NS + NS_PER_MINUTE + 5 * NS_PER_S, HEARTBEAT)
    verdict = await world.check()
    assert (verdict.unaccounted, verdict.ok) == (1, False)


async def test_a_gap_of_other_symbols_covers_no_frame(world):
    world.edit_raw(lambda lines: lines, cover_up=True)
    first = replace(LAST, minute_ns=START_NS)
    for key in (first.manifest, LAST.manifest):
        world.store.objects[key] = world.store.objects[key].replace(b'"symbols":["BTCUSD"]', b'"symbols":["ETHUSD"]')
    assert (await world.check()).unaccounted == 2


async def test_what_the_exchange_withheld_was_never_sent(world):
    world.send(1, START_NS + 2 * NS_PER_MINUTE, HEARTBEAT, withheld=True)
    assert (await world.check()).ok


async def test_a_frame_that_was_kept_but_never_sent_is_found(world):
    del world.sent[-1]
    assert has(await world.check(), "frames kept")


async def test_a_connection_that_was_never_served_is_found(world):
    world.sent = [line for line in world.sent if line["conn"] == 0]
    assert has(await world.check(), "never served")


# a beginning that retention took -------------------------------------------------------------------------------------


@pytest.fixture
async def long_world(tmp_path) -> SmallWorld:
    """Four minutes: the connection of the second one lives on through the third, the last one has its own."""
    small = SmallWorld(tmp_path)
    small.go_on(1, START_NS + 2 * NS_PER_MINUTE)
    small.reconnect(2, START_NS + 3 * NS_PER_MINUTE)
    await small.store_all()
    return small


@pytest.mark.parametrize(("minutes", "taken"), [(1, set()), (2, {"c-0-2"}), (3, set())])
async def test_what_retention_left_of_a_chain_is_well(long_world, minutes, taken):
    for minute in range(minutes):
        long_world.forget(minute, raw=True, archive=True)
    verdict = await check(long_world.store, FEED)
    assert verdict.ok, verdict.text()
    assert (verdict.taken, verdict.kept > 0, verdict.archived > 0) == (taken, True, True)


async def test_a_link_that_is_missing_in_the_middle_breaks_the_chain_also_after_retention(long_world):
    long_world.forget(0, raw=True, archive=True)
    long_world.forget(2, raw=True, archive=True)
    assert has(await check(long_world.store, FEED), "the chain of manifests is broken")


async def test_a_second_beginning_breaks_the_chain_also_after_retention(long_world):
    long_world.edit_manifest(replace(LAST, minute_ns=START_NS + 3 * NS_PER_MINUTE), previous_sha256=None)
    long_world.forget(0, raw=True, archive=True)
    assert has(await check(long_world.store, FEED), "the chain of manifests is broken")


async def test_a_first_manifest_that_names_a_later_one_is_no_beginning(world):
    first = replace(LAST, minute_ns=START_NS)
    world.edit_manifest(first, previous_sha256=sha256(world.store.objects[LAST.manifest]).hexdigest())
    assert has(await check(world.store, FEED), "it names a later one")


async def test_raw_data_that_is_gone_while_its_events_are_there_was_not_taken_by_retention(long_world):
    for minute in range(2):
        long_world.forget(minute, raw=True, archive=False)
    assert has(await check(long_world.store, FEED), "too many")


async def test_a_line_that_is_missing_within_a_connection_is_found_also_after_retention(long_world):
    for minute in range(2):
        long_world.forget(minute, raw=True, archive=True)
    long_world.edit_raw(remove, cover_up=True, key=replace(LAST, minute_ns=START_NS + 2 * NS_PER_MINUTE))
    assert has(await check(long_world.store, FEED), "follows")
