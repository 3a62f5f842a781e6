"""Make an actor raise at a moment of our choice. The product has no hook for this: its builders are wrapped."""

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import trio

from ssmd.supervisor import Actor, ChildSpec


class Boom(RuntimeError):
    """A bug that was not there."""


class Bomb:
    """What makes one actor crash, again and again.

    `shake` breaks it from beside, wherever it waits; `strike` raises out of the next await that its own code makes.
    """

    def __init__(self) -> None:
        self._shaken = trio.Event()
        self._struck = False

    def shake(self) -> None:
        self._shaken.set()

    def strike(self) -> None:
        self._struck = True

    def arm(self, actor: Actor) -> Actor:
        """Return the actor with the bomb in it; an earlier explosion is forgotten."""
        self._shaken, self._struck = trio.Event(), False
        return _Armed(actor, self)

    async def explode_beside(self) -> None:
        await self._shaken.wait()
        raise Boom("raised beside")

    @types.coroutine
    def carry(self, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Run the work and raise in it, behind an await that has just succeeded, once the bomb was struck."""
        resume = work.send
        value: Any = None
        while True:
            try:
                trap = resume(value)
            except StopIteration:
                return
            try:
                resume, value = work.send, (yield trap)
                if self._struck:
                    self._struck = False
                    raise Boom("raised behind an await")  # noqa: TRY301  # thrown into the work two lines below
            except BaseException as error:  # noqa: BLE001  # whatever was thrown in belongs to the work
                resume, value = work.throw, error


class _Armed:
    def __init__(self, actor: Actor, bomb: Bomb) -> None:
        self._actor = actor
        self._bomb = bomb

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._bomb.explode_beside)
            await self._bomb.carry(self._actor.run(task_status=task_status))
            nursery.cancel_scope.cancel()

    def drain(self) -> None:
        self._actor.drain()


def with_bomb(spec: ChildSpec, bomb: Bomb) -> ChildSpec:
    """Return the child with a bomb in every actor that it builds."""
    return ChildSpec(
        spec.name,
        armed(spec.build, bomb),
        spec.backoff,
        spec.drain_within_s,
        spec.restart,
        spec.start_within_s,
    )


def armed(build: Callable[[], Actor], bomb: Bomb) -> Callable[[], Actor]:
    return lambda: bomb.arm(build())
