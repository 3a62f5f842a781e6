"""Several calls to stores in flight at once, and patience with a store that is away for a moment."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

import trio

from ssmd.errors import StoreDown, StoreRefused

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE: Final = 8
"""So many objects are held in memory at a time; a store's driver has as many threads."""
RETRY_AFTER_S: Final = (1.0, 5.0, 15.0)
"""The store has tried by itself already; then the run ends, and can be repeated."""


async def in_parallel(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Do the work for each item, several at a time. The first error ends all of it."""
    waiting = iter(items)

    async def work_on() -> None:
        for item in waiting:  # shared: each goes to one of them
            await work(item)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(work_on)


async def patiently(call: Callable[[], Awaitable[R]]) -> R:
    """Return what the call returns; it is made again while the store is away. Raises StoreDown when that does not help."""
    for delay_s in RETRY_AFTER_S:
        try:
            return await call()
        except StoreRefused:
            raise
        except StoreDown:
            pass
        await trio.sleep(delay_s)
    return await call()
