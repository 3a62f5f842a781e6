"""What `ssmd sub` does: the stream of a running system as JSON lines."""

import contextlib
import math
import signal
import sys
from collections.abc import AsyncIterator

import trio

from ssmd.errors import ConfigError
from ssmd.reprocess.show import message_line
from ssmd.trees import listen


async def print_events(url: str, stream: str, subject: str, count: int | None) -> int:
    if count is not None and count < 1:
        raise ConfigError(f"--count is {count}; it must be at least 1")
    async with until_signal():
        await _print(url, stream, subject, math.inf if count is None else count)
    return 0


@contextlib.asynccontextmanager
async def until_signal() -> AsyncIterator[None]:
    """Cancel the block at SIGINT or SIGTERM: for what has no end of its own, a signal is the ordinary one."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_at_signal, signals, nursery.cancel_scope)
            yield
            nursery.cancel_scope.cancel()


async def _stop_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def _print(url: str, stream: str, subject: str, left: float) -> None:
    def say_ready() -> None:
        sys.stderr.write(f"listening to {subject} on {url}\n")

    async with contextlib.aclosing(listen(url, stream, subject, say_ready)) as messages:
        async for message in messages:
            sys.stdout.buffer.write(message_line(message.subject, message.payload))
            sys.stdout.flush()
            left -= 1
            if left <= 0:
                return
