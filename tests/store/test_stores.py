"""What every store promises, run over each of them."""

import os

import pytest
import trio

from chaos import s3_servers
from ssmd.errors import AlreadyStored
from ssmd.store import objects
from ssmd.store.memory import MemoryStore
from ssmd.store.objects import ObjectStore, local_store
from ssmd.store.prefixed import PrefixedStore
from ssmd.store.routed import RoutedStore
from ssmd.store.s3 import s3_store
from ssmd.store.s3_access import s3_access
from tests.store.bucket import Bucket

KEY = "raw/kraken/2025/12/06/14/00-00.jsonl.zst"
HOSTILE = [
    "../x",
    "a/../../x",
    "/etc/passwd",
    "a//b",
    "",
    ".",
    "..",
    "a/..",
    "a\0b",
    "a\\..\\b",
    "a%2f..",
    "x#1",
    "é",
    "a\n",
]


def server_or_skipped(name: str):
    reason = s3_servers.why_absent(name)
    return pytest.param(name, marks=[pytest.mark.slow, pytest.mark.skipif(bool(reason), reason=reason or "there")])


SERVERS = [server_or_skipped(name) for name in s3_servers.SERVERS]
PLACES = ["directory", "bucket", "memory", "routed", "prefixed", *SERVERS]


@pytest.fixture(params=PLACES)
async def store(request, tmp_path):
    match request.param:
        case "directory":
            return local_store(tmp_path / "data")
        case "bucket":
            return ObjectStore(Bucket())
        case "memory":
            return MemoryStore()
        case "routed":
            return RoutedStore({"raw/": MemoryStore(), "a/": MemoryStore()}, rest=MemoryStore())
        case "prefixed":
            return PrefixedStore(MemoryStore(), "backups/mine/")
    return await empty_bucket(request.param, request)


async def empty_bucket(name: str, request: pytest.FixtureRequest) -> ObjectStore:
    request.getfixturevalue("_s3_servers_end")
    folder = request.getfixturevalue("tmp_path_factory").mktemp(name)
    server = await trio.to_thread.run_sync(s3_servers.shared, name, folder)
    bucket = s3_store(s3_access(server.settings), "ssmd-conformance")
    for meta in await bucket.list(""):
        await bucket.delete(meta.key)
    return bucket


async def test_a_new_object_is_stored_and_can_be_read(store):
    assert await store.create(KEY, b"abc") is True
    assert await store.read(KEY) == b"abc"
    head = await store.head(KEY)
    assert (head.key, head.size_bytes) == (KEY, 3)
    assert head.etag


async def test_the_same_bytes_again_are_done_and_other_bytes_are_refused(store):
    await store.create(KEY, b"abc")
    assert await store.create(KEY, b"abc") is False
    for other in (b"abd", b"abcd", b""):
        with pytest.raises(AlreadyStored, match="other content"):
            await store.create(KEY, other)
    assert await store.read(KEY) == b"abc"


async def test_what_is_not_there_is_none(store):
    await store.create(KEY, b"abc")
    for key in ("raw/kraken", "raw/kraken/2025/12/06/14/01-00.jsonl.zst", "nothing"):
        assert await store.read(key) is None
        assert await store.head(key) is None
    assert await store.list("nothing/") == []


async def test_a_deleted_object_is_gone_and_deleting_it_again_is_harmless(store):
    await store.create(KEY, b"abc")
    await store.delete(KEY)
    await store.delete(KEY)
    assert await store.read(KEY) is None
    assert await store.create(KEY, b"other") is True


async def test_a_list_is_ordered_and_holds_exactly_the_keys_with_the_prefix(store):
    names = ["a/b/10-00", "a/b/00-01.x", "a/b/00-00.x", "a/bc/1", "a/b-c", "a/B", "ab/c", "a/b/sub/1", "b/a/b"]
    for name in names:
        await store.create(name, name.encode())
    for prefix in ("", "a", "a/", "a/b", "a/b/", "a/b/0", "a/b/00-00.", "b", "c/"):
        found = await store.list(prefix)
        assert [meta.key for meta in found] == sorted(name for name in names if name.startswith(prefix))
        assert all(meta.size_bytes == len(meta.key) for meta in found)


async def test_eight_racing_creators_have_one_winner(store):
    outcomes = []

    async def race(number: int) -> None:
        try:
            outcomes.append(await store.create(KEY, b"%d" % number * 100_000))
        except AlreadyStored:
            outcomes.append(None)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(race, number)
    assert sorted(outcomes, key=str) == [None] * 7 + [True]
    assert len(set(await store.read(KEY))) == 1


async def test_eight_racing_creators_of_the_same_bytes_all_succeed(store):
    outcomes = []

    async def race() -> None:
        outcomes.append(await store.create(KEY, b"same" * 10_000))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(race)
    assert sorted(outcomes) == [False] * 7 + [True]


async def test_folders_are_the_next_level_and_nothing_else(store):
    for name in ("w/b/1", "w/b/c/2", "w/bc/1", "w/3", "wb/c", "top"):
        await store.create(name, b"x")
    assert {"w/", "wb/"} <= set(await store.folders(""))
    assert "top/" not in await store.folders("")
    assert await store.folders("w/") == ["w/b/", "w/bc/"]
    assert await store.folders("w/b/") == ["w/b/c/"]
    assert await store.folders("nothing/") == []
    with pytest.raises(ValueError, match="prefix"):
        await store.folders("a")


@pytest.mark.parametrize("key", HOSTILE)
async def test_a_hostile_key_is_refused_by_every_operation(store, key):
    for call in (
        lambda: store.create(key, b"x"),
        lambda: store.read(key),
        lambda: store.head(key),
        lambda: store.delete(key),
    ):
        with pytest.raises(ValueError, match="object key"):
            await call()


async def test_empty_and_large_objects_come_back(store):
    for name, body in (("e", b""), ("l", os.urandom(3 << 20))):
        assert await store.create(name, body)
        assert await store.read(name) == body


async def test_a_list_of_more_than_one_chunk_is_whole(store, monkeypatch):
    monkeypatch.setattr(objects, "LIST_CHUNK", 4)
    for number in range(22):
        await store.create(f"a/{number:02}", b"x")
    assert [meta.key for meta in await store.list("a/")] == [f"a/{number:02}" for number in range(22)]
