"""Messages of one consumer, pulled by hand: a request, then a callback for each message (4 times cheaper than fetch).

The island puts messages into `ready`, Trio takes them out. So a cancelled fetch loses nothing: what arrives for its
request waits for the next one.
"""

import asyncio  # noqa: TID251 (runs on the island)
import json
import time
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from nats.aio.msg import Msg  # noqa: TID251 (the bus's driver)
from nats.aio.subscription import Subscription  # noqa: TID251 (the bus's driver)

from ssmd.bus.link import Link
from ssmd.errors import BusDown

T = TypeVar("T")

PULL_EXPIRES_S: Final = 5.0
"""How long one request stays open on the server."""

PULL_GRACE_S: Final = 2.0
"""The server says when a request has expired. If it does not, it is gone, or JetStream is."""

GATHER_S: Final = 0.02
"""When the stream has more for us, wait this long for a full batch: crossing for each packet would cost more."""

_GO_ON: Final = ("Batch Completed", "Leadership Change")
"""Reasons of a status 409 after which the next request may succeed. All others end the consumer."""


class Delivery(NamedTuple):
    """What the reply subject of a message says."""

    prefix: str
    stream_seq: int
    consumer_seq: int
    pending: int


def parse_reply(reply: str) -> Delivery:
    """Read `$JS.ACK.<stream>.<consumer>.<times>.<stream seq>.<consumer seq>.<ns>.<pending>`.

    Longer forms carry the domain and the account before the stream and a random token at the end (ADR-15).
    """
    parts = reply.split(".")
    at = 4 if len(parts) == 9 else 6
    return Delivery(".".join(parts[:at]), int(parts[at + 1]), int(parts[at + 2]), int(parts[at + 4]))


class Pull(Generic[T]):
    """One reader of one consumer. `read` turns a message into what the Trio side wants to have."""

    def __init__(self, link: Link, stream: str, consumer: str, read: Callable[[Msg, Delivery], T]) -> None:
        self.ready: deque[T] = deque()
        self._link = link
        self._name = f"{stream}.{consumer}"
        self._read = read
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._news = asyncio.Event()
        self._failure: BusDown | None = None
        self._requests = 0
        self._wanted = 0
        self._expires_s = 0.0
        self._prefix = ""
        self._pending = 0
        self._consumer_seq = 0
        self._unacked_stream_seqs = array("Q")
        self._unacked_consumer_seqs = array("Q")

    async def open(self) -> None:
        self._link.watch_loss(self._fail)
        self._inbox = self._link.client.new_inbox()
        self._subscription = await self._link.client.subscribe(
            self._inbox + ".*", cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0
        )  # no limits: never more than one request's batch is under way

    async def close(self) -> None:
        self._link.forget_loss(self._fail)
        if self._subscription is not None and self._failure is None:
            async with self._link.asking("close consumer"):
                await self._subscription.unsubscribe()

    def take(self, limit: int) -> list[T]:
        """Take what is there, at most `limit`. For the Trio side; a deque may be shared between two threads."""
        return [self.ready.popleft() for _ in range(min(limit, len(self.ready)))]

    async def wait(self, limit: int, within_s: float) -> None:
        """Return when there is something to take, or after `within_s`. Raises BusDown when the server is silent."""
        end_s = time.monotonic() + within_s
        while not self.ready and (now_s := time.monotonic()) < end_s:
            self._check()
            if not self._wanted:
                await self._request(limit)
            elif now_s > self._expires_s + PULL_GRACE_S:
                raise BusDown(f"no answer from consumer {self._name}")
            await self._hear(min(end_s, self._expires_s + PULL_GRACE_S) - now_s)
        await self._gather(limit)

    async def _gather(self, limit: int) -> None:
        end_s = time.monotonic() + GATHER_S
        while self._pending and self._wanted and len(self.ready) < limit and (now_s := time.monotonic()) < end_s:
            await self._hear(end_s - now_s)

    async def _hear(self, limit_s: float) -> None:
        self._news.clear()
        try:
            async with asyncio.timeout(max(limit_s, 0.001)):
                await self._news.wait()
        except TimeoutError:
            return

    async def _request(self, limit: int) -> None:
        self._requests += 1
        self._wanted = limit
        self._expires_s = time.monotonic() + PULL_EXPIRES_S
        body = json.dumps({"batch": limit, "expires": int(PULL_EXPIRES_S * 1e9)}).encode()
        reply = f"{self._inbox}.{self._requests}"
        async with self._link.asking(f"read {self._name}"):
            await self._link.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{self._name}", body, reply=reply)

    async def ack_through(self, stream_seq: int) -> None:
        """Acknowledge everything up to this message and wait until the server confirms it."""
        last = bisect_right(self._unacked_stream_seqs, stream_seq) - 1
        if last < 0:
            return
        self._check()
        seqs = f"{self._unacked_stream_seqs[last]}.{self._unacked_consumer_seqs[last]}"
        async with self._link.asking(f"acknowledge {self._name} through {stream_seq}"):
            await self._link.client.request(f"{self._prefix}.1.{seqs}.0.0", b"+ACK", timeout=PULL_EXPIRES_S)
        del self._unacked_stream_seqs[: last + 1], self._unacked_consumer_seqs[: last + 1]

    async def _on_message(self, msg: Msg) -> None:
        if msg.reply:
            self._deliver(msg, parse_reply(msg.reply))
        else:
            self._end_request(msg)
        self._news.set()

    def _deliver(self, msg: Msg, delivery: Delivery) -> None:
        self._consumer_seq += 1
        if delivery.consumer_seq != self._consumer_seq:
            self._fail(BusDown(f"delivery {self._consumer_seq} of {self._name} went elsewhere: one reader at a time"))
            return  # an acknowledgement would cover what another reader has and may lose
        self._wanted -= 1
        self._prefix = delivery.prefix
        self._pending = delivery.pending
        if self._unacked_stream_seqs and delivery.stream_seq <= self._unacked_stream_seqs[-1]:
            return  # sent again because it waits for its ack for long; the reader has it
        self._unacked_stream_seqs.append(delivery.stream_seq)
        self._unacked_consumer_seqs.append(delivery.consumer_seq)
        self.ready.append(self._read(msg, delivery))

    def _end_request(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status, reason = headers.get("Status", ""), headers.get("Description", "")
        if not msg.subject.endswith(f".{self._requests}"):
            return  # about an earlier request, which is over
        self._wanted = self._pending = 0
        if status not in {"404", "408"} and reason not in _GO_ON:
            self._fail(BusDown(f"consumer {self._name}: {status} {reason.strip()}"))

    def _fail(self, failure: BusDown) -> None:
        self._failure = self._failure or failure
        self._news.set()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
