"""Streams, consumers and key-value buckets, on the island. Off the hot path, so nats-py's own calls serve well."""

import nats.js.errors  # noqa: TID251 (the bus's driver)
from msgspec import Struct
from nats.js.api import (  # noqa: TID251 (the bus's driver)
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    KeyValueConfig,
    StorageType,
    StreamConfig,
)
from nats.js.kv import KeyValue  # noqa: TID251 (the bus's driver)

from ssmd.bus.base import KvEntry, StreamSpec
from ssmd.bus.link import Link
from ssmd.errors import AlreadyStored

ACK_WAIT_S = 300.0
"""A minute is acknowledged when it is stored, so far longer than a minute plus its upload."""

WATCHER_IDLE_S = 30.0
"""The server forgets a watcher that has not asked for so long."""

KV_HISTORY = 5


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


async def ensure_consumer(link: Link, spec: ConsumerSpec) -> int:
    """Create or update the durable consumer, and start it at its first unacknowledged message.

    Returns how many messages, at most, the stream has dropped by its limits before they were acknowledged.

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
        first_seq = (await link.js.stream_info(spec.stream)).state.first_seq
    floor = consumer.ack_floor.stream_seq if consumer.ack_floor is not None else 0
    return max(0, first_seq - 1 - floor)


async def make_watcher(link: Link, bucket: str, key: str) -> str:
    """Make a short-lived consumer of one key, last value first; return its name. The bucket is made when missing."""
    config = ConsumerConfig(
        filter_subject=f"$KV.{bucket}.{key}",
        deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=WATCHER_IDLE_S,
        mem_storage=True,
        num_replicas=1,
    )
    async with link.asking(f"watch {bucket}/{key}"):
        await _bucket(link, bucket)
        return (await link.js.add_consumer(f"KV_{bucket}", config)).name


async def make_listener(link: Link, stream: str, subject: str) -> str:
    """Make a short-lived consumer of new messages that needs no acks; return its name."""
    config = ConsumerConfig(
        filter_subject=subject,
        deliver_policy=DeliverPolicy.NEW,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=WATCHER_IDLE_S,
        mem_storage=True,
        num_replicas=1,
    )
    async with link.asking(f"listen to {stream}"):
        return (await link.js.add_consumer(stream, config)).name


async def kv_get(link: Link, bucket: str, key: str) -> KvEntry | None:
    async with link.asking(f"get {bucket}/{key}"):
        try:
            entry = await (await link.js.key_value(bucket)).get(key)
        except nats.js.errors.NotFoundError:  # no bucket, no key, or a deleted one
            return None
    return KvEntry(key, entry.value or b"", entry.revision or 0)


async def kv_put(link: Link, bucket: str, entry: KvEntry, *, expect: bool) -> int:
    """Write the entry's value; with `expect` only on top of its revision (0: only a new key)."""
    value = entry.value or b""
    async with link.asking(f"put {bucket}/{entry.key}"):
        store = await _bucket(link, bucket)
        try:
            if not expect:
                return await store.put(entry.key, value)
            if entry.revision == 0:
                return await store.create(entry.key, value)
            return await store.update(entry.key, value, last=entry.revision)
        except nats.js.errors.KeyWrongLastSequenceError as error:
            raise AlreadyStored(f"{bucket}/{entry.key} is no longer at revision {entry.revision}") from error


async def _bucket(link: Link, bucket: str) -> KeyValue:
    try:
        return await link.js.key_value(bucket)
    except nats.js.errors.NotFoundError:
        config = KeyValueConfig(bucket=bucket, history=KV_HISTORY, replicas=link.replicas)
        return await link.js.create_key_value(config)
