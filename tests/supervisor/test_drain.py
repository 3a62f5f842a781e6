from contextlib import suppress

import pytest
import trio

from ssmd.errors import BusDown, MailboxClosed
from ssmd.supervisor import (
    Backoff,
    ChildSpec,
    ChildState,
    HealthBoard,
    Intensity,
    Mailbox,
    Overflow,
    Restart,
    Strategy,
    Supervisor,
    Surroundings,
    longest_drain_s,
)

from .fakes import Log, child, crash_always, crash_on, hang, until_drained

LONG = Backoff(first_s=20, jitter=0)


def tree(strategy, *children, **surroundings):
    return Supervisor("tree", strategy, children, surroundings=Surroundings(**surroundings))


async def drain_after(seconds, supervisor):
    """Return how long the drain took."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await trio.sleep(seconds)
        began_s = trio.current_time()
        supervisor.drain()
    return trio.current_time() - began_s


def drains_in(seconds):
    async def work(fake):
        await fake.drained.wait()
        await trio.sleep(seconds)

    return work


@pytest.mark.parametrize("strategy", Strategy)
async def test_children_drain_last_to_first_each_after_the_one_before_has_ended(autojump_clock, strategy):
    log = Log()
    took_s = await drain_after(3, tree(strategy, *(child(name, log, drains_in(1)) for name in "abc")))
    assert log.events[3:] == [(what, name) for name in "cba" for what in ("drain", "end")]
    assert took_s == 3.0


async def test_draining_twice_is_draining_once(autojump_clock):
    log = Log()
    group = tree(Strategy.ONE_FOR_ONE, child("a", log))
    group.drain()
    await drain_after(0, group)
    assert log.names("drain") == ["a"]


async def test_a_child_that_does_not_drain_in_time_is_cancelled_and_reported(autojump_clock):
    log, changes = Log(), []
    group = tree(
        Strategy.ONE_FOR_ONE,
        child("a", log),
        child("b", log, hang, drain_within_s=2.0),
        observe=changes.append,
    )
    assert await drain_after(1, group) == 2.0
    late = [change for change in changes if change.state is ChildState.FAILED]
    assert [(change.child, change.error) for change in late] == [
        ("b", "TimeoutError('not drained within 2 s, cancelled')")
    ]
    assert log.events[-2:] == [("drain", "a"), ("end", "a")]


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_tree_drained_before_it_runs_still_runs_every_child_once(autojump_clock, strategy):
    log = Log()
    group = tree(strategy, *(child(name, log) for name in "abc"))
    group.drain()
    await group.run()
    assert log.names("start") == ["a", "b", "c"]
    assert log.names("end") == ["c", "b", "a"]


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_consumer_in_backoff_still_empties_its_inbox_on_drain(autojump_clock, strategy):
    # Mutant: skipping children without an actor in _drain; the items stay in the mailbox.
    log, inbox, got = Log(), Mailbox("inbox", 10, Overflow.BLOCK), []

    async def consume(fake):
        if fake.run_no == 1:
            raise ValueError("before the first item")
        await fake.drained.wait()
        inbox.close()
        with suppress(MailboxClosed):
            while True:
                async with inbox.lease(2) as items:
                    got.extend(items)

    for item in range(5):
        inbox.offer(item)
    took_s = await drain_after(1, tree(strategy, child("consumer", log, consume, backoff=LONG)))
    assert got == [0, 1, 2, 3, 4]
    assert log.names("start") == ["consumer"] * 2
    assert took_s == 0.0


async def test_a_sink_in_backoff_is_woken_when_the_drain_begins_not_at_its_turn(autojump_clock):
    # Mutant: `wake = child.turn` always; then the source drains into a full mailbox that nobody reads.
    log, pipe, got = Log(), Mailbox("pipe", 1, Overflow.BLOCK), []

    async def sink(fake):
        if fake.run_no == 1:
            raise BusDown("away")
        while len(got) < 3:
            async with pipe.lease(1) as items:
                got.extend(items)

    async def source(fake):
        await fake.drained.wait()
        for item in range(3):
            await pipe.put(item)

    group = tree(Strategy.ONE_FOR_ONE, child("sink", log, sink, backoff=LONG), child("source", log, source))
    assert await drain_after(1, group) == 0.0
    assert got == [0, 1, 2]


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_child_that_crashes_while_it_drains_runs_once_more(autojump_clock, strategy):
    log, board = Log(), HealthBoard()

    async def work(fake):
        await fake.drained.wait()
        if fake.run_no == 1:
            raise ValueError("while draining")

    await drain_after(1, tree(strategy, child("a", log, work), child("b", log), board=board))
    assert log.names("start") == ["a", "b", "a"]
    assert [health.state for health in board.snapshot()] == [ChildState.FINISHED] * 2


async def test_a_child_that_crashes_in_its_last_run_too_has_failed_and_the_others_still_drain(autojump_clock):
    log, board = Log(), HealthBoard()

    async def work(fake):
        await fake.drained.wait()
        raise ValueError(f"run {fake.run_no}")

    await drain_after(1, tree(Strategy.ONE_FOR_ONE, child("a", log), child("b", log, work), board=board))
    assert log.names("start") == ["a", "b", "b"]
    assert [(health.state, health.error) for health in board.snapshot()] == [
        (ChildState.FINISHED, None),
        (ChildState.FAILED, "ValueError('run 2')"),
    ]


@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
async def test_a_crash_during_the_drain_does_not_stop_the_neighbours_that_drain(autojump_clock, strategy):
    # Mutant: end_round() without looking at `_asked`; c's drain is cut short and it starts again after its turn.
    log = Log()

    async def crash_at_two(fake):
        if fake.run_no == 1:
            await trio.sleep(2)
            raise ValueError("while c drains")
        await fake.drained.wait()

    await drain_after(1, tree(strategy, child("a", log, crash_at_two), child("b", log), child("c", log, drains_in(3))))
    assert log.names("start") == ["a", "b", "c", "a"]
    assert log.at_s("end", "c") == [4.0]


async def test_crashes_during_the_drain_never_climb(autojump_clock):
    log = Log()
    group = Supervisor(
        "tree",
        Strategy.ONE_FOR_ONE,
        [child("a", log, crash_on(1, 2, 3, after_s=1)), child("b", log, drains_in(4.5))],
        intensity=Intensity(restarts=0, within_s=60),
    )
    await drain_after(0.5, group)
    assert log.names("start").count("a") == 4


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_drain_during_the_boot_waits_for_no_started(autojump_clock, strategy):
    log = Log()
    group = tree(
        strategy,
        child("a", log),
        child("b", log, until_drained, says_started=False, start_within_s=100),
        child("c", log),
    )
    assert await drain_after(1, group) == 0.0
    assert log.names("start") == ["a", "b", "c"]
    assert log.names("end") == ["c", "b", "a"]


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_drain_before_the_boot_waits_for_no_started_either(autojump_clock, strategy):
    # Mutant: no go_on in _build_and_run; then c waits for b and is cut off by its drain deadline before it ever ran.
    log = Log()
    group = tree(
        strategy,
        child("a", log),
        child("b", log, until_drained, says_started=False, start_within_s=100),
        child("c", log),
    )
    group.drain()
    assert await drain_after(0, group) == 0.0
    assert log.names("start") == ["a", "b", "c"]
    assert log.names("end") == ["c", "b", "a"]


async def test_a_child_that_cannot_be_built_does_not_hold_up_a_drain_during_the_boot(autojump_clock):
    # Mutant: no go_on after a crash in _runs; then c is cut off by its drain deadline before it ever ran.
    log = Log()

    def build():
        raise ValueError("no such file")

    group = tree(Strategy.ONE_FOR_ONE, ChildSpec("b", build, backoff=LONG), child("c", log))
    group.drain()
    with trio.fail_after(0.1):
        await group.run()
    assert log.names("end") == ["c"]


async def test_a_drain_that_raises_is_the_childs_fault_and_it_is_cancelled(autojump_clock):
    log, board = Log(), HealthBoard()

    class Broken:
        async def run(self, *, task_status):
            task_status.started()
            await trio.sleep_forever()

        def drain(self):
            raise ValueError("cannot drain")

    group = tree(Strategy.ONE_FOR_ONE, child("a", log), ChildSpec("b", Broken), board=board)
    assert await drain_after(1, group) == 0.0
    assert [(health.state, health.error) for health in board.snapshot()] == [
        (ChildState.FINISHED, None),
        (ChildState.FAILED, "ValueError('cannot drain')"),
    ]


async def test_a_permanent_child_may_return_once_the_drain_has_begun(autojump_clock):
    log, board = Log(), HealthBoard()
    group = tree(Strategy.ONE_FOR_ONE, child("a", log, restart=Restart.PERMANENT), board=board)
    await drain_after(1, group)
    assert log.names("start") == ["a"]
    assert board.snapshot()[0].state is ChildState.FINISHED


async def test_a_nested_tree_drains_in_its_turn_within_the_sum_of_its_deadlines(autojump_clock):
    log = Log()
    inner = [child("b1", log, hang, drain_within_s=1.0), child("b2", log, hang, drain_within_s=2.0)]
    outer = [
        child("a", log),
        ChildSpec(
            "b", lambda: Supervisor("b", Strategy.ONE_FOR_ONE, inner), drain_within_s=longest_drain_s(inner) + 0.5
        ),
        child("c", log, drains_in(1)),
    ]
    assert await drain_after(1, tree(Strategy.ONE_FOR_ONE, *outer)) == 4.0
    assert log.names("end") == ["c", "b2", "b1", "a"]
    assert longest_drain_s(outer) == 5.0 + 3.5 + 5.0


async def test_a_nested_tree_in_backoff_runs_once_more_so_that_its_children_drain(autojump_clock):
    log = Log()

    def branch():
        crash_once = child("leaf", log, crash_on(1))
        return Supervisor("branch", Strategy.ONE_FOR_ONE, [crash_once], intensity=Intensity(0, 60))

    assert await drain_after(5, tree(Strategy.ONE_FOR_ONE, ChildSpec("branch", branch, backoff=LONG))) == 0.0
    assert sorted(log.events[2:4]) == [("drain", "leaf"), ("start", "leaf")]
    assert log.events[4:] == [("end", "leaf")]


async def test_the_state_shown_while_draining_is_draining(autojump_clock):
    log, board = Log(), HealthBoard()
    group = tree(Strategy.ONE_FOR_ONE, child("a", log, drains_in(3)), board=board)
    async with trio.open_nursery() as nursery:
        await nursery.start(group.run)
        group.drain()
        await trio.sleep(1)
        assert board.snapshot()[0].state is ChildState.DRAINING


async def test_a_crash_loop_does_not_outlive_its_drain_deadline(autojump_clock):
    log = Log()
    group = tree(Strategy.ONE_FOR_ONE, child("a", log, crash_always(after_s=2), drain_within_s=3.0))
    assert await drain_after(1, group) == 3.0
