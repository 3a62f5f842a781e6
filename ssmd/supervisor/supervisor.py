"""A supervisor is a nursery, retried; the strategies differ only in what one round of the retry holds.

    one_for_one    a loop around each child
    rest_for_one   a loop around the first child; inside it the rest again
    one_for_all    a loop around all

Ending is one sweep from the last child to the first: with a deadline each to drain, or at once after too many crashes.
This is the one file that may catch `Exception`: everything an actor raises is judged here.
"""

import math
from collections.abc import Callable, Sequence

import trio

from ssmd.errors import RestartIntensityExceeded
from ssmd.supervisor.child import Child, Life
from ssmd.supervisor.health import ChildState
from ssmd.supervisor.pacing import CrashLog, Intensity, brief, is_outage
from ssmd.supervisor.spec import ChildChanged, ChildSpec, Restart, Strategy, Surroundings


class Supervisor:
    """Run children, start them again when they crash, and end them in order. Itself an actor, so it nests.

    `run` returns when every child has finished, drained or been cut short by its drain deadline. It raises
    RestartIntensityExceeded, caused by the last crash, after stopping the children from last to first.
    List sinks first and sources last: children start in that order and drain in reverse.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        children: Sequence[ChildSpec],
        *,
        intensity: Intensity = Intensity(),  # noqa: B008 - a frozen value
        surroundings: Surroundings | None = None,
    ) -> None:
        names = [spec.name for spec in children]
        if len(set(names)) < len(names):
            raise ValueError(f"supervisor {name}: two children have the same name among {names}")
        self.path = name
        self._strategy = strategy
        self._children = [Child(spec) for spec in children]
        self._intensity = intensity
        self._crashes = CrashLog(intensity)
        self._surroundings = surroundings or Surroundings()
        self._asked = trio.Event()
        """It is time to end: `drain()` was called, or there were too many crashes. No group restarts from here on."""
        self._fatal: Exception | None = None

    def adopt(self, path: str, surroundings: Surroundings) -> None:
        """Make it part of its parent's tree (the parent calls this before `run`)."""
        self.path = path
        self._surroundings = surroundings

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            await self._run_and_end(task_status)
        finally:
            for child in self._children:
                if child.state in {ChildState.BACKOFF, ChildState.DRAINING}:  # cut short between two runs
                    self._change(child, ChildState.FAILED)
        if self._fatal is not None:
            allowed = f"{self._intensity.restarts} crashes within {self._intensity.within_s:g} s"
            raise RestartIntensityExceeded(
                f"{self.path}: more than {allowed}; last {brief(self._fatal)}"
            ) from self._fatal

    def drain(self) -> None:
        """Begin to end: last child first. A child that waits to be retried runs once more, so that it can drain."""
        self._asked.set()
        for child in self._children:
            if child.actor is not None:
                child.life.go_on.set()

    async def _run_and_end(self, task_status: trio.TaskStatus[None]) -> None:
        lives = [child.life for child in self._children]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report_started, lives, task_status)
            nursery.start_soon(self._end_when_asked)
            await self._supervise()
            self._asked.set()  # nothing is left to end, so the sweep returns at once

    async def _report_started(self, lives: Sequence[Life], task_status: trio.TaskStatus[None]) -> None:
        for life in lives:
            await life.go_on.wait()
        task_status.started()

    # Starting and retrying

    async def _supervise(self) -> None:
        match self._strategy:
            case Strategy.ONE_FOR_ONE:
                async with trio.open_nursery() as nursery:
                    for child in self._children:
                        life = child.life
                        nursery.start_soon(self._retry, [child], [])
                        await self._let_start(child, life)
            case Strategy.REST_FOR_ONE:
                await self._retry(self._children[:1], self._children[1:])
            case Strategy.ONE_FOR_ALL:
                await self._retry(self._children, [])

    async def _retry(self, heads: Sequence[Child], rest: Sequence[Child]) -> None:
        """Run rounds until no head crashes. The pause comes after everyone in the round has ended."""
        while self._fatal is None:
            crashed = await self._round(heads, rest)
            if crashed is None:
                return
            await self._pause(crashed)

    async def _round(self, heads: Sequence[Child], rest: Sequence[Child]) -> Child | None:
        """Run the heads and, inside, the rest; return the head whose crash ended the round, None when all finished."""
        crashed: list[Child] = []

        def end_round(child: Child) -> None:
            crashed.append(child)
            for each in (*heads, *rest):
                each.renew()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for head in heads:
                # A crash in this very tick has renewed the lives already: they belong to the next round.
                await trio.lowlevel.checkpoint_if_cancelled()
                life = head.life
                life.begun = True
                nursery.start_soon(self._live, head, life, end_round)
                await self._let_start(head, life)
            if rest:
                nursery.start_soon(self._retry, rest[:1], rest[1:])
        return crashed[0] if crashed else None

    async def _let_start(self, child: Child, life: Life) -> None:
        with trio.move_on_after(child.spec.start_within_s):
            await life.go_on.wait()
        life.go_on.set()

    async def _pause(self, child: Child) -> None:
        """Sleep out the backoff, or until drain: all are woken when it begins, and again when their turn comes."""
        wake = child.turn if self._asked.is_set() else self._asked
        with trio.move_on_after(child.retry_in_s):
            await wake.wait()

    # One child

    async def _live(self, child: Child, life: Life, end_round: Callable[[Child], None]) -> None:
        has_reported = False
        try:
            with life.scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                await self._runs(child, life, end_round)
                has_reported = True
        finally:
            life.go_on.set()
            life.over.set()
            if not has_reported and child.state is not ChildState.FAILED:
                self._change(child, ChildState.FINISHED)

    async def _runs(self, child: Child, life: Life, end_round: Callable[[Child], None]) -> None:
        """Run the child until it is over, or its crash ends the round.

        Once the end has begun a crash no longer stops the neighbours: they are draining. The child alone runs again,
        and after its turn only once.
        """
        while True:
            is_last = child.turn.is_set()
            crash = await self._run_once(child, life)
            life.go_on.set()
            if crash is None:
                return self._change(child, ChildState.FINISHED)
            if is_last or child.spec.restart is Restart.TEMPORARY or self._is_one_too_many(crash):
                return self._change(child, ChildState.FAILED, crash)
            child.crashed(self._surroundings.random)
            self._change(child, ChildState.BACKOFF, crash, retry_in_s=child.retry_in_s)
            if not self._asked.is_set():
                return end_round(child)
            await self._pause(child)

    async def _run_once(self, child: Child, life: Life) -> Exception | None:
        """Return what broke the child; None when it finished. A cancellation goes through, whatever else broke."""
        self._change(child, ChildState.STARTING)
        try:
            await self._build_and_run(child, life)
        except BaseExceptionGroup as group:
            broken = group.split(trio.Cancelled)[1]
            if not isinstance(broken, ExceptionGroup):  # only cancelled, or an exit of the whole process
                raise
            crash: Exception = broken
        except Exception as error:  # noqa: BLE001 - whatever a child raises is its crash
            crash = error
        else:
            return self._unwanted_return(child)
        finally:
            child.actor = None
        if trio.current_effective_deadline() == -math.inf:
            self._change(child, ChildState.FAILED, crash)
        await trio.lowlevel.checkpoint_if_cancelled()
        return crash

    async def _build_and_run(self, child: Child, life: Life) -> None:
        actor = child.build()
        if isinstance(actor, Supervisor):
            actor.adopt(self._path(child), self._surroundings)
        if child.turn.is_set():
            self._change(child, ChildState.DRAINING)
            actor.drain()
        if self._asked.is_set():
            life.go_on.set()
        await actor.run(task_status=_Started(lambda: self._started(child, life)))

    def _started(self, child: Child, life: Life) -> None:
        child.up()
        life.go_on.set()
        if child.state is ChildState.STARTING:
            self._change(child, ChildState.RUNNING)

    def _unwanted_return(self, child: Child) -> Exception | None:
        if child.spec.restart is Restart.PERMANENT and not self._asked.is_set():
            return RuntimeError(f"{self._path(child)} is permanent and returned")
        return None

    def _is_one_too_many(self, crash: Exception) -> bool:
        """Count a crash unless it is an outage or the end has begun; if there are too many, begin the end."""
        if self._asked.is_set() or is_outage(crash) or not self._crashes.add(trio.current_time()):
            return False
        self._fatal = crash
        self._asked.set()
        for child in self._children:
            child.life.go_on.set()
        return True

    # Ending

    async def _end_when_asked(self) -> None:
        await self._asked.wait()
        for child in reversed(self._children):
            life = child.life
            if self._fatal is None and not life.over.is_set():
                await self._drain(child, life)
            life.scope.cancel()
            if life.begun:
                await life.over.wait()

    async def _drain(self, child: Child, life: Life) -> None:
        """Give the child its time to drain; on return it is over, or has had its chance."""
        child.turn.set()
        self._change(child, ChildState.DRAINING)
        try:
            if child.actor is not None:
                child.actor.drain()
        except Exception as error:  # noqa: BLE001 - whatever a child raises is its crash
            self._change(child, ChildState.FAILED, error)
            return
        with trio.move_on_after(child.spec.drain_within_s):
            await life.over.wait()
        if not life.over.is_set():
            late = TimeoutError(f"not drained within {child.spec.drain_within_s:g} s, cancelled")
            self._change(child, ChildState.FAILED, late)

    # Telling

    def _path(self, child: Child) -> str:
        return f"{self.path}/{child.spec.name}"

    def _change(
        self, child: Child, state: ChildState, cause: Exception | None = None, retry_in_s: float | None = None
    ) -> None:
        child.state = state
        error = None if cause is None else brief(cause)
        health = self._surroundings.board.record(self._path(child), state, error)
        name = child.spec.name
        self._surroundings.observe(ChildChanged(self.path, name, state, health.restarts, error, retry_in_s, cause))


class _Started:
    """What an actor calls when its inputs are open."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def started(self, value: None = None) -> None:  # noqa: ARG002 - the shape of trio.TaskStatus
        self._tell()
