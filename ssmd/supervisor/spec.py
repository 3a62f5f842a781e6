"""What a supervisor is told and what it tells: actors, child specs, strategies, changes."""

from collections.abc import Callable, Sequence
from enum import Enum
from random import Random
from typing import Protocol

import msgspec
import trio
from msgspec import Struct

from ssmd.supervisor.health import ChildState, HealthBoard
from ssmd.supervisor.pacing import Backoff


class Actor(Protocol):
    """One run of a piece of work. Supervisors build a fresh one for each start."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until finished (return), cancelled, or broken (any Exception; under `Outage` if the world is away).

        Call `task_status.started()` when the inputs are open; never wait for the outside world before that.
        """
        ...

    def drain(self) -> None:
        """Ask `run` to finish what it has and return. Works at once, is idempotent, may come before `run`."""
        ...


class Restart(Enum):
    PERMANENT = "permanent"
    """A return is a crash too, except during drain: for what must never end by itself."""
    TRANSIENT = "transient"
    """A crash restarts it, a return finishes it."""
    TEMPORARY = "temporary"
    """Never restarted; a crash is only reported."""


class Strategy(Enum):
    """Which children a crash stops and starts again. Ask: what state would be wrong otherwise?"""

    ONE_FOR_ONE = "one_for_one"
    REST_FOR_ONE = "rest_for_one"
    """Also those that started after it."""
    ONE_FOR_ALL = "one_for_all"


class ChildSpec(Struct, frozen=True):
    """How to build and treat one child.

    What must survive a crash is captured by `build`; what must die with it is built inside.
    `drain_within_s` is the time a drain may take before the child is cancelled (for a nested supervisor see
    `longest_drain_s`). `start_within_s` is how long the next children wait for `started()`: nothing is cancelled then,
    they only go ahead.
    """

    name: str
    build: Callable[[], Actor]
    backoff: Backoff = Backoff()
    drain_within_s: float = 5.0
    restart: Restart = Restart.TRANSIENT
    start_within_s: float = 10.0


class ChildChanged(Struct, frozen=True):
    """A child entered a state. If an error was the reason, `error` is its text and `cause` has its traceback."""

    supervisor: str
    child: str
    state: ChildState
    restarts: int
    error: str | None = None
    retry_in_s: float | None = None
    cause: Exception | None = None


def ignore(_change: ChildChanged) -> None:
    pass


class Surroundings(Struct, frozen=True):
    """What a whole tree shares. Give it to the top supervisor; nested ones take over their parent's.

    `observe` is called at each change of a child, between two checkpoints; it must not raise.
    """

    board: HealthBoard = msgspec.field(default_factory=HealthBoard)
    observe: Callable[[ChildChanged], None] = ignore
    random: Random = msgspec.field(default_factory=Random)


def longest_drain_s(children: Sequence[ChildSpec]) -> float:
    """Return the longest time that draining these children one after another may take."""
    return sum(child.drain_within_s for child in children)
