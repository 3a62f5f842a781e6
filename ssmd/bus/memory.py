"""The bus in memory, behind the same seam: for simulations on a virtual clock and for tests. Pure Trio.

A MemoryBroker is the server: it outlives connections and takes orders for faults. MemoryDialer connects to it.
"""

import sys
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from typing import Self

import trio
from msgspec import Struct

from ssmd.bus.base import Bus, Consumer, Incoming, KvEntry, Outgoing, Published, StreamSpec
from ssmd.bus.names import OutgoingCheck, check_filter, check_subject, check_token
from ssmd.errors import AlreadyStored, BusDown

MAX_PAYLOAD_BYTES = 1_048_576


class _Stored(Struct, frozen=True, gc=False):
    seq: int
    subject: str
    payload: bytes
    message_id: str


class _Change:
    """Wakes everybody who waits for something new; each wait sees only what comes after it began."""

    def __init__(self) -> None:
        self._event = trio.Event()

    def tell(self) -> None:
        self._event.set()
        self._event = trio.Event()

    async def wait(self) -> None:
        await self._event.wait()


class MemoryStream:
    """Messages in order, with the duplicate window and the size limit of the specification."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.ack_floors: dict[str, int] = {}
        self._messages: dict[int, _Stored] = {}
        self._seqs_of: dict[str, array[int]] = {}
        self._first_seq = 1
        self._last_seq = 0
        self._bytes = 0
        self._seen: dict[str, tuple[int, float]] = {}

    @property
    def first_seq(self) -> int:
        return self._first_seq

    @property
    def last_seq(self) -> int:
        return self._last_seq

    def takes(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.spec.subjects)

    def store(self, message: Outgoing) -> tuple[int, bool]:
        """Return the message's sequence number and whether it was there before."""
        now_s = trio.current_time()
        self._forget_ids(now_s)
        seen = self._seen.get(message.message_id)
        if seen is not None:
            return seen[0], True
        seq = self._last_seq = self._last_seq + 1
        self._seen[message.message_id] = (seq, now_s)
        self._messages[seq] = _Stored(seq, message.subject, message.payload, message.message_id)
        self._seqs_of.setdefault(message.subject, array("Q")).append(seq)
        self._bytes += len(message.payload)
        self.keep_limits()
        return seq, False

    def keep_limits(self) -> None:
        while self._bytes > self.spec.max_bytes and len(self._messages) > 1:
            self._drop_first()

    def read(self, after_seq: int, pattern: str, limit: int) -> tuple[list[_Stored], int]:
        """Return the next messages that match the pattern, and how many more there are behind them."""
        subjects = {subject for subject in self._seqs_of if matches(pattern, subject)}
        start = max(after_seq + 1, self._first_seq)
        later = (self._messages[seq] for seq in range(start, self._last_seq + 1))
        found = list(islice((m for m in later if m.subject in subjects), limit))
        floor = found[-1].seq if found else start - 1
        seqs = (self._seqs_of[subject] for subject in subjects)
        return found, sum(len(s) - bisect_right(s, floor) for s in seqs)

    def _drop_first(self) -> None:
        self._bytes -= len(self._messages.pop(self._first_seq).payload)
        self._first_seq += 1

    def _forget_ids(self, now_s: float) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if now_s - self._seen[oldest][1] <= self.spec.duplicate_window_s:
                return
            del self._seen[oldest]


class MemoryBroker:
    """The state that survives connections, and the faults that a test orders."""

    def __init__(self) -> None:
        self.streams: dict[str, MemoryStream] = {}
        self.buckets: dict[str, list[KvEntry]] = {}
        self.change = _Change()
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

    def write(self, bucket: str, key: str, value: bytes | None) -> int:
        entries = self.buckets.setdefault(bucket, [])
        entries.append(KvEntry(key, value, entries[-1].revision + 1 if entries else 1))
        self.change.tell()
        return entries[-1].revision


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
        stream = self.broker.streams.setdefault(spec.name, MemoryStream(spec))
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
    async def listen(self, stream: str, subject: str) -> AsyncIterator[Consumer]:
        check_filter(subject)
        await self.turn()
        if stream not in self.broker.streams:
            raise BusDown(f"no stream {stream}")
        floors = self.broker.streams[stream].ack_floors
        name = f"listener-{len(floors)}"
        floors[name] = self.broker.streams[stream].last_seq
        try:
            yield MemoryConsumer(self, stream, name, (subject, sys.maxsize))
        finally:
            del floors[name]

    async def kv_get(self, bucket: str, key: str) -> KvEntry | None:
        _check_key(bucket, key)
        await self.turn()
        entry = self._last(bucket, key)
        return None if entry is None or entry.value is None else entry

    async def kv_put(self, bucket: str, key: str, value: bytes, expected_revision: int | None = None) -> int:
        _check_key(bucket, key)
        await self.turn()
        last = self._last(bucket, key)
        present = 0 if last is None else last.revision
        is_new = expected_revision == 0 and (last is None or last.value is None)
        if expected_revision is not None and not is_new and expected_revision != present:
            raise AlreadyStored(f"{bucket}/{key} is no longer at revision {expected_revision}")
        return self.broker.write(bucket, key, value)

    @asynccontextmanager
    async def kv_watch(self, bucket: str, key: str) -> AsyncIterator[AsyncIterator[KvEntry]]:
        _check_key(bucket, key)
        await self.turn()
        entries = self.broker.buckets.setdefault(bucket, [])
        last = self._last(bucket, key)
        yield MemoryWatch(self, (bucket, key), entries, last.revision - 1 if last is not None else 0)

    def _last(self, bucket: str, key: str) -> KvEntry | None:
        return next((e for e in reversed(self.broker.buckets.get(bucket, ())) if e.key == key), None)


class MemoryConsumer:
    def __init__(self, bus: MemoryBus, stream: str, durable: str, reading: tuple[str, int]) -> None:
        self._bus = bus
        self._stream = stream
        self._durable = durable
        self._subject, self._max_ack_pending = reading
        self._unacked: deque[int] = deque()
        self._read_seq = bus.broker.streams[stream].ack_floors[durable]
        self.discarded = max(0, bus.broker.streams[stream].first_seq - 1 - self._read_seq)

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
        found, behind = self._bus.broker.streams[self._stream].read(self._read_seq, self._subject, room)
        if found:
            self._read_seq = found[-1].seq
            self._unacked.extend(m.seq for m in found)
        return [
            Incoming(m.subject, m.payload, m.message_id, m.seq, behind + len(found) - i) for i, m in enumerate(found, 1)
        ]

    async def ack_through(self, stream_seq: int) -> None:
        await self._bus.turn()
        floors = self._bus.broker.streams[self._stream].ack_floors
        while self._unacked and self._unacked[0] <= stream_seq:
            floors[self._durable] = self._unacked.popleft()
        self._bus.broker.change.tell()


class MemoryWatch:
    """The values of one key, as they come."""

    def __init__(self, bus: MemoryBus, watched: tuple[str, str], entries: list[KvEntry], seen_revision: int) -> None:
        self._bus = bus
        self._bucket, self._key = watched
        self._entries = entries
        self._seen_revision = seen_revision

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> KvEntry:
        await self._bus.turn()
        while True:
            if self._bus.broker.buckets.get(self._bucket) is not self._entries:
                raise BusDown(f"bucket {self._bucket} was deleted")
            for entry in self._entries:
                if entry.key == self._key and entry.revision > self._seen_revision:
                    self._seen_revision = entry.revision
                    return entry
            await self._bus.changed()


def matches(pattern: str, subject: str) -> bool:
    """Tell whether a subject pattern covers a subject (* is one token, > the rest)."""
    parts, tokens = pattern.split("."), subject.split(".")
    if parts[-1] == ">":
        parts.pop()
        if len(tokens) <= len(parts):
            return False
        tokens = tokens[: len(parts)]
    return len(parts) == len(tokens) and all(p in {"*", t} for p, t in zip(parts, tokens, strict=True))


def _check_key(bucket: str, key: str) -> None:
    check_token(bucket, "bucket")
    check_subject(key, "key")
