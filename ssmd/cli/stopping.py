"""End long work cleanly: the first signal lets it finish what is in hand, the second one stops it now."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import trio

from ssmd.cli.output import say
from ssmd.cli.progress import Progress

T = TypeVar("T")


async def stoppable(bar: Progress, work: Callable[[], Awaitable[T]]) -> T | None:
    """Return what the work returns, which looks at `bar.stops`; None after a second signal."""
    result: T | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, signals, bar, nursery.cancel_scope)
            result = await work()
            nursery.cancel_scope.cancel()
    return result


async def unless_stopped(bar: Progress, work: Callable[[], Awaitable[T]]) -> T | None:
    """Return what the work returns; None once a signal has come, and then it was cancelled."""
    result: T | None = None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at, signals, bar, nursery.cancel_scope)
            result = await work()
            nursery.cancel_scope.cancel()
    return result


async def _cancel_at(signals: AsyncIterator[int], bar: Progress, scope: trio.CancelScope) -> None:
    bar.stopped_by = await anext(signals)
    scope.cancel()


async def _listen(signals: AsyncIterator[int], bar: Progress, scope: trio.CancelScope) -> None:
    bar.stopped_by = await anext(signals)
    say("stopping after what is in hand; once more stops now")
    await anext(signals)
    scope.cancel()
