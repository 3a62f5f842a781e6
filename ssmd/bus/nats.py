"""The bus over NATS JetStream: what Trio tasks hold. The work itself happens on the connection's own island.

One thread per connection, so that a dead or hanging one is replaced by connecting again, like any other outage.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Self, TypeVar

import trio
from nats.aio.msg import Msg  # noqa: TID251 (the bus's driver)

from ssmd.bus import buckets, streams
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
from ssmd.bus.island import Island, open_island
from ssmd.bus.link import Link, NatsOptions, check_url
from ssmd.bus.names import OutgoingCheck, check_filter, check_key, check_token, check_value
from ssmd.bus.outbox import Outbox
from ssmd.bus.pulling import Delivery, Pull
from ssmd.errors import BusDown

T = TypeVar("T")

LEAVE_WITHIN_S: Final = 2.0
WATCH_STEP_S: Final = 60.0
WATCH_BATCH: Final = 16
LIST_STEP_S: Final = 1.0
LIST_TRIES: Final = 3
LIST_BATCH: Final = 256


class NatsDialer:
    """Opens connections to a NATS server or cluster: `url` is one or several, separated by commas."""

    def __init__(self, url: str, options: NatsOptions = NatsOptions()) -> None:  # noqa: B008 (a frozen struct)
        self._url = check_url(url)
        self._options = options

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Bus]:
        """Connect within a deadline, or raise BusDown."""
        link = Link(self._options)
        outbox = Outbox(link)
        async with open_island(self._options.name, at_end=link.close) as island:
            await island.run(partial(_open, link, outbox, self._url))
            yield NatsBus(island, link, outbox)


async def _open(link: Link, outbox: Outbox, url: str) -> None:
    await link.connect(url)
    async with link.asking("open the reply inbox"):
        await outbox.open()


class NatsBus:
    """One live connection."""

    def __init__(self, island: Island, link: Link, outbox: Outbox) -> None:
        self._island = island
        self._link = link
        self._outbox = outbox
        self._outgoing = OutgoingCheck(link.client.max_payload)

    async def ensure_stream(self, spec: StreamSpec) -> None:
        check_token(spec.name, "stream")
        for subject in spec.subjects:
            check_filter(subject)
        await self._island.run(partial(streams.ensure_stream, self._link, spec))

    async def usage(self, stream: str) -> StreamUsage | None:
        check_token(stream, "stream")
        return await self._island.run(partial(streams.usage, self._link, stream))

    async def publish(self, batch: Sequence[Outgoing]) -> Published:
        self._outgoing.check(batch)
        return await self._island.run(partial(self._outbox.publish, batch))

    @asynccontextmanager
    async def consume(
        self, stream: str, durable: str, subject: str, max_ack_pending: int = 1_000_000
    ) -> AsyncIterator[Consumer]:
        spec = streams.ConsumerSpec(
            check_token(stream, "stream"), check_token(durable, "durable"), check_filter(subject), max_ack_pending
        )
        opened = await self._island.run(partial(streams.ensure_consumer, self._link, spec))
        async with self._pull(lambda: Pull(self._link, stream, durable, _incoming)) as pull:
            yield NatsConsumer(self._island, pull, opened, partial(streams.unacknowledged, self._link, stream, durable))

    @asynccontextmanager
    async def listen(self, stream: str, subject: str, start: Start = FROM_NOW) -> AsyncIterator[Consumer]:
        check_token(stream, "stream")
        check_filter(subject)
        opened = await self._island.run(partial(streams.make_listener, self._link, stream, subject, start))
        left = partial(streams.unacknowledged, self._link, stream, opened.name)
        try:
            async with self._pull(lambda: Pull(self._link, stream, opened.name, _incoming)) as pull:
                yield NatsConsumer(self._island, pull, opened, left)
        finally:
            await self._leave(partial(streams.drop_listener, self._link, stream, opened.name))

    async def acked_through(self, stream: str, durable: str) -> int:
        check_token(stream, "stream")
        check_token(durable, "durable")
        return await self._island.run(partial(streams.acked_through, self._link, stream, durable))

    async def ensure_bucket(self, spec: BucketSpec) -> None:
        check_token(spec.name, "bucket")
        await self._island.run(partial(buckets.ensure_bucket, self._link, spec))

    async def kv_get(self, bucket: str, key: str) -> KvEntry | None:
        check_key(bucket, key)
        return await self._island.run(partial(buckets.get, self._link, bucket, key))

    async def kv_list(self, bucket: str, pattern: str) -> Sequence[KvEntry]:
        check_token(bucket, "bucket")
        check_filter(pattern)
        for _ in range(LIST_TRIES):
            found = await self._list_whole(bucket, pattern)
            if found is not None:
                return [entry for _, entry in sorted(found.items()) if entry.value is not None]
        raise BusDown(f"list {bucket}/{pattern}: the server stopped in the middle, {LIST_TRIES} times")

    async def _list_whole(self, bucket: str, pattern: str) -> dict[str, KvEntry] | None:
        """Return every entry, or None when they stopped coming: a part must not pass for the whole."""
        watcher = await self._island.run(partial(buckets.find_watcher, self._link, bucket, pattern))
        found: dict[str, KvEntry] = {}
        if watcher is None or not watcher.present:
            return found
        async with self._pull(self._reader(bucket, watcher, buckets.listed_of)) as pull:
            while listed := await self._next_listed(pull):
                found |= {one.entry.key: one.entry for one in listed}
                if listed[-1].behind == 0:
                    return found
        return None

    async def _next_listed(self, pull: Pull[buckets.Listed]) -> Sequence[buckets.Listed]:
        """Return nothing when nothing comes: the server is slow, or what was counted as present is gone meanwhile."""
        await self._island.run(partial(pull.wait, LIST_BATCH, LIST_STEP_S))
        return pull.take(LIST_BATCH)

    async def kv_put(self, bucket: str, key: str, value: bytes, expected_revision: int | None = None) -> int:
        check_key(bucket, key)
        check_value(f"{bucket}/{key}", value, self._link.client.max_payload)
        entry = KvEntry(key, value, expected_revision or 0)
        expect = expected_revision is not None
        return await self._island.run(partial(buckets.put, self._link, bucket, entry, expect=expect))

    async def kv_delete(self, bucket: str, key: str, expected_revision: int | None = None) -> None:
        check_key(bucket, key)
        entry = KvEntry(key, None, expected_revision or 0)
        expect = expected_revision is not None
        await self._island.run(partial(buckets.delete, self._link, bucket, entry, expect=expect))

    @asynccontextmanager
    async def kv_watch(self, bucket: str, pattern: str) -> AsyncIterator[AsyncIterator[KvEntry]]:
        check_token(bucket, "bucket")
        check_filter(pattern)
        watcher = await self._island.run(partial(buckets.make_watcher, self._link, bucket, pattern))
        async with self._pull(self._reader(bucket, watcher, buckets.entry_of)) as pull:
            yield NatsWatch(self._island, pull)

    def _reader(
        self, bucket: str, watcher: buckets.Watcher, read: Callable[[str, Msg, Delivery], T]
    ) -> Callable[[], Pull[T]]:
        return lambda: Pull(self._link, f"KV_{bucket}", watcher.name, partial(read, bucket))

    @asynccontextmanager
    async def _pull(self, make: Callable[[], Pull[T]]) -> AsyncIterator[Pull[T]]:
        pull = make()
        try:
            await self._island.run(pull.open)
            yield pull
        finally:
            await self._leave(pull.close)

    async def _leave(self, work: Callable[[], Coroutine[object, object, None]]) -> None:
        with trio.move_on_after(LEAVE_WITHIN_S, shield=True), suppress(BusDown):  # then there is nothing to close
            await self._island.run(work)


class NatsConsumer:
    def __init__(
        self, island: Island, pull: Pull[Incoming], opened: streams.Opened, left: Callable[[], Coroutine[Any, Any, int]]
    ) -> None:
        self.discarded = opened.discarded
        self.present = opened.present
        self._island = island
        self._pull = pull
        self._left = left

    async def fetch(self, limit: int, within_s: float) -> Sequence[Incoming]:
        if self._pull.ready:
            await trio.lowlevel.checkpoint()
        else:
            await self._island.run(partial(self._pull.wait, limit, within_s))
        return self._pull.take(limit)

    async def left(self) -> int:
        return await self._island.run(self._left)

    async def ack_through(self, stream_seq: int) -> None:
        await self._island.run(partial(self._pull.ack_through, stream_seq))


class NatsWatch:
    """The values of some keys, as they come."""

    def __init__(self, island: Island, pull: Pull[KvEntry]) -> None:
        self._island = island
        self._pull = pull

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> KvEntry:
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._pull.ready:
            await self._island.run(partial(self._pull.wait, WATCH_BATCH, WATCH_STEP_S))
        return self._pull.take(1)[0]


def _incoming(msg: Msg, delivery: Delivery) -> Incoming:
    identity = (msg.headers or {}).get("Nats-Msg-Id", "")
    return Incoming(msg.subject, msg.data, identity, delivery.stream_seq, delivery.pending)
