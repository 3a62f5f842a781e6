"""One connection for all: it is lent while it lives, made anew when it is lost, and its loss is a clear answer."""

import pytest
import trio
import trio.testing

from ssmd.bus.base import StreamSpec
from ssmd.bus.memory import MemoryDialer
from ssmd.errors import BusDown
from ssmd.gateway.history.link import CONNECT_WITHIN_S, BusLink
from ssmd.gateway.problems import Problem
from ssmd.supervisor import Check


def link_over(dialer: MemoryDialer) -> tuple[BusLink, Check]:
    check = Check("nats")
    return BusLink(dialer, "marketdata", check), check


async def test_everybody_shares_the_connection_and_drain_ends_it(autojump_clock, nursery):
    dialer = MemoryDialer()
    link, check = link_over(dialer)
    over = trio.Event()

    async def run(task_status=trio.TASK_STATUS_IGNORED):
        await link.run(task_status=task_status)
        over.set()

    await nursery.start(run)
    async with link.use() as one, link.use() as other:
        assert one is other
        await one.ensure_stream(StreamSpec("marketdata", ("md.>",), 1_000, 60))
    await trio.testing.wait_all_tasks_blocked()
    assert check.health.is_ok
    link.drain()
    await over.wait()
    assert not check.health.is_ok


async def test_a_connection_that_is_lost_is_noticed_at_once_by_who_uses_it(autojump_clock):
    dialer = MemoryDialer()
    link, _ = link_over(dialer)
    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            async with link.use() as bus:
                await bus.usage("marketdata")
            dialer.broker.drop_connections()
            with pytest.raises(Problem) as problem:
                async with link.use() as bus:
                    await bus.usage("marketdata")
            assert (problem.value.code, problem.value.retry_after_s) == ("unavailable", 2)
    assert raised.value.subgroup(BusDown) is not None
    assert trio.current_time() == 0


async def test_a_connection_that_nobody_uses_is_looked_at(autojump_clock):
    """Mutant: no ping; the loss of the bus was noticed by the next client, who got the error."""
    dialer = MemoryDialer()
    link, _ = link_over(dialer)
    with pytest.raises(ExceptionGroup):  # noqa: PT012
        async with trio.open_nursery() as nursery:
            await nursery.start(link.run)
            await trio.sleep(1)
            dialer.broker.drop_connections()
    assert trio.current_time() <= 5


async def test_without_a_connection_a_request_waits_a_moment_and_no_longer(autojump_clock):
    link, _ = link_over(MemoryDialer())
    with pytest.raises(Problem):
        async with link.use():
            pass
    assert trio.current_time() == CONNECT_WITHIN_S
