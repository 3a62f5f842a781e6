"""Several calls to stores in flight at once."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import trio

T = TypeVar("T")

AT_ONCE: Final = 8
"""So many objects are held in memory at a time; a store's driver has as many threads."""


async def in_parallel(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do the work for each item, several at a time. The first error ends all of it."""
    waiting = iter(items)

    async def work_on() -> None:
        for item in waiting:  # shared: each goes to one of them
            await work(item)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work_on)
