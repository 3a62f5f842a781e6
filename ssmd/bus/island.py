"""A thread with its own asyncio loop, inside the Trio tree, because the bus's driver speaks asyncio only.

Cross once per batch: a crossing costs some hundred microseconds. Cancelling the Trio side cancels the work on the
island. A thread that died or does not answer is noticed here, whatever the work's own deadline is.
"""

import asyncio  # noqa: TID251 (this is the island)
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Generic, TypeVar

import trio

from ssmd.errors import BusDown

T = TypeVar("T")
AtEnd = Callable[[], Coroutine[Any, Any, None]]

PULSE_EVERY_S: Final = 1.0
PULSE_WITHIN_S: Final = 4.0
"""Together at most 5 s until a hanging loop is noticed: half of what a frozen bus may cost."""

ABORT_WITHIN_S: Final = 1.0
"""How long a cancelled caller waits for its work to end; a cancel on a healthy loop takes some milliseconds."""

ABORT_AGAIN_S: Final = 0.02
"""nats-py swallows a cancel in places (publish to a full buffer); then the next one gets through."""

STOP_WITHIN_S: Final = 2.0


class _Call(Generic[T]):
    """One piece of work: started and aborted on the island, waited for in Trio."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], tell: Callable[[Callable[[], None]], None]) -> None:
        self.finished = trio.Event()
        self._work = work
        self._tell = tell
        self._task: asyncio.Task[T] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._work())
        self._task.add_done_callback(self._end)

    def abort(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            asyncio.get_running_loop().call_later(ABORT_AGAIN_S, self.abort)

    def _end(self, task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # marks it as seen: the caller may have left already
        self._tell(self.finished.set)

    def result(self) -> T:
        if self._task is None or not self._task.done() or self._task.cancelled():
            raise BusDown("the bus thread ended before the work was done")
        return self._task.result()


class Island:
    """Runs coroutines of its asyncio loop for Trio tasks. Made by open_island()."""

    def __init__(self, name: str, at_end: AtEnd | None) -> None:
        self._at_end = at_end
        self._trio = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._started = trio.Event()
        self._ended = trio.Event()
        self._dead: BusDown | None = None
        self._calls: set[_Call[Any]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the work on the island's loop and return what it returns; its errors cross unchanged.

        If cancelled, the work is cancelled too, and has ended when this returns (or ABORT_WITHIN_S have passed).
        Raises BusDown when the thread died or hangs.
        """
        call = _Call(work, self._tell)
        self._calls.add(call)
        try:
            self._require(self._post(call.start))
            await self._wait(call)
        finally:
            self._calls.discard(call)
            await self._abort(call)
        return call.result()

    async def _wait(self, call: _Call[T]) -> None:
        while True:
            with trio.move_on_after(PULSE_EVERY_S):
                await call.finished.wait()
            if call.finished.is_set():
                return
            await self._feel_pulse()

    async def _feel_pulse(self) -> None:
        beat = trio.Event()
        self._require(self._post(partial(self._tell, beat.set)))
        with trio.move_on_after(PULSE_WITHIN_S):
            await beat.wait()
        if not beat.is_set():
            self._dead = BusDown(f"the bus thread has not answered for {PULSE_WITHIN_S:g} s")
            raise self._dead

    async def _abort(self, call: _Call[T]) -> None:
        if call.finished.is_set() or not self._post(call.abort):
            return
        with trio.move_on_after(ABORT_WITHIN_S, shield=True):
            await call.finished.wait()

    def _post(self, callback: Callable[[], object]) -> bool:
        """Have the callback run on the island's thread; tell whether anybody is there to run it."""
        return self._dead is None and self._drop(callback)

    def _drop(self, callback: Callable[[], object]) -> bool:
        if self._loop is None:
            return False
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop is closed: the thread ended a moment ago
            return False
        return True

    def _require(self, posted: bool) -> None:
        if not posted:
            raise self._dead or BusDown("the bus thread has ended")

    def _tell(self, callback: Callable[[], None]) -> None:
        """Have the callback run on Trio's thread."""
        try:
            self._trio.run_sync_soon(callback)
        except trio.RunFinishedError:
            return  # nobody is left to hear it

    async def start(self) -> None:
        self._thread.start()
        with trio.move_on_after(STOP_WITHIN_S, shield=True):  # a cancel in between could not stop the thread
            await self._started.wait()

    async def stop(self) -> None:
        """End the thread. One that hangs is left behind as a daemon, and ends if it ever wakes up."""
        if self._stopping is not None:
            self._drop(self._stopping.set)
        with trio.move_on_after(STOP_WITHIN_S, shield=True):
            await self._ended.wait()
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        finally:
            self._tell(self._mourn)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._tell(self._started.set)
        try:
            await self._stopping.wait()
        finally:
            if self._at_end is not None:
                await self._at_end()

    def _mourn(self) -> None:
        self._dead = self._dead or BusDown("the bus thread has ended")
        self._started.set()
        self._ended.set()
        for call in self._calls:
            call.finished.set()


@asynccontextmanager
async def open_island(name: str = "bus", at_end: AtEnd | None = None) -> AsyncIterator[Island]:
    """Start a bus thread that ends with the context; `at_end` tidies up on it, also when it dies before that."""
    island = Island(name, at_end)
    try:
        await island.start()
        yield island
    finally:
        await island.stop()
