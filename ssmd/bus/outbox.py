"""Publishing with acks, on the island: groups that the server stores as one, and one shared reply inbox.

With `sync_interval: always` a single server syncs the disk once per message, so a disk that needs 3 ms takes 300
messages a second. An atomic group (ADR-50) costs five syncs whatever its size, and one ack. The server refuses a
group in which a message is a duplicate; then the group goes out again message by message, which tells them apart.

nats-py's own `publish_async` costs three times as much, waits for ever for acks that a killed server owes, and
swallows cancellation (RUNTIME.md section 3).
"""

import asyncio  # noqa: TID251 (runs on the island)
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

import msgspec
import nats.errors  # noqa: TID251 (the bus's driver)
from msgspec import Struct
from nats.aio.msg import Msg  # noqa: TID251 (the bus's driver)

from ssmd.bus.base import Outgoing, Published
from ssmd.bus.link import Link
from ssmd.errors import BusDown

GROUP_MAX: Final = 512
"""Messages under way at once. The server takes 1,000 in a group; more than some hundred gain nothing."""

GROUP_MIN: Final = 12
"""Below that a sync per message is faster: a group also makes and removes a folder (bench/publish.py)."""

GROUP_BYTES: Final = 4_000_000
"""The server stages a group beside the stream before it stores it."""

BURST: Final = 64
"""After so many the loop gets its turn, so that the server works while the rest is being written."""

ACK_WITHIN_S: Final = 5.0
"""No ack at all for this long means that the server is gone or its disk is full."""

NOTHING: Final = Published(stored=0, duplicates=0, last_stream_seq=0)


class Refused(BusDown):
    """The server answered, and the answer was no."""


class _AckError(Struct):
    description: str = "no reason given"
    err_code: int = 0


class _Ack(Struct, gc=False):
    seq: int = 0
    duplicate: bool = False
    count: int = 1
    error: _AckError | None = None


_NOBODY: Final = _Ack(error=_AckError("no stream takes this subject"))
_decode_ack: Final = msgspec.json.Decoder(_Ack).decode


class Flight:
    """One group under way."""

    def __init__(self, group: Sequence[Outgoing], first: int) -> None:
        self.group = group
        self.numbers = range(first, first + len(group))
        self._acked = 0
        self._duplicates = 0
        self._last_stream_seq = 0
        self._heard_s = time.monotonic()
        self._failure: BusDown | None = None
        self._landed = asyncio.Event()

    def land(self, number: int, ack: _Ack) -> None:
        if ack.error is not None:
            identity = self.group[number - self.numbers.start].message_id
            self.fail(Refused(f"the bus refuses {identity}: {ack.error.description} ({ack.error.err_code})"))
            return
        self._acked += ack.count
        self._duplicates += ack.duplicate
        self._last_stream_seq = max(self._last_stream_seq, ack.seq)
        self._heard_s = time.monotonic()
        if not self.missing:
            self._landed.set()

    def fail(self, failure: BusDown) -> None:
        self._failure = self._failure or failure
        self._landed.set()

    @property
    def missing(self) -> int:
        return len(self.group) - self._acked

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def wait(self) -> Published:
        """Wait until every message is acknowledged. Raises BusDown when acks stop coming."""
        while self.missing and self._failure is None:
            patience_s = self._heard_s + ACK_WITHIN_S - time.monotonic()
            if patience_s <= 0:
                raise BusDown(f"{self.missing} messages have no ack, and none came for {ACK_WITHIN_S:g} s")
            await _wait_at_most(self._landed, patience_s)
        self.check()
        return Published(self._acked - self._duplicates, self._duplicates, self._last_stream_seq)


class Outbox:
    """Everything that one connection publishes."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._client = link.client
        self._next = 0
        self._flights: dict[str, Flight] = {}
        self._prefix = ""
        self._cut = 0

    async def open(self) -> None:
        self._prefix = self._client.new_inbox() + "."
        self._cut = len(self._prefix)
        await self._client.subscribe(
            self._prefix + "*", cb=self._on_ack, pending_msgs_limit=0, pending_bytes_limit=0
        )  # no limits: at most GROUP_MAX acks of each batch are under way

    async def publish(self, batch: Sequence[Outgoing]) -> Published:
        """Send the batch in order and return when each message is acknowledged."""
        self._link.check()
        total = NOTHING
        for group in _groups(batch):
            total = _sum(total, await self._publish(group))
        return total

    async def _publish(self, group: Sequence[Outgoing]) -> Published:
        if len(group) >= GROUP_MIN:
            try:
                return await self._fly(group, self._send_as_one)
            except Refused:
                pass  # one by one says which message is a duplicate, or what is wrong
        return await self._fly(group, self._send_each)

    async def _fly(self, group: Sequence[Outgoing], send: Callable[[Flight], Awaitable[None]]) -> Published:
        flight = Flight(group, self._next)
        self._next += len(group)
        self._link.watch_loss(flight.fail)
        try:
            await send(flight)
            return await flight.wait()
        except (nats.errors.Error, OSError) as error:
            raise BusDown(f"cannot publish: {error!r}") from error
        finally:
            self._link.forget_loss(flight.fail)
            if flight.missing:  # acks that come later are nobody's
                for number in flight.numbers:
                    self._flights.pop(str(number), None)

    async def _send_each(self, flight: Flight) -> None:
        for number, message in zip(flight.numbers, flight.group, strict=True):
            await self._take_turn(flight, number)
            await self._send(message, {"Nats-Msg-Id": message.message_id}, self._expect(flight, number))

    async def _send_as_one(self, flight: Flight) -> None:
        last = flight.numbers[-1]
        name = f"{self._prefix[-9:-1]}-{last}"
        for number, message in zip(flight.numbers, flight.group, strict=True):
            await self._take_turn(flight, number)
            headers = {
                "Nats-Msg-Id": message.message_id,
                "Nats-Batch-Id": name,
                "Nats-Batch-Sequence": str(number - flight.numbers.start + 1),
            }
            if number == last:
                headers["Nats-Batch-Commit"] = "1"
            await self._send(message, headers, self._expect(flight, last) if number == last else "")

    async def _take_turn(self, flight: Flight, number: int) -> None:
        flight.check()
        if number % BURST == 0:
            await asyncio.sleep(0)
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # nats-py swallows a cancel while it flushes
            raise asyncio.CancelledError

    def _expect(self, flight: Flight, number: int) -> str:
        """Return the reply subject by which the ack will find this flight."""
        token = str(number)
        self._flights[token] = flight
        return self._prefix + token

    async def _send(self, message: Outgoing, headers: dict[str, str], reply: str) -> None:
        await self._client.publish(message.subject, message.payload, reply=reply, headers=headers)

    async def _on_ack(self, msg: Msg) -> None:
        token = msg.subject[self._cut :]
        flight = self._flights.pop(token, None)
        if flight is not None:
            flight.land(int(token), _decode_ack(msg.data) if msg.data else _NOBODY)


def _groups(batch: Sequence[Outgoing]) -> Iterator[Sequence[Outgoing]]:
    """Cut the batch where a group would get too long or too heavy."""
    start, size = 0, 0
    for i, message in enumerate(batch):
        size += len(message.payload)
        if i > start and (i - start == GROUP_MAX or size > GROUP_BYTES):
            yield batch[start:i]
            start, size = i, len(message.payload)
    if batch:
        yield batch[start:]


def _sum(one: Published, two: Published) -> Published:
    return Published(
        one.stored + two.stored, one.duplicates + two.duplicates, max(one.last_stream_seq, two.last_stream_seq)
    )


async def _wait_at_most(event: asyncio.Event, limit_s: float) -> None:
    event.clear()
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
