"""Chunks: where they are cut, what they read before they write, and that the result does not depend on them."""

import os
import signal
from functools import partial

import msgspec
import pytest
import trio

from ssmd.clock import NS_PER_MINUTE
from ssmd.protocols import quality
from ssmd.reprocess.borders import Border, broken_border
from ssmd.reprocess.plan import chunks, read_index
from ssmd.reprocess.processes import here, in_processes, patiently
from ssmd.reprocess.run import Job, reprocess, stretches
from ssmd.reprocess.stretch import Stretch, run_stretch
from ssmd.reprocess.writing import Target
from ssmd.store.memory import MemoryStore
from ssmd.store.objects import local_store
from tests.reprocess.world import FEED, START_NS, World, archive


@pytest.fixture(scope="module")
def world() -> World:
    return World(40).capture((4, 0), (17, 1), (21, 0), (30, 0), (30, 1), crash_at=9)


def minute_of(step) -> int:
    return (step.minute.minute_ns - START_NS) // NS_PER_MINUTE


async def planned(world: World, parallel: int, done=()):
    store = MemoryStore()
    await world.store_raw(store)
    index = await read_index(store, FEED, START_NS, world.end_ns)
    return index, chunks(index, {START_NS + each * NS_PER_MINUTE for each in done}, parallel)


@pytest.mark.parametrize("parallel", [1, 2, 3, 8])
async def test_every_minute_is_written_once_whatever_the_number_of_workers(world, parallel, autojump_clock):
    _, shared = await planned(world, parallel)
    assert 1 <= len(shared) <= parallel
    assert [minute_of(step) for chunk in shared for step in chunk if step.writes] == list(range(40))


async def test_a_chunk_reads_from_the_beginning_of_every_connection_that_is_alive(world, autojump_clock):
    index, shared = await planned(world, 3)
    for chunk in shared[1:]:
        first = next(step for step in chunk if step.writes)
        lives = [life for life in index.lives.values() if life.began_ns < first.minute.minute_ns]
        alive = [life for life in lives if life.ended_ns is None or life.ended_ns >= first.minute.minute_ns]
        assert len(alive) == 2
        assert chunk[0].is_fresh
        assert chunk[0].minute.minute_ns <= min(life.began_ns for life in alive)
        assert chunk[0].minute.minute_ns <= first.minute.minute_ns - 10 * NS_PER_MINUTE


async def test_connections_that_nobody_ended_are_found_dead(world, autojump_clock):
    """Mutant: an orphan counts as alive for ever, and every later chunk warms up from its beginning."""
    index, _ = await planned(world, 1)
    unended = [life.conn for life in index.lives.values() if life.ended_ns is None]
    assert sorted(unended) == ["boot-0-5", "boot-1-4"]


async def test_workers_end_together(world, autojump_clock):
    _, shared = await planned(world, 2)
    costs = [sum(step.minute.lines * (1.0 if step.writes else 0.6) for step in chunk) for chunk in shared]
    assert max(costs) < 1.25 * min(costs)


async def test_what_is_done_is_read_only_where_a_later_minute_needs_it(world, autojump_clock):
    _, (chunk,) = await planned(world, 1, done=[*range(5), *range(12, 36)])
    assert [minute_of(step) for step in chunk if step.writes] == [*range(5, 12), *range(36, 40)]
    fresh = [minute_of(step) for step in chunk if step.is_fresh]
    assert fresh == [0, 26]


@pytest.mark.parametrize("parallel", [2, 3, 5])
async def test_chunks_one_after_another_give_the_same_bytes_as_one_worker(world, parallel, monkeypatch, autojump_clock):
    """The chunks of a parallel run, worked off in this process."""
    one, many = MemoryStore(), MemoryStore()
    for store in (one, many):
        await world.store_raw(store)
    wanted = Job(FEED, "v1", START_NS, world.end_ns)
    await reprocess(wanted, lambda: one)
    monkeypatch.setattr("ssmd.reprocess.run.in_processes", lambda *_: here(many))
    summary = await reprocess(msgspec.structs.replace(wanted, parallel=parallel), lambda: many)
    assert summary.is_well
    assert await archive(many) == world.expected()
    assert many.objects == one.objects


@pytest.mark.slow
async def test_processes_give_the_same_bytes_as_one_worker(tmp_path, world):
    for name, parallel in (("one", 1), ("two", 2), ("three", 3)):
        await world.store_raw(local_store(tmp_path / name))
        wanted = Job(FEED, "v1", START_NS, world.end_ns, parallel)
        with trio.fail_after(60):
            summary = await reprocess(wanted, partial(local_store, tmp_path / name))
        assert summary.is_well
    one, two, three = (content(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two == three
    assert await archive(local_store(tmp_path / "two")) == world.expected()


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_warm_up_that_is_too_short_is_found_out(world, monkeypatch, autojump_clock):
    """Mutant: warm up ten minutes only, whatever connections are alive."""
    store = MemoryStore()
    await world.store_raw(store)
    monkeypatch.setattr("ssmd.reprocess.plan.Index.warm_ns", lambda _index, at_ns: at_ns - 2 * NS_PER_MINUTE)
    monkeypatch.setattr("ssmd.reprocess.run.in_processes", lambda *_: here(store))
    summary = await reprocess(Job(FEED, "v1", START_NS, world.end_ns, parallel=3), lambda: store)
    assert {problem.kind for problem in summary.problems} == {"border"}
    assert not summary.is_complete


async def test_raw_data_that_does_not_go_back_far_enough_is_said(world, autojump_clock):
    store = MemoryStore()
    await world.store_raw(store, edit=lambda minute, body: None if minute < 25 else body)
    summary = await reprocess(Job(FEED, "v1", START_NS + 26 * NS_PER_MINUTE, world.end_ns), lambda: store)
    kinds = {(problem.key, problem.kind) for problem in summary.problems}
    assert {("connection boot-0-4", "begin_unknown"), ("connection boot-1-3", "begin_unknown")} <= kinds
    assert summary.figures.rejects["unknown_connection"] > 0
    assert summary.manifest


async def test_warm_up_and_writing_are_separate_stretches(world, autojump_clock):
    _, shared = await planned(world, 2)
    for chunk in shared:
        cut = stretches(chunk)
        assert [step for steps in cut for step in steps] == list(chunk)
        assert all(len({step.writes for step in steps}) == 1 for steps in cut)


def test_nothing_known_is_no_broken_border():
    assert broken_border(Border(), Border()) == ""


@pytest.mark.slow
async def test_a_worker_that_is_killed_is_replaced(tmp_path, world, monkeypatch):
    """Mutant: a lost worker ends the run."""
    await world.store_raw(local_store(tmp_path))
    monkeypatch.setattr("ssmd.reprocess.processes.RETRY_AFTER_S", (0.01, 0.01))
    (tmp_path / "kill-me").touch()
    opener = partial(_opened_or_killed, tmp_path)
    work = in_processes(opener, 2, run_stretch)
    index = await read_index(local_store(tmp_path), FEED, START_NS, world.end_ns)
    (chunk,) = chunks(index, (), 1)
    stretch = Stretch(Target("v1", FEED, quality.source()), tuple(chunk))
    done = await patiently(work, stretch, lambda: False)
    assert done is not None
    assert len(done.minutes) == 40
    assert not (tmp_path / "kill-me").exists()


def _opened_or_killed(folder):
    """Open the store; the first process that does it dies."""
    if (folder / "kill-me").exists():
        (folder / "kill-me").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return local_store(folder)
