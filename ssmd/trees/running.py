"""Run one tree in this process until it ends or a signal asks it to."""

import os
import signal
from collections.abc import AsyncIterator, Callable

import trio

from ssmd.log import get_logger
from ssmd.supervisor import Supervisor


async def run_tree(tree: Supervisor, when_ready: Callable[[trio.Nursery], None]) -> None:
    """Start the tree, call `when_ready` once every child has started, return when the tree has ended.

    The first SIGINT or SIGTERM drains it, a second one ends the process at once. Tasks that `when_ready` starts in
    the nursery it gets are cancelled when the tree has ended.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as beside:
            beside.start_soon(_obey_signals, tree, signals)
            async with trio.open_nursery() as nursery:
                await nursery.start(tree.run)
                when_ready(beside)
            beside.cancel_scope.cancel()


async def _obey_signals(tree: Supervisor, signals: AsyncIterator[int]) -> None:
    number = await anext(signals)
    get_logger().info("draining", signal=signal.Signals(number).name)
    tree.drain()
    number = await anext(signals)
    os._exit(128 + number)
