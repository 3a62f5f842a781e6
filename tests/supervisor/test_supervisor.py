import pytest
import trio

from ssmd.supervisor import (
    Backoff,
    ChildSpec,
    ChildState,
    HealthBoard,
    Intensity,
    Restart,
    Strategy,
    Supervisor,
    Surroundings,
)

from .fakes import STEADY, Log, child, crash_always, crash_on, finish, hang, run_seeded

LENIENT = Intensity(restarts=10_000, within_s=60)


def tree(strategy, *children, intensity=LENIENT, **surroundings):
    return Supervisor("tree", strategy, children, intensity=intensity, surroundings=Surroundings(**surroundings))


async def run_for(seconds, supervisor):
    with trio.move_on_after(seconds):
        await supervisor.run()


# What a crash stops


async def test_one_for_one_restarts_only_the_child_that_crashed(autojump_clock):
    log = Log()
    await run_for(10, tree(Strategy.ONE_FOR_ONE, child("a", log), child("b", log, crash_on(1)), child("c", log)))
    assert log.names("start") == ["a", "b", "c", "b"]


async def test_the_backoff_of_one_child_does_not_delay_its_sibling(autojump_clock):
    log = Log()
    slow = Backoff(first_s=20, jitter=0)
    await run_for(
        30,
        tree(
            Strategy.ONE_FOR_ONE,
            child("slow", log, crash_on(1, after_s=1), backoff=slow),
            child("quick", log, crash_on(1, after_s=2)),
        ),
    )
    assert log.at_s("start", "quick") == pytest.approx([0, 2.1])
    assert log.at_s("start", "slow") == pytest.approx([0, 21])


async def test_rest_for_one_restarts_the_crashed_child_and_those_after_it(autojump_clock):
    log = Log()
    await run_for(10, tree(Strategy.REST_FOR_ONE, child("a", log), child("b", log, crash_on(1)), child("c", log)))
    assert log.names("start") == ["a", "b", "c", "b", "c"]
    assert log.at_s("end", "c")[0] == 1.0
    assert log.at_s("start", "c")[1] == pytest.approx(1.1)


async def test_one_for_all_restarts_everyone(autojump_clock):
    log = Log()
    await run_for(10, tree(Strategy.ONE_FOR_ALL, child("a", log), child("b", log, crash_on(1)), child("c", log)))
    assert log.names("start") == ["a", "b", "c"] * 2


async def test_the_pause_begins_only_after_the_neighbours_have_ended(autojump_clock):
    log = Log()

    async def slow_to_end(fake):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 3):
                await trio.sleep_forever()

    await run_for(8, tree(Strategy.ONE_FOR_ALL, child("a", log, crash_on(1)), child("b", log, slow_to_end)))
    assert log.at_s("end", "b")[0] == 4.0
    assert log.at_s("start", "a")[1] == pytest.approx(4.1)


async def test_two_crashes_in_one_tick_restart_the_group_once(autojump_clock):
    # Mutant: no checkpoint_if_cancelled() after a crash; then both heads end the round, and two restarts are counted.
    log, changes = Log(), []
    group = tree(
        Strategy.ONE_FOR_ALL, child("a", log, crash_on(1)), child("b", log, crash_on(1)), observe=changes.append
    )
    await run_for(10, group)
    assert log.names("start") == ["a", "b"] * 2
    assert [change.state for change in changes].count(ChildState.BACKOFF) == 1


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("strategy", [Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL])
def test_a_crash_in_the_tick_in_which_the_next_child_is_due_lets_it_wait_for_the_next_round(strategy, seed):
    # Two mutants, one per order of the two tasks in that tick: no checkpoint_if_cancelled() in _round (then b uses up
    # the life that belongs to the next round), and none in _live (then b is built though its round has ended).
    log = Log()

    async def crash_right_after_started(fake):
        if fake.run_no == 1:
            await trio.lowlevel.checkpoint()
            raise ValueError("one tick after started")
        await fake.drained.wait()

    async def main():
        await run_for(1, tree(strategy, child("a", log, crash_right_after_started), child("b", log)))

    run_seeded(seed, main)
    assert log.names("start") == ["a", "a", "b"]


async def test_finished_children_run_again_when_their_group_restarts(autojump_clock):
    log = Log()
    await run_for(9, tree(Strategy.REST_FOR_ONE, child("a", log, crash_on(1, after_s=5)), child("b", log, finish)))
    assert log.names("start") == ["a", "b"] * 2


async def test_a_tree_ends_when_every_child_has_finished(autojump_clock):
    log = Log()
    for strategy in Strategy:
        await tree(strategy, child("a", log, finish), child("b", log, finish)).run()
    assert sorted(log.names("end")) == ["a"] * 3 + ["b"] * 3


async def test_a_tree_without_children_is_finished_at_once():
    for strategy in Strategy:
        async with trio.open_nursery() as nursery:
            await nursery.start(tree(strategy).run)


def test_two_children_of_one_name_are_refused():
    with pytest.raises(ValueError, match="same name"):
        tree(Strategy.ONE_FOR_ONE, child("a", Log()), child("a", Log()))


# Restart policies


async def test_a_temporary_child_is_not_restarted_and_its_group_does_not_notice(autojump_clock):
    log, board = Log(), HealthBoard()
    group = tree(
        Strategy.ONE_FOR_ALL,
        child("a", log, finish),
        child("b", log, crash_always(), restart=Restart.TEMPORARY),
        board=board,
    )
    await group.run()
    assert log.names("start") == ["a", "b"]
    assert [health.state for health in board.snapshot()] == [ChildState.FINISHED, ChildState.FAILED]


async def test_the_return_of_a_permanent_child_is_a_crash(autojump_clock):
    log, board = Log(), HealthBoard()
    await run_for(1.5, tree(Strategy.ONE_FOR_ONE, child("a", log, finish, restart=Restart.PERMANENT), board=board))
    assert log.names("start") == ["a", "a"]
    assert board.snapshot()[0].error == "RuntimeError('tree/a is permanent and returned')"


# Starting


@pytest.mark.parametrize("strategy", Strategy)
async def test_children_start_left_to_right_each_waiting_for_started(autojump_clock, strategy):
    log = Log()

    def slow(name):
        class Slow:
            async def run(self, *, task_status):
                log.add("start", name)
                await trio.sleep(1)
                log.add("started", name)
                task_status.started()

            def drain(self):
                pass

        return ChildSpec(name, Slow)

    await tree(strategy, slow("a"), slow("b"), slow("c")).run()
    assert log.events == [(what, name) for name in "abc" for what in ("start", "started")]


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_child_that_fails_before_started_is_retried_and_does_not_block_the_boot(autojump_clock, strategy):
    log = Log()
    group = tree(strategy, child("a", log), child("b", log, crash_always(), says_started=False), child("c", log))
    async with trio.open_nursery() as nursery:
        with trio.fail_after(0.05):
            await nursery.start(group.run)
        if strategy is Strategy.ONE_FOR_ONE:
            assert log.names("start")[:3] == ["a", "b", "c"]
        await trio.sleep(5)
        assert log.names("start").count("b") == 6
        nursery.cancel_scope.cancel()


async def test_a_child_that_never_says_started_delays_its_siblings_for_a_limited_time(autojump_clock):
    log = Log()
    group = tree(
        Strategy.REST_FOR_ONE, child("a", log, hang, says_started=False, start_within_s=3.0), child("b", log, hang)
    )
    async with trio.open_nursery() as nursery:
        began_s = trio.current_time()
        await nursery.start(group.run)
        assert trio.current_time() - began_s == 3.0
        assert log.names("start") == ["a", "b"]
        assert "a" not in log.names("end")
        nursery.cancel_scope.cancel()


async def test_a_build_that_raises_is_a_crash(autojump_clock):
    tries = []

    def build():
        tries.append(trio.current_time())
        raise ValueError("no such file")

    await run_for(1, tree(Strategy.ONE_FOR_ONE, ChildSpec("a", build, backoff=STEADY)))
    assert [time_s - tries[0] for time_s in tries] == pytest.approx([0, 0.1, 0.3, 0.7])


async def test_saying_started_again_changes_nothing(autojump_clock):
    changes = []

    class Eager:
        async def run(self, *, task_status):
            task_status.started()
            await trio.sleep(1)
            task_status.started()

        def drain(self):
            pass

    await tree(Strategy.ONE_FOR_ONE, ChildSpec("a", Eager), observe=changes.append).run()
    assert [change.state.value for change in changes] == ["starting", "running", "finished"]


# Telling


async def test_every_change_is_observed_with_its_reason(autojump_clock):
    log, changes = Log(), []
    await run_for(4, tree(Strategy.ONE_FOR_ONE, child("a", log, crash_on(1)), observe=changes.append))
    assert [(change.state.value, change.restarts, change.error, change.retry_in_s) for change in changes] == [
        ("starting", 0, None, None),
        ("running", 0, None, None),
        ("backoff", 0, "ValueError('run 1')", 0.1),
        ("starting", 1, None, None),
        ("running", 1, None, None),
        ("finished", 1, None, None),
    ]
    assert {(change.supervisor, change.child) for change in changes} == {("tree", "a")}
    assert isinstance(changes[2].cause, ValueError)
    assert changes[2].cause.__traceback__ is not None
