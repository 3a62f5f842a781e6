"""The bus over NATS JetStream: what Trio tasks hold. The work itself happens on the connection's own island.

One thread per connection, so that a dead or hanging one is replaced by connecting again, like any other outage.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, Self, TypeVar

import trio
from nats.aio.msg import Msg  # noqa: TID251 (the bus's driver)

from ssmd.bus import streams
from ssmd.bus.base import Bus, Consumer, Incoming, KvEntry, Outgoing, Published, StreamSpec
from ssmd.bus.island import Island, open_island
from ssmd.bus.link import Link, NatsOptions, check_url
from ssmd.bus.names import OutgoingCheck, check_filter, check_subject, check_token
from ssmd.bus.outbox import Outbox
from ssmd.bus.pulling import Delivery, Pull
from ssmd.errors import BusDown

T = TypeVar("T")

LEAVE_WITHIN_S: Final = 2.0
WATCH_STEP_S: Final = 60.0
WATCH_BATCH: Final = 16


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
        discarded = await self._island.run(partial(streams.ensure_consumer, self._link, spec))
        async with self._pull(lambda: Pull(self._link, stream, durable, _incoming)) as pull:
            yield NatsConsumer(self._island, pull, discarded)

    @asynccontextmanager
    async def listen(self, stream: str, subject: str) -> AsyncIterator[Consumer]:
        check_token(stream, "stream")
        check_filter(subject)
        name = await self._island.run(partial(streams.make_listener, self._link, stream, subject))
        async with self._pull(lambda: Pull(self._link, stream, name, _incoming)) as pull:
            yield NatsConsumer(self._island, pull)

    async def kv_get(self, bucket: str, key: str) -> KvEntry | None:
        _check_key(bucket, key)
        return await self._island.run(partial(streams.kv_get, self._link, bucket, key))

    async def kv_put(self, bucket: str, key: str, value: bytes, expected_revision: int | None = None) -> int:
        _check_key(bucket, key)
        entry = KvEntry(key, value, expected_revision or 0)
        expect = expected_revision is not None
        return await self._island.run(partial(streams.kv_put, self._link, bucket, entry, expect=expect))

    @asynccontextmanager
    async def kv_watch(self, bucket: str, key: str) -> AsyncIterator[AsyncIterator[KvEntry]]:
        _check_key(bucket, key)
        name = await self._island.run(partial(streams.make_watcher, self._link, bucket, key))
        async with self._pull(lambda: Pull(self._link, f"KV_{bucket}", name, partial(_kv_entry, key))) as pull:
            yield NatsWatch(self._island, pull)

    @asynccontextmanager
    async def _pull(self, make: Callable[[], Pull[T]]) -> AsyncIterator[Pull[T]]:
        pull = make()
        try:
            await self._island.run(pull.open)
            yield pull
        finally:
            with trio.move_on_after(LEAVE_WITHIN_S, shield=True), suppress(BusDown):  # then there is nothing to close
                await self._island.run(pull.close)


class NatsConsumer:
    def __init__(self, island: Island, pull: Pull[Incoming], discarded: int = 0) -> None:
        self.discarded = discarded
        self._island = island
        self._pull = pull

    async def fetch(self, limit: int, within_s: float) -> Sequence[Incoming]:
        if self._pull.ready:
            await trio.lowlevel.checkpoint()
        else:
            await self._island.run(partial(self._pull.wait, limit, within_s))
        return self._pull.take(limit)

    async def ack_through(self, stream_seq: int) -> None:
        await self._island.run(partial(self._pull.ack_through, stream_seq))


class NatsWatch:
    """The values of one key, as they come."""

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


def _check_key(bucket: str, key: str) -> None:
    check_token(bucket, "bucket")
    check_subject(key, "key")


def _incoming(msg: Msg, delivery: Delivery) -> Incoming:
    identity = (msg.headers or {}).get("Nats-Msg-Id", "")
    return Incoming(msg.subject, msg.data, identity, delivery.stream_seq, delivery.pending)


def _kv_entry(key: str, msg: Msg, delivery: Delivery) -> KvEntry:
    deleted = not {"KV-Operation", "Nats-Marker-Reason"}.isdisjoint(msg.headers or {})
    return KvEntry(key, None if deleted else msg.data, delivery.stream_seq)
