import pytest
import trio

from ssmd.supervisor import ChildState, HealthBoard, Strategy, Supervisor, Surroundings

from .fakes import Log, child, hang


def tree(strategy, *children, **surroundings):
    return Supervisor("tree", strategy, children, surroundings=Surroundings(**surroundings))


async def cancel_after(seconds, supervisor):
    with trio.move_on_after(seconds) as scope:
        await supervisor.run()
    return scope.cancelled_caught


async def breaks_while_cancelled(fake):
    try:
        await trio.sleep_forever()
    finally:
        raise ValueError("in cleanup")


async def breaks_as_a_mixed_group(fake):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang, fake)
        nursery.start_soon(breaks_while_cancelled, fake)


@pytest.mark.parametrize("strategy", Strategy)
async def test_a_cancelled_child_has_not_crashed(autojump_clock, strategy):
    log, changes = Log(), []
    assert await cancel_after(1, tree(strategy, child("a", log, hang), child("b", log, hang), observe=changes.append))
    assert log.names("start") == ["a", "b"]
    assert {change.error for change in changes} == {None}
    assert changes[-1].state is ChildState.FINISHED


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("work", [breaks_while_cancelled, breaks_as_a_mixed_group])
async def test_an_error_during_cancellation_is_reported_but_neither_escapes_nor_restarts(
    autojump_clock, strategy, work
):
    # Mutant: no split of groups; then the mixed group escapes through the supervisor and ends the process.
    log, board = Log(), HealthBoard()
    assert await cancel_after(1, tree(strategy, child("a", log, work), child("b", log, work), board=board))
    assert log.names("start") == ["a", "b"]
    assert {(health.state, health.error) for health in board.snapshot()} == {
        (ChildState.FAILED, "ValueError('in cleanup')")
    }


@pytest.mark.parametrize("work", [breaks_while_cancelled, breaks_as_a_mixed_group])
async def test_an_error_while_cut_short_by_the_drain_deadline_is_not_a_crash(autojump_clock, work):
    log, board = Log(), HealthBoard()
    group = tree(Strategy.ONE_FOR_ONE, child("a", log, work), board=board)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.run)
        await trio.sleep(1)
        group.drain()
    assert log.names("start") == ["a"]
    assert board.snapshot()[0].error == "ValueError('in cleanup')"


@pytest.mark.parametrize("work", [breaks_while_cancelled, breaks_as_a_mixed_group])
async def test_a_neighbour_that_breaks_while_its_group_restarts_is_not_counted(autojump_clock, work):
    log, changes = Log(), []

    async def crash_once(fake):
        await trio.sleep(1)
        if fake.run_no == 1:
            raise KeyError("first")
        await fake.drained.wait()

    group = tree(Strategy.ONE_FOR_ALL, child("a", log, crash_once), child("b", log, work), observe=changes.append)
    assert await cancel_after(10, group)
    assert log.names("start") == ["a", "b"] * 2
    assert [change.child for change in changes if change.state is ChildState.BACKOFF] == ["a"]


async def test_a_group_of_errors_without_a_cancel_is_a_crash(autojump_clock):
    log, board = Log(), HealthBoard()

    async def work(fake):
        if fake.run_no == 1:
            raise ExceptionGroup("two", [ValueError("x"), KeyError("y")])
        await fake.drained.wait()

    await cancel_after(10, tree(Strategy.ONE_FOR_ONE, child("a", log, work), board=board))
    assert log.names("start") == ["a", "a"]
    assert board.snapshot()[0].error == "ValueError('x'); KeyError('y')"


async def test_a_stale_cancel_in_a_group_does_not_hide_a_crash(autojump_clock):
    log = Log()

    async def work(fake):
        kept = []
        with trio.move_on_after(1):
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                kept.append(cancelled)
                raise
        if fake.run_no == 1:
            raise BaseExceptionGroup("stale", [*kept, ValueError("bug")])
        await fake.drained.wait()

    await cancel_after(10, tree(Strategy.ONE_FOR_ONE, child("a", log, work)))
    assert log.names("start") == ["a", "a"]


@pytest.mark.parametrize("leaves", [[KeyboardInterrupt()], [KeyboardInterrupt(), ValueError("bug")]])
async def test_a_keyboard_interrupt_is_nobodys_crash_and_ends_the_tree(autojump_clock, leaves):
    log = Log()

    async def work(fake):
        raise BaseExceptionGroup("interrupted", leaves)

    with pytest.raises(BaseExceptionGroup) as ended:
        await tree(Strategy.ONE_FOR_ONE, child("a", log, work), child("b", log, hang)).run()
    assert ended.value.subgroup(KeyboardInterrupt) is not None
    assert log.names("start").count("a") == 1


async def test_cancelling_in_the_middle_of_a_drain_ends_at_once(autojump_clock):
    log = Log()
    group = tree(Strategy.ONE_FOR_ONE, child("a", log), child("b", log, hang, drain_within_s=100))
    group.drain()
    assert await cancel_after(1, group)
    assert sorted(log.names("end")) == ["a", "b"]


async def test_cancelling_during_a_backoff_ends_at_once(autojump_clock):
    log = Log()

    async def work(fake):
        raise ValueError("bug")

    assert await cancel_after(0.05, tree(Strategy.ONE_FOR_ONE, child("a", log, work)))
    assert log.names("start") == ["a"]
