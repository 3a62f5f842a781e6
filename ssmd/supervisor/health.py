"""What a tree shows of itself: the state of every child, and of everything it depends on."""

from collections import Counter
from enum import StrEnum

import trio
from msgspec import Struct


class ChildState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    DRAINING = "draining"
    FINISHED = "finished"
    FAILED = "failed"
    """Will not run again by itself: gave up, was cut short, or broke while it ended."""


class ChildHealth(Struct, frozen=True):
    """One child. `error` is the last one and stays after the recovery; compare `since_s` with `trio.current_time()`."""

    path: str
    state: ChildState
    restarts: int
    error: str | None
    since_s: float


class CheckHealth(Struct, frozen=True):
    """One dependency. `since_s` is None as long as nobody has reported."""

    name: str
    is_ok: bool
    detail: str
    since_s: float | None


class Check:
    """The health of one dependency, told by whoever uses it. Not ok until the first `ok()`."""

    def __init__(self, name: str) -> None:
        self.health = CheckHealth(name, is_ok=False, detail="not reported yet", since_s=None)

    def ok(self) -> None:
        self._report(is_ok=True, detail="")

    def fail(self, detail: str) -> None:
        self._report(is_ok=False, detail=detail)

    def _report(self, *, is_ok: bool, detail: str) -> None:
        before = self.health
        is_same = before.is_ok == is_ok and before.since_s is not None
        since_s = before.since_s if is_same else trio.current_time()
        self.health = CheckHealth(before.name, is_ok, detail, since_s)


class HealthBoard:
    """Every child of a tree by its path, such as `connector/publisher`, and the named checks of its dependencies.

    It outlives restarts: a rebuilt supervisor's children keep their restart counts and last errors.
    """

    def __init__(self) -> None:
        self._children: dict[str, ChildHealth] = {}
        self._starts: Counter[str] = Counter()
        self._checks: dict[str, Check] = {}

    def check(self, name: str) -> Check:
        """Return the check of that name; the first call adds it, and the tree is not ready until it is ok."""
        return self._checks.setdefault(name, Check(name))

    @property
    def ready(self) -> bool:
        """True when every check is ok."""
        return all(check.health.is_ok for check in self._checks.values())

    def checks(self) -> tuple[CheckHealth, ...]:
        return tuple(check.health for check in self._checks.values())

    def snapshot(self) -> tuple[ChildHealth, ...]:
        """Return every child that ever ran, in the order of the first start."""
        return tuple(self._children.values())

    def record(self, path: str, state: ChildState, error: str | None = None) -> ChildHealth:
        """Note a child's new state (the supervisor calls this). No new error: the last one stays."""
        now_s = trio.current_time()
        before = self._children.get(path, ChildHealth(path, state, 0, None, now_s))
        self._starts[path] += state is ChildState.STARTING
        after = ChildHealth(
            path,
            state,
            restarts=max(0, self._starts[path] - 1),
            error=error if error is not None else before.error,
            since_s=before.since_s if before.state is state else now_s,
        )
        self._children[path] = after
        return after
