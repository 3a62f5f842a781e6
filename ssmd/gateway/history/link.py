"""One connection to the bus for everybody who asks it now and then."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import trio

from ssmd.bus.base import Bus, BusDialer
from ssmd.errors import BusDown
from ssmd.gateway.problems import Problem
from ssmd.supervisor import Check

CONNECT_WITHIN_S: Final = 2.0
"""How long a request waits for a connection that is being made."""
PING_S: Final = 5.0
RETRY_AFTER_S: Final = 2


class BusSource(Protocol):
    def use(self) -> AbstractAsyncContextManager[Bus]:
        """Lend the bus. Raises Problem unavailable when it is away, also when it goes away while it is used."""
        ...


class BusLink:
    """An actor: holds the connection until it is lost, and lends it meanwhile. Requests share it."""

    def __init__(self, dialer: BusDialer, stream: str, check: Check) -> None:
        self._dialer = dialer
        self._stream = stream
        self._check = check
        self._bus: Bus | None = None
        self._connected = trio.Event()
        self._lost: BusDown | None = None
        self._wake = trio.Event()
        self._draining = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be connected until drained. Raises BusDown, an outage."""
        task_status.started()
        try:
            async with self._dialer.connect() as bus:
                self._lost, self._wake = None, trio.Event()
                self._bus = bus
                self._connected.set()
                await self._watch(bus)
        finally:
            self._bus = None
            self._connected = trio.Event()
            self._check.fail("not connected")

    def drain(self) -> None:
        self._draining = True
        self._wake.set()

    async def _watch(self, bus: Bus) -> None:
        while not self._draining:
            await bus.usage(self._stream)
            self._check.ok()
            with trio.move_on_after(PING_S):
                await self._wake.wait()
            if self._lost is not None:
                raise self._lost

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Bus]:
        bus = await self._present()
        try:
            yield bus
        except BusDown as error:
            if self._bus is bus:
                self._lost = error
                self._wake.set()
            raise bus_away() from error

    async def _present(self) -> Bus:
        with trio.move_on_after(CONNECT_WITHIN_S):
            while self._bus is None:
                await self._connected.wait()
        if self._bus is None:
            raise bus_away()
        return self._bus


class DialEachTime:
    """Connects for each use; for tests and commands."""

    def __init__(self, dialer: BusDialer) -> None:
        self._dialer = dialer

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Bus]:
        try:
            async with self._dialer.connect() as bus:
                yield bus
        except BusDown as error:
            raise bus_away() from error


def bus_away() -> Problem:
    problem = Problem("unavailable", "nats cannot be reached", "ask again in a moment", missing="nats")
    problem.retry_after_s = RETRY_AFTER_S
    return problem


def store_away() -> Problem:
    problem = Problem("unavailable", "the store cannot be reached", "ask again in a moment", missing="store")
    problem.retry_after_s = RETRY_AFTER_S
    return problem
