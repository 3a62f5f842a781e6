"""How many connections there may be, from one address and in all, and who has to go when one more comes.

A connection that waits (for its first request, or for the next one) gives way to a new one; one that is being served
never does. So a flood of sockets that say nothing costs a client that has something to say nothing at all.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from msgspec import Struct

from ssmd import metrics
from ssmd.gateway.limits import host_of
from ssmd.gateway.problems import Problem

RETRY_AFTER_S: Final = 5


class DoorLimits(Struct, frozen=True):
    per_address: int = 1024
    in_all: int = 4096


class Guest:
    """One connection. `leave` ends it at once; called only while it waits."""

    def __init__(self, address: str, leave: Callable[[], None]) -> None:
        self.address = address
        self.leave = leave


class Doors:
    def __init__(self, limits: DoorLimits) -> None:
        self._limits = limits
        self._counts: Counter[str] = Counter()
        self._total = 0
        self._waiting: dict[Guest, None] = {}  # in the order in which they began to wait

    def __len__(self) -> int:
        return self._total

    @contextmanager
    def inside(self, address: str, leave: Callable[[], None]) -> Iterator[Guest]:
        """Count a connection for as long as it lives; it begins as a waiting one. Raises Problem: unavailable."""
        guest = Guest(host_of(address), leave)
        self._make_room(guest.address)
        self._count(guest, +1)
        self._waiting[guest] = None
        try:
            yield guest
        finally:
            self._waiting.pop(guest, None)
            self._count(guest, -1)

    def waits(self, guest: Guest) -> None:
        self._waiting[guest] = None

    def is_served(self, guest: Guest) -> None:
        self._waiting.pop(guest, None)

    def waiting(self) -> tuple[Guest, ...]:
        return tuple(self._waiting)

    def _count(self, guest: Guest, change: int) -> None:
        self._total += change
        self._counts[guest.address] += change
        if not self._counts[guest.address]:
            del self._counts[guest.address]
        metrics.GATEWAY_CONNECTIONS.set(self._total)

    def _make_room(self, address: str) -> None:
        """Send away who waits longest: of this address when it has too many, else of all."""
        if self._counts[address] >= self._limits.per_address:
            self._send_away("address", (guest for guest in self._waiting if guest.address == address))
        elif self._total >= self._limits.in_all:
            self._send_away("all", iter(self._waiting))

    def _send_away(self, limit: str, candidates: Iterator[Guest]) -> None:
        guest = next(candidates, None)
        metrics.GATEWAY_TURNED_AWAY.labels(limit).inc()
        if guest is None:
            problem = Problem("unavailable", "too many connections", "use one connection for several requests")
            problem.retry_after_s = RETRY_AFTER_S
            raise problem
        del self._waiting[guest]
        guest.leave()
