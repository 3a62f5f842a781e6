"""Streams and their consumers, on the island. Off the hot path, so nats-py's own calls serve well."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import nats.js.errors  # noqa: TID251 (the bus's driver)
from msgspec import Struct
from nats.js.api import (  # noqa: TID251 (the bus's driver)
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    StorageType,
    StreamConfig,
)

from ssmd.bus.base import Start, StreamSpec, StreamUsage
from ssmd.bus.link import Link

ACK_WAIT_S = 300.0
"""A minute is acknowledged when it is stored, so far longer than a minute plus its upload."""

WATCHER_IDLE_S = 30.0
"""The server forgets a watcher or listener that has not asked for so long."""


class ConsumerSpec(Struct, frozen=True):
    stream: str
    durable: str
    subject: str
    max_ack_pending: int


async def ensure_stream(link: Link, spec: StreamSpec) -> None:
    """Create the stream or bring an existing one to the specification; what the latter does not name stays."""
    wanted = {
        "subjects": list(spec.subjects),
        "max_bytes": spec.max_bytes,
        "max_age": spec.max_age_s,
        "duplicate_window": spec.duplicate_window_s,
        "num_replicas": spec.replicas,
        "discard": DiscardPolicy.OLD,
        "allow_atomic": True,  # the outbox sends groups that are stored as one
    }
    async with link.asking(f"stream {spec.name}"):
        try:
            present = (await link.js.stream_info(spec.name)).config
        except nats.js.errors.NotFoundError:
            fresh = StreamConfig(name=spec.name, storage=StorageType.FILE)
            await link.js.add_stream(fresh.evolve(**wanted))
            return
        if any(getattr(present, key) != value for key, value in wanted.items()):
            await link.js.update_stream(present.evolve(**wanted))


async def usage(link: Link, stream: str) -> StreamUsage | None:
    async with link.asking(f"usage of {stream}"):
        try:
            info = await link.js.stream_info(stream)
        except nats.js.errors.NotFoundError:
            return None
    state = info.state
    created_ns = time_ns_of(info.created)
    limit_bytes = max(0, info.config.max_bytes or 0)
    return StreamUsage(state.bytes, limit_bytes, state.messages, state.first_seq, state.last_seq, created_ns)


def time_ns_of(created: datetime | None) -> int:
    """Return when a stream was made; nobody may compare it with a clock, only with itself."""
    return 0 if created is None else int(created.timestamp() * 1_000_000) * 1_000


async def acked_through(link: Link, stream: str, durable: str) -> int:
    async with link.asking(f"consumer {stream}.{durable}"):
        try:
            info = await link.js.consumer_info(stream, durable)
        except nats.js.errors.NotFoundError:
            return 0
    return info.ack_floor.stream_seq if info.ack_floor is not None else 0


async def unacknowledged(link: Link, stream: str, name: str) -> int:
    async with link.asking(f"consumer {stream}.{name}"):
        info = await link.js.consumer_info(stream, name)
    return (info.num_pending or 0) + (info.num_ack_pending or 0)


class Opened(Struct, frozen=True):
    """A consumer at its beginning. present: messages that the stream has for it. discarded: see `Consumer`."""

    name: str
    present: int
    discarded: int = 0


async def ensure_consumer(link: Link, spec: ConsumerSpec) -> Opened:
    """Create or update the durable consumer, and start it at its first unacknowledged message.

    The reset is one atomic step on the server: unacknowledged messages come again at once and in order, not after
    AckWait, and requests that a dead reader left behind are gone.
    """
    config = ConsumerConfig(
        durable_name=spec.durable,
        filter_subject=spec.subject,
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.ALL,
        ack_wait=ACK_WAIT_S,
        max_ack_pending=spec.max_ack_pending,
    )
    async with link.asking(f"consumer {spec.stream}.{spec.durable}"):
        consumer = await link.js.add_consumer(spec.stream, config)
        await link.js.reset_consumer(spec.stream, spec.durable)
        present = (await link.js.consumer_info(spec.stream, spec.durable)).num_pending or 0
        first_seq = (await link.js.stream_info(spec.stream)).state.first_seq
    floor = consumer.ack_floor.stream_seq if consumer.ack_floor is not None else 0
    return Opened(spec.durable, present, max(0, first_seq - 1 - floor))


async def make_listener(link: Link, stream: str, subject: str, start: Start) -> Opened:
    """Make a short-lived consumer that needs no acks."""
    config = ConsumerConfig(
        filter_subject=subject,
        **_begin(start),
        ack_policy=AckPolicy.NONE,
        inactive_threshold=WATCHER_IDLE_S,
        mem_storage=True,
        num_replicas=1,
    )
    async with link.asking(f"listen to {stream}"):
        consumer = await link.js.add_consumer(stream, config)
    return Opened(consumer.name, consumer.num_pending or 0)


async def drop_listener(link: Link, stream: str, name: str) -> None:
    """Take it away at once: a search makes a dozen within a tenth of a second, and each costs the server memory."""
    async with link.asking(f"leave {stream}"):
        with suppress(nats.js.errors.NotFoundError):
            await link.js.delete_consumer(stream, name)


def _begin(start: Start) -> dict[str, Any]:
    if start.after_seq is not None:
        return {"deliver_policy": DeliverPolicy.BY_START_SEQUENCE, "opt_start_seq": start.after_seq + 1}
    if start.since_ns is not None:
        at = datetime.fromtimestamp(start.since_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return {
            "deliver_policy": DeliverPolicy.BY_START_TIME,
            "opt_start_time": f"{at}.{start.since_ns % 1_000_000_000:09d}Z",
        }
    return {"deliver_policy": DeliverPolicy.LAST_PER_SUBJECT if start.last_of_each else DeliverPolicy.NEW}
