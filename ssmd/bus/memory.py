"""The bus in memory, behind the same seam: for simulations on a virtual clock and for tests. Pure Trio.

A MemoryBroker is the server: it outlives connections and takes orders for faults. MemoryDialer connects to it.
"""

import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Self

import trio

from ssmd.bus.base import (
    FROM_NOW,
    BucketSpec,
    Bus,
    Consumer,
    Incoming,
    KvEntry,
    Outgoing,
    Published,
    Start,
    StreamSpec,
    StreamUsage,
)
from ssmd.bus.memory_store import MemoryBucket, MemoryStream, Stored, matches
from ssmd.bus.names import OutgoingCheck, check_filter, check_key, check_token, check_value
from ssmd.clock import NowNs, now_ns
from ssmd.errors import AlreadyStored, BusDown

MAX_PAYLOAD_BYTES = 1_048_576


class _Change:
    """Wakes everybody who waits for something new; each wait sees only what comes after it began."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class MemoryBroker:
    """The state that survives connections, and the faults that a test orders."""

    def __init__(self, now: NowNs = now_ns) -> None:
        self.now = now
        self.streams: dict[str, MemoryStream] = {}
        self.buckets: dict[str, MemoryBucket] = {}
        self.change = _Change()
        self.listeners = count()
        self.generation = 0
        self.is_up = True
        self._acks_to_lose = 0

    def down(self) -> None:
        """Go away: every connection is lost, new ones are refused."""
        self.is_up = False
        self.drop_connections()

    def up(self) -> None:
        self.is_up = True

    def drop_connections(self) -> None:
        self.generation += 1
        self.change.tell()

    def fail_next_acks(self, count: int = 1) -> None:
        """Store the next batches, but lose their acks: the publisher cannot know."""
        self._acks_to_lose += count

    def lose_ack(self) -> bool:
        losing = self._acks_to_lose > 0
        self._acks_to_lose -= losing
        return losing

    def delete_key(self, bucket: str, key: str) -> None:
        self.write(bucket, key, None)

    def delete_bucket(self, bucket: str) -> None:
        del self.buckets[bucket]
        self.change.tell()

    def lose_memory(self) -> None:
        """Be a server that was restarted: connections are lost, and so is what was kept in memory only."""
        self.buckets = {name: bucket for name, bucket in self.buckets.items() if not bucket.spec.in_memory}
        self.drop_connections()

    def bucket(self, name: str) -> MemoryBucket:
        """Return the bucket of that name, made with defaults when missing."""
        return self.buckets.setdefault(name, MemoryBucket(BucketSpec(name)))

    def write(self, bucket: str, key: str, value: bytes | None) -> int:
        revision = self.bucket(bucket).write(key, value)
        self.change.tell()
        return revision


class MemoryDialer:
    """Opens connections to a broker in this process."""

    def __init__(self, broker: MemoryBroker | None = None) -> None:
        self.broker = broker or MemoryBroker()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Bus]:
        await trio.lowlevel.checkpoint()
        if not self.broker.is_up:
            raise BusDown("the memory bus is down")
        yield MemoryBus(self.broker)


class MemoryBus:
    """One live connection; it ends when the broker goes down, and does not come back."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self._generation = broker.generation
        self._outgoing = OutgoingCheck(MAX_PAYLOAD_BYTES)

    async def turn(self) -> None:
        """Let others run; raise BusDown if the connection has ended."""
        await trio.lowlevel.checkpoint()
        if self.broker.generation != self._generation:
            raise BusDown("the connection to the memory bus is lost")

    async def changed(self) -> None:
        """Wait for anything new. No await between a look at the broker and this call, or a change is missed."""
        await self.broker.change.wait()
        await self.turn()

    async def ensure_stream(self, spec: StreamSpec) -> None:
        await self.turn()
        check_token(spec.name, "stream")
        for subject in spec.subjects:
            check_filter(subject)
        stream = self.broker.streams.setdefault(spec.name, MemoryStream(spec, self.broker.now))
        stream.spec = spec
        stream.keep_limits()

    async def publish(self, batch: Sequence[Outgoing]) -> Published:
        self._outgoing.check(batch)
        await self.turn()
        results = [self._stream_for(message.subject).store(message) for message in batch]
        self.broker.change.tell()
        if self.broker.lose_ack():
            raise BusDown(f"no ack for {len(batch)} messages")
        duplicates = sum(duplicate for _, duplicate in results)
        last_seq = max((seq for seq, _ in results), default=0)
        return Published(stored=len(batch) - duplicates, duplicates=duplicates, last_stream_seq=last_seq)

    def _stream_for(self, subject: str) -> MemoryStream:
        for stream in self.broker.streams.values():
            if stream.takes(subject):
                return stream
        raise BusDown(f"no stream takes {subject}")

    @asynccontextmanager
    async def consume(
        self, stream: str, durable: str, subject: str, max_ack_pending: int = 1_000_000
    ) -> AsyncIterator[Consumer]:
        check_token(durable, "durable")
        check_filter(subject)
        await self.turn()
        if stream not in self.broker.streams:
            raise BusDown(f"no stream {stream}")
        self.broker.streams[stream].ack_floors.setdefault(durable, 0)
        yield MemoryConsumer(self, stream, durable, (subject, max_ack_pending))

    @asynccontextmanager
    async def listen(self, stream: str, subject: str, start: Start = FROM_NOW) -> AsyncIterator[Consumer]:
        check_filter(subject)
        await self.turn()
        if stream not in self.broker.streams:
            raise BusDown(f"no stream {stream}")
        floors = self.broker.streams[stream].ack_floors
        name = f"listener-{next(self.broker.listeners)}"
        floors[name] = self.broker.streams[stream].before(start)
        lasts = self.broker.streams[stream].last_of_each(subject) if start.last_of_each else ()
        try:
            yield MemoryConsumer(self, stream, name, (subject, sys.maxsize), lasts)
        finally:
            del floors[name]

    async def ensure_bucket(self, spec: BucketSpec) -> None:
        check_token(spec.name, "bucket")
        await self.turn()
        bucket = self.broker.buckets.setdefault(spec.name, MemoryBucket(spec))
        bucket.spec = BucketSpec(spec.name, spec.max_age_s, bucket.spec.in_memory)

    async def usage(self, stream: str) -> StreamUsage | None:
        await self.turn()
        found = self.broker.streams.get(stream)
        if found is None:
            return None
        limits = (found.stored_bytes, found.spec.max_bytes, found.messages)
        return StreamUsage(*limits, found.first_seq, found.last_seq, found.created_ns)

    async def acked_through(self, stream: str, durable: str) -> int:
        await self.turn()
        found = self.broker.streams.get(stream)
        return 0 if found is None else found.ack_floors.get(durable, 0)

    async def kv_get(self, bucket: str, key: str) -> KvEntry | None:
        check_key(bucket, key)
        await self.turn()
        entry = self._last(bucket, key)
        return None if entry is None or entry.value is None else entry

    async def kv_list(self, bucket: str, pattern: str) -> Sequence[KvEntry]:
        check_token(bucket, "bucket")
        check_filter(pattern)
        await self.turn()
        if bucket not in self.broker.buckets:
            return []
        present = self.broker.buckets[bucket].present(pattern)
        return sorted((entry for entry in present if entry.value is not None), key=lambda entry: entry.key)

    async def kv_put(self, bucket: str, key: str, value: bytes, expected_revision: int | None = None) -> int:
        check_key(bucket, key)
        check_value(f"{bucket}/{key}", value, MAX_PAYLOAD_BYTES)
        await self.turn()
        last = self._last(bucket, key)
        is_new = last is None or last.value is None
        if not (expected_revision == 0 and is_new):
            self._expect(bucket, key, expected_revision)
        return self.broker.write(bucket, key, value)

    async def kv_delete(self, bucket: str, key: str, expected_revision: int | None = None) -> None:
        check_key(bucket, key)
        await self.turn()
        if bucket in self.broker.buckets:
            self._expect(bucket, key, expected_revision)
            self.broker.write(bucket, key, None)

    def _expect(self, bucket: str, key: str, revision: int | None) -> None:
        last = self._last(bucket, key)
        if revision is not None and revision != (0 if last is None else last.revision):
            raise AlreadyStored(f"{bucket}/{key} is no longer at revision {revision}")

    def _last(self, bucket: str, key: str) -> KvEntry | None:
        present = self.broker.buckets.get(bucket)
        return None if present is None else present.last(key)

    @asynccontextmanager
    async def kv_watch(self, bucket: str, pattern: str) -> AsyncIterator[AsyncIterator[KvEntry]]:
        check_token(bucket, "bucket")
        check_filter(pattern)
        await self.turn()
        yield MemoryWatch(self, self.broker.bucket(bucket), pattern)


class MemoryConsumer:
    def __init__(
        self, bus: MemoryBus, stream: str, durable: str, reading: tuple[str, int], first: Sequence[Stored] = ()
    ) -> None:
        self._bus = bus
        self._stream = stream
        self._durable = durable
        self._subject, self._max_ack_pending = reading
        self._first = list(first)
        self._unacked: deque[int] = deque()
        self._read_seq = bus.broker.streams[stream].ack_floors[durable]
        self.discarded = max(0, bus.broker.streams[stream].first_seq - 1 - self._read_seq)
        self.present = bus.broker.streams[stream].read(self._read_seq, self._subject, 0)[1]

    async def fetch(self, limit: int, within_s: float) -> Sequence[Incoming]:
        await self._bus.turn()
        batch = self._take(limit)
        with trio.move_on_after(within_s):
            while not batch:
                await self._bus.changed()
                batch = self._take(limit)
        return batch

    def _take(self, limit: int) -> list[Incoming]:
        room = min(limit, self._max_ack_pending - len(self._unacked))
        stream = self._bus.broker.streams[self._stream]
        if self._first:
            found, self._first = self._first[:room], self._first[room:]
            behind = len(self._first) + stream.read(self._read_seq, self._subject, 0)[1]
        else:
            found, behind = stream.read(self._read_seq, self._subject, room)
            self._read_seq = found[-1].seq if found else self._read_seq
        if found:
            self._unacked.extend(m.seq for m in found)
        return [
            Incoming(m.subject, m.payload, m.message_id, m.seq, behind + len(found) - i) for i, m in enumerate(found, 1)
        ]

    async def left(self) -> int:
        await self._bus.turn()
        stream = self._bus.broker.streams[self._stream]
        return stream.read(stream.ack_floors[self._durable], self._subject, 0)[1]

    async def ack_through(self, stream_seq: int) -> None:
        await self._bus.turn()
        floors = self._bus.broker.streams[self._stream].ack_floors
        while self._unacked and self._unacked[0] <= stream_seq:
            floors[self._durable] = self._unacked.popleft()
        self._bus.broker.change.tell()


class MemoryWatch:
    """The values of some keys, as they come."""

    def __init__(self, bus: MemoryBus, bucket: MemoryBucket, pattern: str) -> None:
        self._bus = bus
        self._bucket = bucket
        self._pattern = pattern
        self._ready = deque(bucket.present(pattern))
        later = bucket.after(0)
        self._seen_revision = later[-1].revision if later else 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> KvEntry:
        await self._bus.turn()
        while not self._ready:
            self._look()
            if not self._ready:
                await self._bus.changed()
        return self._ready.popleft()

    def _look(self) -> None:
        name = self._bucket.spec.name
        if self._bus.broker.buckets.get(name) is not self._bucket:
            raise BusDown(f"bucket {name} was deleted")
        for entry in self._bucket.after(self._seen_revision):
            self._seen_revision = entry.revision
            if matches(self._pattern, entry.key):
                self._ready.append(entry)
