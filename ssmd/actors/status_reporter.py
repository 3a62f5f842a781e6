"""Tell on the bus what this connector runs, at each change and now and then, so that others need not guess."""

from contextlib import suppress
from typing import Final

import msgspec
import trio

from ssmd.actors.report import BUCKET, HEARTBEAT_S, ConnectorReport, Identity, digest_of
from ssmd.actors.standing import Standing
from ssmd.bus.base import Bus, BusDialer
from ssmd.clock import NowNs, now_ns
from ssmd.errors import BusDown

PAUSE_S: Final = 0.1
"""Between two reports: after a connect each acknowledgement is a change, and there may be thousands."""

LEAVE_WITHIN_S: Final = 2.0


class StatusReporter:
    """An outage of the bus is one like any other: the next start tells everything anew."""

    def __init__(self, identity: Identity, dialer: BusDialer, standing: Standing, now: NowNs = now_ns) -> None:
        self._identity = identity
        self._dialer = dialer
        self._standing = standing
        self._now = now
        self._draining = False
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Report until drained, then take the report away. Raises BusDown, an outage."""
        task_status.started()
        with self._scope:
            async with self._dialer.connect() as bus:
                try:
                    await self._follow(bus)
                finally:
                    if self._draining:
                        await self._leave(bus)

    def drain(self) -> None:
        self._draining = True
        self._scope.cancel()

    async def _follow(self, bus: Bus) -> None:
        cell, seen = self._standing.cell, 0
        while True:
            with trio.move_on_after(HEARTBEAT_S):
                await cell.wait_newer(seen)
            seen, report = cell.version, self.report()
            await bus.ensure_bucket(BUCKET)  # each time: a put would make a missing one with other properties
            await bus.kv_put(BUCKET.name, self._identity.key, msgspec.json.encode(report))
            await trio.sleep(PAUSE_S)

    async def _leave(self, bus: Bus) -> None:
        with trio.move_on_after(LEAVE_WITHIN_S, shield=True), suppress(BusDown):  # then it ages out
            await bus.kv_delete(BUCKET.name, self._identity.key)

    def report(self) -> ConnectorReport:
        """Return what is to be said now."""
        who, stand = self._identity, self._standing.cell.get()
        config = stand.in_force
        return ConnectorReport(
            who.feed,
            who.instance,
            who.pid,
            who.started_ns,
            who.version,
            self._now(),
            config.revision,
            digest_of(config),
            config.enabled,
            live=tuple(sorted(symbol for slot in stand.slots for symbol in slot.live)),
            pending=tuple(sorted(symbol for slot in stand.slots for symbol in slot.pending)),
            refused=tuple(refused for slot in stand.slots for refused in slot.refused),
            leaving=tuple(sorted(symbol for slot in stand.slots for symbol in slot.leaving)),
            refused_config=stand.refused_config,
        )
