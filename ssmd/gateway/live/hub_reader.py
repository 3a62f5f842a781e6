"""Feeds the hub from the bus. An outage ends this actor only: the next one goes on behind the last message."""

from typing import Final

import trio

from ssmd.bus.base import LAST_OF_EACH, Bus, BusDialer, Consumer, Incoming, Start, StreamUsage
from ssmd.errors import BusDown
from ssmd.gateway.live.hub import RECENT_MESSAGES, Hub
from ssmd.gateway.live.resume import stream_name
from ssmd.log import get_logger
from ssmd.supervisor import HealthBoard

SUBJECTS: Final = "md.>"
FETCH_LIMIT: Final = 256
FETCH_WITHIN_S: Final = 1.0


class HubReader:
    def __init__(self, hub: Hub, dialer: BusDialer, stream: str, board: HealthBoard) -> None:
        self._hub = hub
        self._dialer = dialer
        self._stream = stream
        self._check = board.check("nats")
        self._scope = trio.CancelScope()
        self._log = get_logger(actor="hub_reader")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand messages on until drained. Raises BusDown, an outage."""
        task_status.started()
        try:
            with self._scope:
                async with self._dialer.connect() as bus:
                    await self._follow(bus)
        finally:
            self._hub.is_live = False
            self._check.fail("not connected")

    def drain(self) -> None:
        self._scope.cancel()

    async def _follow(self, bus: Bus) -> None:
        usage = await bus.usage(self._stream)
        if usage is None:
            raise BusDown(f"no stream {self._stream} yet")
        if not self._goes_on(usage):
            await self._begin(bus, usage)
        async with bus.listen(self._stream, SUBJECTS, Start(after_seq=self._hub.pos)) as listener:
            self._check.ok()
            self._hub.is_live = True
            self._log.info("hub_follows", stream=self._hub.stream, pos=self._hub.pos)
            while True:
                self._hub.take(await listener.fetch(FETCH_LIMIT, FETCH_WITHIN_S))

    def _goes_on(self, usage: StreamUsage) -> bool:
        """Tell whether the stream still has everything behind the last message that was handed on."""
        hub = self._hub
        is_same = hub.stream == stream_name(usage.created_ns)
        return is_same and usage.first_seq - 1 <= hub.pos <= usage.last_seq

    async def _begin(self, bus: Bus, usage: StreamUsage) -> None:
        """Take the last message of each series, then stand a little behind the end: what came last is remembered."""
        lasts = await self._lasts(bus, usage)
        if self._hub.stream:
            self._log.error("stream_continuity_lost", had=self._hub.pos, first=usage.first_seq, last=usage.last_seq)
            self._hub.dismiss("restart")  # they come back, and learn from their own number what they have missed
        after_pos = max(usage.first_seq - 1, usage.last_seq - RECENT_MESSAGES, 0)
        self._hub.begin(stream_name(usage.created_ns), lasts, after_pos, usage.last_seq)

    async def _lasts(self, bus: Bus, usage: StreamUsage) -> list[Incoming]:
        """Return the last message of each subject, at least of all that had none behind the end that `usage` tells."""
        found: list[Incoming] = []
        if not usage.messages:
            return found
        async with bus.listen(self._stream, SUBJECTS, LAST_OF_EACH) as listener:
            while not found or found[-1].stream_seq < usage.last_seq:
                batch: list[Incoming] = list(await _next(listener, self._stream))
                found += batch
        return found


async def _next(listener: Consumer, stream: str) -> list[Incoming]:
    batch = await listener.fetch(FETCH_LIMIT, 5 * FETCH_WITHIN_S)
    if not batch:
        raise BusDown(f"stream {stream} does not give the last message of each series")
    return list(batch)
