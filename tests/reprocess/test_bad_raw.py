"""Raw data that is damaged is reported, in the summary and in the manifest, and costs nothing beside itself."""

import msgspec
import pytest

from ssmd.codec import blocks
from ssmd.reprocess.report import RangeManifest
from ssmd.reprocess.run import Job, reprocess
from ssmd.store.memory import MemoryStore
from tests.reprocess.world import FEED, START_NS, World, archive

BAD = 12
MAX = 1 << 26


@pytest.fixture(scope="module")
def world() -> World:
    return World(16).capture((13, 0), (13, 1))


async def problems_of(world: World, damage) -> tuple[MemoryStore, set[tuple[str, str]]]:
    """Damage one object; return the store and what was said of which minute, by its key's last part."""
    store = MemoryStore()
    await world.store_raw(store, edit=lambda minute, body: damage(body) if minute == BAD else body)
    summary = await reprocess(Job(FEED, "v1", START_NS, world.end_ns), lambda: store)
    assert not summary.is_well
    manifest = msgspec.json.decode(store.objects[summary.manifest], type=RangeManifest)
    assert list(manifest.problems) == summary.problems
    return store, {(problem.key.rpartition("/")[2], problem.kind) for problem in summary.problems}


async def unharmed(store: MemoryStore, world: World) -> bool:
    """Tell whether everything before the bad minute and after the next reconnects is as it should be."""
    got = await archive(store)
    safe = {key: body for key, body in world.expected().items() if not 12 <= minute_of(key) <= 13}
    return {key: body for key, body in got.items() if key in safe} == safe


def minute_of(key: str) -> int:
    return int(key.rpartition("/")[2][3:5])


OBJECT = f"00-{BAD}.jsonl.zst"


async def test_a_torn_object_gives_what_stands_before_the_tear(world, autojump_clock):
    store, said = await problems_of(world, lambda body: body[: len(body) * 2 // 3])
    assert said == {(OBJECT, "torn"), (OBJECT, "hash_mismatch"), (OBJECT, "count_mismatch")}
    assert await unharmed(store, world)


async def test_a_line_that_cannot_be_read_is_counted_and_the_next_one_is_read(world, autojump_clock):
    def spoil(body: bytes) -> bytes:
        lines = blocks.decompress(body, MAX).splitlines(keepends=True)
        lines[3] = b'{"recv_ns":17,"co\n'
        return blocks.compress(b"".join(lines))

    store, said = await problems_of(world, spoil)
    assert said == {(OBJECT, "hash_mismatch"), (OBJECT, "unreadable_line")}
    assert await unharmed(store, world)


async def test_other_content_of_the_same_shape_is_found_by_its_hash(world, autojump_clock):
    store, said = await problems_of(world, lambda body: blocks.compress(blocks.decompress(body, MAX), level=1))
    assert said == {(OBJECT, "hash_mismatch")}
    assert await archive(store) == world.expected()


async def test_a_missing_minute_shows_as_a_break_of_the_chain(world, autojump_clock):
    """Mutant: a minute without an object is passed over as if nothing had been captured."""
    store, said = await problems_of(world, lambda _body: None)
    assert said == {("00-13.jsonl.zst", "chain_break")}
    assert await unharmed(store, world)


async def test_an_object_that_is_gone_while_its_manifest_stands_is_named(world, autojump_clock):
    store = MemoryStore()
    await world.store_raw(store)
    key = next(key for key in store.objects if key.endswith(OBJECT))
    del store.objects[key]
    summary = await reprocess(Job(FEED, "v1", START_NS, world.end_ns), lambda: store)
    assert {(key, "missing_object")} < {(problem.key, problem.kind) for problem in summary.problems}
    assert await unharmed(store, world)


async def test_a_manifest_that_cannot_be_read_is_named_and_the_object_used(world, autojump_clock):
    store = MemoryStore()
    await world.store_raw(store)
    key = next(key for key in store.objects if key.endswith(f"00-{BAD}.manifest.json"))
    store.objects[key] = b"{"
    summary = await reprocess(Job(FEED, "v1", START_NS, world.end_ns), lambda: store)
    kinds = {problem.kind for problem in summary.problems}
    assert kinds == {"no_manifest", "chain_break"}
    assert await archive(store) == world.expected()


async def test_a_minute_of_no_capture_is_no_problem_but_told(autojump_clock):
    world = World(6).capture()
    world.lines = [line for line in world.lines if not 2 <= (line[0] - START_NS) // (60 * 10**9) < 4]
    store = MemoryStore()
    await world.store_raw(store)
    summary = await reprocess(Job(FEED, "v1", START_NS, world.end_ns), lambda: store)
    manifest = msgspec.json.decode(store.objects[summary.manifest], type=RangeManifest)
    minute = 60 * 10**9
    assert summary.is_well
    assert manifest.not_captured == ((START_NS + 2 * minute, START_NS + 4 * minute),)


async def test_a_bomb_costs_no_more_memory_than_is_allowed(world, autojump_clock):
    bomb = blocks.compress(b"x" * (64 << 20))
    _, said = await problems_of(world, lambda _body: bomb)
    assert (OBJECT, "torn") in said
