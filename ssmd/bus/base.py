"""The seam to the message bus. Everything that waits has a deadline inside and raises BusDown past it.

After BusDown the connection is dead: leave the context and connect again (the supervisor does that).
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from msgspec import Struct


class StreamSpec(Struct, frozen=True):
    name: str
    subjects: tuple[str, ...]
    max_bytes: int
    max_age_s: float
    duplicate_window_s: float = 600.0
    replicas: int = 1


class Outgoing(Struct, frozen=True, gc=False):
    subject: str
    payload: bytes
    message_id: str


class Incoming(Struct, frozen=True, gc=False):
    subject: str
    payload: bytes
    message_id: str
    stream_seq: int
    pending: int
    """How many further messages the stream had for this consumer when it sent this one."""


class Published(Struct, frozen=True):
    stored: int
    duplicates: int
    last_stream_seq: int


class BucketSpec(Struct, frozen=True):
    """A key-value bucket that keeps the last value of each key.

    max_age_s: a value that nobody has renewed for so long is gone; 0 keeps it. in_memory: a restarted server has lost it.
    """

    name: str
    max_age_s: float = 0.0
    in_memory: bool = False


class KvEntry(Struct, frozen=True):
    """`value` is None when the key was deleted."""

    key: str
    value: bytes | None
    revision: int


class StreamUsage(Struct, frozen=True):
    """How full a stream is. limit_bytes: 0 when it has none.

    first_seq: of the oldest message that is still there; last_seq + 1 when nothing is. created_ns: a stream that was made
    anew counts from 1 again.
    """

    stored_bytes: int
    limit_bytes: int
    messages: int
    first_seq: int = 1
    last_seq: int = 0
    created_ns: int = 0


class Start(Struct, frozen=True):
    """Where a listener begins. Nothing named: with what is stored from now on.

    after_seq: behind this message, 0 is the oldest one. since_ns: with the first message stored at this time or later.
    last_of_each: with the last message of each subject, in their order; then what is stored from now on.
    """

    after_seq: int | None = None
    since_ns: int | None = None
    last_of_each: bool = False


FROM_NOW: Final = Start()
LAST_OF_EACH: Final = Start(last_of_each=True)


class Consumer(Protocol):
    discarded: int
    """How many messages, at most, the stream has dropped by its limits before this durable had acknowledged them."""
    present: int
    """How many messages the stream had for it when it was opened. Who wants just these need not wait for another one."""

    async def fetch(self, limit: int, within_s: float) -> Sequence[Incoming]:
        """Return 1 to `limit` messages as soon as there are any, or nothing after `within_s`."""
        ...

    async def left(self) -> int:
        """Return how many messages of the stream it has not acknowledged, read or not: what the server says now."""
        ...

    async def ack_through(self, stream_seq: int) -> None:
        """Tell the stream that everything up to this message is done; return when the server has it.

        A server that is killed within the next 0.1 s may forget it: the messages then come again.
        """
        ...


class Bus(Protocol):
    """One live connection."""

    async def ensure_stream(self, spec: StreamSpec) -> None:
        """Create the stream, or bring an existing one to this specification."""
        ...

    async def publish(self, batch: Sequence[Outgoing]) -> Published:
        """Store every message; return after the last ack.

        Repeating a batch is safe: the ids are the same. If cancelled, some messages may be stored.
        Raises BusDown when the connection ends, an ack is late or the bus refuses a message; keep the cursor
        where it was.
        Raises ValueError for a subject with a wildcard or a payload above the server's limit; nothing was sent.
        """
        ...

    async def usage(self, stream: str) -> StreamUsage | None:
        """Return how full a stream is, None when there is no such stream."""
        ...

    def consume(
        self, stream: str, durable: str, subject: str, max_ack_pending: int = 1_000_000
    ) -> AbstractAsyncContextManager[Consumer]:
        """Open a durable pull consumer that acknowledges cumulatively (AckAll, AckWait 300 s).

        It begins at the first unacknowledged message, in order, whatever an earlier reader had fetched. One reader
        at a time: a second one takes the durable over, and the first gets BusDown.
        """
        ...

    def listen(self, stream: str, subject: str, start: Start = FROM_NOW) -> AbstractAsyncContextManager[Consumer]:
        """Open a short-lived consumer; it acknowledges nothing and leaves nothing.

        What the stream's limits took before it was read is left out: compare the first message's number.
        """
        ...

    async def acked_through(self, stream: str, durable: str) -> int:
        """Return through which message a durable consumer has acknowledged; 0 without such a stream or durable."""
        ...

    async def ensure_bucket(self, spec: BucketSpec) -> None:
        """Create the bucket, or bring an existing one's age limit to this specification.

        Where an existing one is stored cannot be changed, and stays. Other methods make a missing bucket with defaults.
        """
        ...

    async def kv_get(self, bucket: str, key: str) -> KvEntry | None:
        """Return the present value; None without such a bucket or key, and for a deleted one."""
        ...

    async def kv_list(self, bucket: str, pattern: str) -> Sequence[KvEntry]:
        """Return the present value of every key that a subject pattern covers, in the order of the keys.

        A deleted key is left out; without such a bucket or key there is nothing.
        """
        ...

    async def kv_put(self, bucket: str, key: str, value: bytes, expected_revision: int | None = None) -> int:
        """Write and return the new revision; the bucket is made when missing.

        expected_revision: None writes in any case, 0 only when the key is new, N only when N is the last.
        Raises AlreadyStored when someone else was first, ValueError for a value above the server's limit.
        """
        ...

    async def kv_delete(self, bucket: str, key: str, expected_revision: int | None = None) -> None:
        """Delete the key; without such a bucket there is nothing to do. Watchers get an entry without value.

        expected_revision: None deletes in any case, N only when N is the last.
        Raises AlreadyStored when someone else was first.
        """
        ...

    def kv_watch(self, bucket: str, pattern: str) -> AbstractAsyncContextManager[AsyncIterator[KvEntry]]:
        """Give the present values of the keys that a subject pattern covers, then every later one.

        The bucket is made when missing. A deletion is an entry without value.
        Raises BusDown when the watch is lost, also because the bucket was deleted: watch again for a full resync.
        """
        ...


class BusDialer(Protocol):
    """Opens connections; safe to share between actors."""

    def connect(self) -> AbstractAsyncContextManager[Bus]:
        """Connect within a deadline, or raise BusDown."""
        ...
