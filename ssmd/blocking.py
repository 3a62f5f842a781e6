"""Where blocking work runs: in a thread, or, under a virtual clock that tolerates no threads, right here."""

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Blocking(Protocol):
    async def __call__(self, work: Callable[[*Ts], T], *args: *Ts) -> T:
        """Return what the work returns; a checkpoint. Once begun it is not interrupted by cancellation."""
        ...


async def in_thread(work: Callable[[*Ts], T], *args: *Ts) -> T:
    return await trio.to_thread.run_sync(work, *args)


async def inline(work: Callable[[*Ts], T], *args: *Ts) -> T:
    await trio.lowlevel.checkpoint()
    return work(*args)
