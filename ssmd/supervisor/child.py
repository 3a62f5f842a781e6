"""One child as its supervisor sees it."""

from random import Random
from typing import Final

import trio

from ssmd.supervisor.health import ChildState
from ssmd.supervisor.spec import Actor, ChildSpec


class Life:
    """One child between two restarts of its group. A crash of the group ends this life and makes the next at once.

    So whoever waits for `over` of the life that counts cannot mistake the end of a doomed one for it.
    """

    def __init__(self) -> None:
        self.begun = False
        self.scope = trio.CancelScope()
        self.go_on = trio.Event()
        """The children to the right may start: started, ended, or no longer worth the wait."""
        self.over = trio.Event()


class Child:
    """The state of one child that outlives its crashes."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec: Final = spec
        self.life = Life()
        self.state = ChildState.STARTING
        self.actor: Actor | None = None
        self.turn = trio.Event()
        """Its turn to drain has come; from now on each actor is drained before it runs."""
        self.retry_in_s = 0.0
        self._up_at_s: float | None = None
        self._failures = 0

    def build(self) -> Actor:
        self._up_at_s = None
        self.actor = self.spec.build()
        return self.actor

    def up(self) -> None:
        if self._up_at_s is None:
            self._up_at_s = trio.current_time()

    def crashed(self, random: Random) -> None:
        """Choose the pause before the next start."""
        backoff = self.spec.backoff
        if self._up_at_s is not None and trio.current_time() - self._up_at_s >= backoff.forgive_after_s:
            self._failures = 0
        self._failures += 1
        self.retry_in_s = backoff.delay_s(self._failures, random)

    def renew(self) -> None:
        """End this life and have the next one ready."""
        self.life.go_on.set()
        self.life = Life()
