import pytest
import trio

from ssmd.actors.budget import ConnectBudget


async def takes(budget: ConnectBudget, count: int) -> list[float]:
    times = []
    for _ in range(count):
        await budget.take()
        times.append(trio.current_time())
    return times


async def test_no_window_holds_more_than_its_count_for_hours(autojump_clock):
    times = await takes(ConnectBudget(3, 600), 60)
    assert all(later - earlier >= 600 for earlier, later in zip(times, times[3:], strict=False))
    assert times[-1] == pytest.approx(19 * 600, abs=1)


async def test_within_the_budget_nobody_waits(autojump_clock):
    await takes(ConnectBudget(120, 600), 120)
    assert trio.current_time() == 0


async def test_hold_keeps_everyone_away_and_a_shorter_hold_does_not_shorten_it(autojump_clock):
    budget = ConnectBudget(120, 600)
    budget.hold(5)
    budget.hold(1)
    assert await takes(budget, 2) == [5, 5]
