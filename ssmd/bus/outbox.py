"""Publishing with acks, on the island: a window of unacknowledged messages and one shared reply inbox.

nats-py's own `publish_async` costs three times as much, waits for ever for acks that a killed server owes, and
swallows cancellation (RUNTIME.md section 3).
"""

import asyncio  # noqa: TID251 (runs on the island)
import time
from collections.abc import Sequence
from typing import Final

import msgspec
import nats.errors  # noqa: TID251 (the bus's driver)
from msgspec import Struct
from nats.aio.msg import Msg  # noqa: TID251 (the bus's driver)

from ssmd.bus.base import Outgoing, Published
from ssmd.bus.link import Link
from ssmd.errors import BusDown

WINDOW: Final = 512
"""Messages under way per batch. The server syncs per message or group: more in flight only adds memory."""

BURST: Final = 64
"""After so many the loop gets its turn, so that the server works while the rest is being written."""

ACK_WITHIN_S: Final = 5.0
"""No ack at all for this long means that the server is gone or its disk is full."""


class _AckError(Struct):
    description: str = "no reason given"
    err_code: int = 0


class _Ack(Struct, gc=False):
    seq: int = 0
    duplicate: bool = False
    error: _AckError | None = None


_NOBODY: Final = _Ack(error=_AckError("no stream takes this subject"))
_decode_ack: Final = msgspec.json.Decoder(_Ack).decode


class _Flight:
    """One batch under way."""

    def __init__(self, batch: Sequence[Outgoing], first: int) -> None:
        self.first = first
        self.sent = 0
        self._batch = batch
        self._acked = 0
        self._duplicates = 0
        self._last_stream_seq = 0
        self._heard_s = time.monotonic()
        self._failure: BusDown | None = None
        self._level = 0
        self._landed = asyncio.Event()

    def land(self, number: int, ack: _Ack) -> None:
        if ack.error is not None:
            identity = self._batch[number - self.first].message_id
            self.fail(BusDown(f"the bus refuses {identity}: {ack.error.description} ({ack.error.err_code})"))
            return
        self._acked += 1
        self._duplicates += ack.duplicate
        self._last_stream_seq = max(self._last_stream_seq, ack.seq)
        self._heard_s = time.monotonic()
        if self.in_the_air <= self._level:
            self._landed.set()

    def fail(self, failure: BusDown) -> None:
        self._failure = self._failure or failure
        self._landed.set()

    @property
    def in_the_air(self) -> int:
        return self.sent - self._acked

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def down_to(self, level: int) -> None:
        """Wait until so few messages are unacknowledged. Raises BusDown when acks stop coming."""
        self._level = level
        while self.in_the_air > level and self._failure is None:
            patience_s = self._heard_s + ACK_WITHIN_S - time.monotonic()
            if patience_s <= 0:
                raise BusDown(f"{self.in_the_air} messages have no ack, and none came for {ACK_WITHIN_S:g} s")
            self._landed.clear()
            await _wait_at_most(self._landed, patience_s)
        self.check()

    def published(self) -> Published:
        return Published(
            stored=self._acked - self._duplicates,
            duplicates=self._duplicates,
            last_stream_seq=self._last_stream_seq,
        )


class Outbox:
    """Everything that one connection publishes."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._client = link.client
        self._next = 0
        self._flights: dict[str, _Flight] = {}
        self._prefix = ""
        self._cut = 0

    async def open(self) -> None:
        self._prefix = self._client.new_inbox() + "."
        self._cut = len(self._prefix)
        await self._client.subscribe(
            self._prefix + "*", cb=self._on_ack, pending_msgs_limit=0, pending_bytes_limit=0
        )  # no limits: at most WINDOW acks of each batch are under way

    async def publish(self, batch: Sequence[Outgoing]) -> Published:
        """Send the batch in order and return when each message is acknowledged."""
        self._link.check()
        flight = _Flight(batch, self._next)
        self._next += len(batch)
        self._link.watch_loss(flight.fail)
        try:
            await self._send_all(flight, batch)
            await flight.down_to(0)
        except (nats.errors.Error, OSError) as error:
            raise BusDown(f"cannot publish: {error!r}") from error
        finally:
            self._link.forget_loss(flight.fail)
            self._forget(flight)
        return flight.published()

    async def _send_all(self, flight: _Flight, batch: Sequence[Outgoing]) -> None:
        task = asyncio.current_task()
        for number, message in enumerate(batch, flight.first):
            if flight.in_the_air >= WINDOW:
                await flight.down_to(WINDOW // 2)
            elif flight.sent % BURST == 0 and flight.sent:
                await asyncio.sleep(0)
            if task is not None and task.cancelling():  # nats-py swallows a cancel while it flushes
                raise asyncio.CancelledError
            flight.check()
            await self._send(message, str(number), flight)

    async def _send(self, message: Outgoing, token: str, flight: _Flight) -> None:
        self._flights[token] = flight
        flight.sent += 1
        await self._client.publish(
            message.subject,
            message.payload,
            reply=self._prefix + token,
            headers={"Nats-Msg-Id": message.message_id},
        )

    def _forget(self, flight: _Flight) -> None:
        """Drop the tokens of acks that never came; a late one is then ignored."""
        if flight.in_the_air:
            for number in range(flight.first, flight.first + flight.sent):
                self._flights.pop(str(number), None)

    async def _on_ack(self, msg: Msg) -> None:
        token = msg.subject[self._cut :]
        flight = self._flights.pop(token, None)
        if flight is not None:
            flight.land(int(token), _decode_ack(msg.data) if msg.data else _NOBODY)


async def _wait_at_most(event: asyncio.Event, limit_s: float) -> None:
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
