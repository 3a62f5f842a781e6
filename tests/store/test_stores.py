"""What every store promises, run over each of them; then what only one of them can show."""

import os
import stat
import threading

import obstore
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from obstore.exceptions import AlreadyExistsError, GenericError
from obstore.store import MemoryStore as ObstoreMemory

from ssmd.errors import AlreadyStored, StoreDown
from ssmd.store import local, objects
from ssmd.store.memory import MemoryStore, StoreFaults
from ssmd.store.objects import MAX_CALLS, ObjectStore, local_store

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


class Bucket:
    """Stands for S3: obstore's own conditional create, no directory."""

    def __init__(self) -> None:
        self.driver = ObstoreMemory()

    def admit(self, key: str) -> None:
        pass

    def put_new(self, key: str, body: bytes) -> None:
        obstore.put(self.driver, key, body, mode="create")


@pytest.fixture(params=["directory", "bucket", "memory"])
def store(request, tmp_path):
    if request.param == "directory":
        return local_store(tmp_path / "data")
    return ObjectStore(Bucket()) if request.param == "bucket" else MemoryStore()


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


# the directory -----------------------------------------------------------------------------------------------


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@given(st.lists(st.sampled_from(["..", ".", "", "a", "~", "/", "\\", "a.b", "%2e%2e", "\0", "#1"]), max_size=6))
def test_no_key_writes_outside_the_root(tmp_path_factory, pieces):
    outer = tmp_path_factory.mktemp("outer")

    async def attempt() -> None:
        try:
            await local_store(outer / "root").create("/".join(pieces), b"x")
        except ValueError:
            assert everything_below(outer) == []
        else:
            assert everything_below(outer) == ["root/" + "/".join(pieces)]

    trio.run(attempt)


async def test_a_link_that_leads_out_of_the_root_is_not_followed(tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "file").write_bytes(b"secret")
    store = local_store(tmp_path / "root")
    (tmp_path / "root" / "raw").symlink_to(tmp_path / "secret")
    for call in (
        lambda: store.read("raw/file"),
        lambda: store.create("raw/new", b"x"),
        lambda: store.delete("raw/file"),
        lambda: store.list("raw/"),
    ):
        with pytest.raises(ValueError, match="leads out"):
            await call()
    assert everything_below(tmp_path / "secret") == ["file"]


async def test_a_root_that_is_a_link_itself_is_fine(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    assert await local_store(tmp_path / "data").create(KEY, b"x")
    assert everything_below(tmp_path / "disk") == [KEY]


@pytest.mark.parametrize("nameless", [local.NAMELESS, 0])
async def test_data_is_on_disk_before_the_name_and_the_name_before_the_answer(tmp_path, monkeypatch, nameless):
    monkeypatch.setattr(local, "NAMELESS", nameless)
    steps = []
    fsync, link = os.fsync, os.link

    def note_fsync(fd: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else f"file of {os.fstat(fd).st_size}")
        fsync(fd)

    def note_link(source: str, target: str, **options: object) -> None:
        steps.append("link")
        names = [path.name for path in (tmp_path / "a/b").iterdir()]
        assert (target in names) is repeated
        assert any("#" in name for name in names) is not bool(nameless)
        link(source, target, **options)

    repeated = False
    store = local_store(tmp_path)
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "link", note_link)
    await store.create("a/b/1", b"abc")
    assert steps == ["folder"] * 4 + ["file of 3", "link", "folder"]  # b, a, root, and where the root lies
    steps.clear()
    await store.create("a/b/2", b"abc")
    assert steps == ["file of 3", "link", "folder"]
    steps.clear()
    repeated = True
    assert await store.create("a/b/2", b"abc") is False
    assert steps[-1] == "folder"  # the first writer may have died before it
    assert everything_below(tmp_path) == ["a/b/1", "a/b/2"]
    assert stat.S_IMODE((tmp_path / "a/b/1").stat().st_mode) & 0o444


@pytest.mark.parametrize("nameless", [local.NAMELESS, 0])
async def test_a_disk_that_refuses_leaves_nothing_visible_and_is_an_outage(tmp_path, monkeypatch, nameless):
    monkeypatch.setattr(local, "NAMELESS", nameless)
    store = local_store(tmp_path)
    await store.create("a/first", b"x")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StoreDown, match="No space left"):
            await store.create("a/second", b"y")
    assert everything_below(tmp_path) == ["a/first"]
    assert await store.create("a/second", b"y") is True


async def test_a_half_written_file_of_a_killed_process_is_no_object(tmp_path):
    store = local_store(tmp_path)
    await store.create("a/1", b"x")
    for left in ("2#1", "2#k3_x9", ".hidden", "2.tmp~"):
        (tmp_path / "a" / left).write_bytes(b"half")
    assert [meta.key for meta in await store.list("a/")] == ["a/1"]
    assert await store.create("a/2", b"whole") is True


async def test_a_folder_removed_meanwhile_heals_at_the_next_try(tmp_path):
    store = local_store(tmp_path)
    await store.create("a/b/1", b"x")
    (tmp_path / "a/b/1").unlink()
    (tmp_path / "a/b").rmdir()
    with pytest.raises(StoreDown):
        await store.create("a/b/1", b"x")
    assert await store.create("a/b/1", b"x") is True


async def test_a_list_of_more_than_one_chunk_is_whole(store, monkeypatch):
    monkeypatch.setattr(objects, "LIST_CHUNK", 4)
    for number in range(22):
        await store.create(f"a/{number:02}", b"x")
    assert [meta.key for meta in await store.list("a/")] == [f"a/{number:02}" for number in range(22)]


# failures behind obstore -------------------------------------------------------------------------------------


class Broken(Bucket):
    """A bucket whose creates fail as told: before the effect, after it, or never return until released."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Exception | None = None
        self.after: Exception | None = None
        self.cut_bytes = 0
        self.release = threading.Event()
        self.release.set()

    def put_new(self, key: str, body: bytes) -> None:
        self.release.wait()
        if self.before is not None:
            raise self.before
        super().put_new(key, body[: len(body) - self.cut_bytes])
        if self.after is not None:
            error, self.after = self.after, None
            raise error


async def test_an_ambiguous_create_is_done_when_it_is_tried_again():
    place = Broken()
    store = ObjectStore(place)
    place.after = GenericError("connection reset\n\nDebug source: a page of it")
    with pytest.raises(StoreDown, match=r"create a: GenericError: connection reset$"):
        await store.create("a", b"x")
    assert await store.create("a", b"x") is False
    with pytest.raises(AlreadyStored):
        await store.create("a", b"y")


async def test_a_refusal_of_our_own_earlier_success_is_a_success():
    place = Broken()
    place.after = AlreadyExistsError("retried inside the driver")
    assert await ObjectStore(place).create("a", b"x") is False


async def test_an_object_that_exists_but_cannot_be_read_is_an_outage():
    place = Broken()
    place.before = AlreadyExistsError("exists")
    with pytest.raises(StoreDown, match="cannot be read"):
        await ObjectStore(place).create("a", b"x")


async def test_an_object_stored_short_is_never_reported_as_stored():
    place = Broken()
    place.cut_bytes = 1
    with pytest.raises(StoreDown, match="3 bytes written, 2 bytes stored"):
        await ObjectStore(place).create("a", b"abc")


async def test_a_hanging_store_is_an_outage_at_the_deadline_and_may_still_succeed():
    place = Broken()
    store = ObjectStore(place, deadline_s=0.05)
    place.release.clear()
    try:
        with pytest.raises(StoreDown, match=r"no answer within 0\.05"):
            await store.create("a", b"x")
    finally:
        place.release.set()
    store = ObjectStore(place)
    assert await store.create("a", b"x") in {True, False}
    assert await store.read("a") == b"x"


async def test_calls_that_hang_use_up_the_store_s_threads_only():
    place = Broken()
    store = ObjectStore(place, deadline_s=0.05)
    place.release.clear()
    try:
        async with trio.open_nursery() as nursery:
            for number in range(2 * MAX_CALLS):
                nursery.start_soon(expect_outage, store, f"a{number}")
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        with pytest.raises(StoreDown, match="no answer"):
            await store.head("b")
    finally:
        place.release.set()


async def expect_outage(store: ObjectStore, key: str) -> None:
    with pytest.raises(StoreDown):
        await store.create(key, b"x")


async def test_a_bug_is_not_an_outage():
    place = Broken()
    place.before = TypeError("a bug")
    with pytest.raises(TypeError):
        await ObjectStore(place).create("a", b"x")


async def test_cancellation_passes_through():
    place = Broken()
    place.release.clear()
    try:
        with trio.move_on_after(0.05) as scope:
            await ObjectStore(place).create("a", b"x")
        assert scope.cancelled_caught
    finally:
        place.release.set()


# the store in memory -----------------------------------------------------------------------------------------


async def test_a_store_that_is_down_fails_until_it_is_up(autojump_clock):
    store = MemoryStore(StoreFaults(down=True))
    for call in (
        lambda: store.create("a", b"x"),
        lambda: store.read("a"),
        lambda: store.head("a"),
        lambda: store.list(""),
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreDown):
            await call()
    store.faults.down = False
    assert await store.create("a", b"x") is True


async def test_a_slow_store_takes_virtual_time_and_past_the_deadline_it_is_away(autojump_clock):
    store = MemoryStore(StoreFaults(delay_s=2))
    assert await store.create("a", b"x") is True
    assert trio.current_time() == pytest.approx(2)
    store.faults.delay_s = 60
    with pytest.raises(StoreDown, match="no answer within 5 s"):
        await store.create("b", b"x")
    assert trio.current_time() == pytest.approx(7)
    assert list(store.objects) == ["a"]


async def test_a_create_that_fails_after_it_stored_is_done_at_the_next_try(autojump_clock):
    store = MemoryStore(StoreFaults(creates_failing_after_store=1))
    with pytest.raises(StoreDown):
        await store.create("a", b"x")
    assert await store.create("a", b"x") is False
