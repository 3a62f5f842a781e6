import os
import stat

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from ssmd.errors import StoreDown
from ssmd.store import local
from ssmd.store.objects import local_store

KEY = "raw/kraken/2025/12/06/14/00-00.jsonl.zst"


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
    (tmp_path / "root" / "own").mkdir()
    (tmp_path / "root" / "own" / "file").symlink_to(tmp_path / "secret" / "file")
    for call in (
        lambda: store.read("own/file"),
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


async def test_a_folder_removed_meanwhile_is_made_again(tmp_path):
    store = local_store(tmp_path)
    await store.create("a/b/1", b"x")
    (tmp_path / "a/b/1").unlink()
    (tmp_path / "a/b").rmdir()
    assert await store.create("a/b/1", b"x") is True


async def test_folders_go_with_their_last_object(tmp_path):
    store = local_store(tmp_path)
    await store.create("a/b/1", b"x")
    await store.create("a/c/d/1", b"x")
    await store.delete("a/c/d/1")
    assert await store.folders("a/") == ["a/b/"]
    assert everything_below(tmp_path) == ["a/b/1"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
