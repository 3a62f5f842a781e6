import pytest
import trio

from ssmd.actors.budget import ConnectBudget


async def test_sessions_that_wait_together_keep_the_limit_together(autojump_clock):
    """Mutant: compute the free place before the sleep only; 300 of 300 connected at once with a limit of 120."""
    budget, taken_s = ConnectBudget(120, 600), []

    async def take() -> None:
        await budget.take()
        taken_s.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(take)
    taken_s.sort()
    assert all(later - earlier >= 600 for earlier, later in zip(taken_s, taken_s[120:], strict=False))


async def test_a_hold_reaches_those_who_wait_already(autojump_clock):
    budget = ConnectBudget(1, 10)
    await budget.take()
    began_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(budget.take)
        await trio.sleep(5)
        budget.hold(60)
    assert trio.current_time() - began_s == pytest.approx(65)
