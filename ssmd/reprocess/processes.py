"""Work in processes of their own: Python decodes on one core per process only."""

import gc
import signal
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio  # noqa: TID251  parallel reprocessing is what it is for
import anyio.to_process  # noqa: TID251
import trio

from ssmd.errors import SsmdError, StoreDown
from ssmd.protocols.decoder import VERSIONS, Versions
from ssmd.reprocess.stretch import Stretch, StretchDone, run_stretch
from ssmd.store.base import Store

T = TypeVar("T")
R = TypeVar("R")

OpenStore = Callable[[], Store]
"""Opens the store in any process: it can be pickled, such as functools.partial of a function and plain values."""


class WorkerLost(SsmdError):
    """A worker process ended before its stretch did: killed, out of memory. Doing the stretch again is harmless."""


Work = Callable[[Stretch], Awaitable[StretchDone]]

RETRY_AFTER_S: Final = (1.0, 5.0, 15.0, 30.0)
"""The store has tried by itself already; then the run ends, and can be repeated."""


def here(store: Store, versions: Versions = VERSIONS) -> Work:
    """Return work in this process."""

    async def work(stretch: Stretch) -> StretchDone:
        return await run_stretch(store, stretch, versions)

    return work


def in_processes(
    open_store: OpenStore, parallel: int, run: Callable[[Store, T], Awaitable[R]]
) -> Callable[[T], Awaitable[R]]:
    """Return work that up to `parallel` processes share. Cancelled, they are killed: what they wrote is whole.

    run: a function of a module, so that it can be named to another process. Raises WorkerLost.
    """
    limiter = anyio.CapacityLimiter(parallel)

    async def work(unit: T) -> R:
        try:
            return await anyio.to_process.run_sync(_in_worker, open_store, run, unit, cancellable=True, limiter=limiter)
        except (anyio.BrokenWorkerProcess, KeyboardInterrupt) as error:  # the worker's own: Ctrl-C met it as it started
            raise WorkerLost(f"a worker process ended: {error!r}") from error

    return work


def settle() -> None:
    """Leave what is loaded by now out of later garbage collections, once per process: saves 0.3 µs per frame.

    Objects are made so fast that all of them are searched for garbage every few seconds, modules first of all.
    """
    if not gc.get_freeze_count():
        gc.collect()
        gc.freeze()


def _in_worker(open_store: OpenStore, run: Callable[[Store, T], Awaitable[R]], unit: T) -> R:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the first process decides
    settle()
    return trio.run(run, open_store(), unit)  # noqa: TID251  a process of its own has its own loop


async def patiently(work: Work, stretch: Stretch, stops: Callable[[], bool]) -> StretchDone | None:
    """Do a stretch; while the store is away or a worker dies, wait and begin it anew; None if it stops meanwhile.

    Raises StoreDown or WorkerLost when that does not help.
    """
    for delay_s in RETRY_AFTER_S:
        try:
            return await work(stretch)
        except (StoreDown, WorkerLost):
            pass
        except BaseExceptionGroup as group:
            if group.split(StoreDown)[1] is not None:
                raise
        if stops():
            return None
        await trio.sleep(delay_s)
    return await work(stretch)
