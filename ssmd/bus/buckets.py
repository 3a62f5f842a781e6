"""Key-value buckets, on the island. Off the hot path, so nats-py's own calls serve well."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import nats.js.errors  # noqa: TID251 (the bus's driver)
from msgspec import Struct
from nats.aio.msg import Msg  # noqa: TID251 (the bus's driver)
from nats.js.api import (  # noqa: TID251 (the bus's driver)
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    KeyValueConfig,
    StorageType,
)
from nats.js.kv import KeyValue  # noqa: TID251 (the bus's driver)

from ssmd.bus.base import BucketSpec, KvEntry
from ssmd.bus.link import Link
from ssmd.bus.pulling import Delivery
from ssmd.bus.streams import WATCHER_IDLE_S
from ssmd.errors import AlreadyStored

HISTORY: Final = 5
"""Of a bucket that was made with defaults: people may look at what stood there before."""

MAX_VALUE_BYTES: Final = 1 << 20
"""The limit of a default server. Above it, where a server takes more: a value of 10 MB costs a reader 29 MB of its 64."""

DUPLICATE_WINDOW_S: Final = 120.0
"""The server's own default, which must not exceed the age limit. Nothing here depends on it."""

_WRONG_REVISION: Final = frozenset({10071, 10164})
"""Error codes of "wrong last sequence"; nats-py translates them for a put, not for a delete."""


class Watcher(Struct, frozen=True):
    """A consumer of some keys. present: how many of them have a value or a mark of deletion now."""

    name: str
    present: int


class Listed(Struct, frozen=True):
    """One present value, and how many come behind it."""

    entry: KvEntry
    behind: int


async def ensure_bucket(link: Link, spec: BucketSpec) -> None:
    """Create the bucket or bring an existing one's age limit to the specification."""
    window_s = min(DUPLICATE_WINDOW_S, spec.max_age_s or DUPLICATE_WINDOW_S)
    async with link.asking(f"bucket {spec.name}"):
        try:
            present = (await link.js.stream_info(f"KV_{spec.name}")).config
        except nats.js.errors.NotFoundError:
            await link.js.create_key_value(
                KeyValueConfig(
                    bucket=spec.name,
                    max_value_size=MAX_VALUE_BYTES,
                    ttl=spec.max_age_s or None,
                    storage=StorageType.MEMORY if spec.in_memory else StorageType.FILE,
                    replicas=link.replicas,
                )
            )
            return
        if (present.max_age or 0.0) != spec.max_age_s:
            await link.js.update_stream(present.evolve(max_age=spec.max_age_s, duplicate_window=window_s))


async def make_watcher(link: Link, bucket: str, pattern: str) -> Watcher:
    """Make a short-lived consumer of some keys, present values first. The bucket is made when missing."""
    async with link.asking(f"watch {bucket}/{pattern}"):
        await _bucket(link, bucket)
        return await _watcher(link, bucket, pattern)


async def find_watcher(link: Link, bucket: str, pattern: str) -> Watcher | None:
    """Make the same of a bucket that exists; return None when it does not."""
    async with link.asking(f"list {bucket}/{pattern}"):
        try:
            return await _watcher(link, bucket, pattern)
        except nats.js.errors.NotFoundError:
            return None


async def _watcher(link: Link, bucket: str, pattern: str) -> Watcher:
    config = ConsumerConfig(
        filter_subject=f"$KV.{bucket}.{pattern}",
        deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
        ack_policy=AckPolicy.NONE,
        inactive_threshold=WATCHER_IDLE_S,
        mem_storage=True,
        num_replicas=1,
    )
    info = await link.js.add_consumer(f"KV_{bucket}", config)
    return Watcher(info.name, info.num_pending or 0)


def entry_of(bucket: str, msg: Msg, delivery: Delivery) -> KvEntry:
    deleted = not {"KV-Operation", "Nats-Marker-Reason"}.isdisjoint(msg.headers or {})
    key = msg.subject.removeprefix(f"$KV.{bucket}.")
    return KvEntry(key, None if deleted else msg.data, delivery.stream_seq)


def listed_of(bucket: str, msg: Msg, delivery: Delivery) -> Listed:
    return Listed(entry_of(bucket, msg, delivery), delivery.pending)


async def get(link: Link, bucket: str, key: str) -> KvEntry | None:
    async with link.asking(f"get {bucket}/{key}"):
        try:
            entry = await (await link.js.key_value(bucket)).get(key)
        except nats.js.errors.NotFoundError:  # no bucket, no key, or a deleted one
            return None
    return KvEntry(key, entry.value or b"", entry.revision or 0)


async def put(link: Link, bucket: str, entry: KvEntry, *, expect: bool) -> int:
    """Write the entry's value; with `expect` only on top of its revision (0: only a new key)."""
    value = entry.value or b""
    async with link.asking(f"put {bucket}/{entry.key}"):
        store = await _bucket(link, bucket)
        with _first_come(bucket, entry):
            if not expect:
                return await store.put(entry.key, value)
            if entry.revision == 0:
                return await store.create(entry.key, value)
            return await store.update(entry.key, value, last=entry.revision)


async def delete(link: Link, bucket: str, entry: KvEntry, *, expect: bool) -> None:
    """Delete the entry's key; with `expect` only on top of its revision."""
    async with link.asking(f"delete {bucket}/{entry.key}"):
        try:
            store = await link.js.key_value(bucket)
        except nats.js.errors.NotFoundError:
            return
        with _first_come(bucket, entry):
            await store.delete(entry.key, last=entry.revision if expect else None)


@contextmanager
def _first_come(bucket: str, entry: KvEntry) -> Iterator[None]:
    """Raise AlreadyStored where the server says that someone else was first."""
    try:
        yield
    except nats.js.errors.APIError as error:
        is_translated = isinstance(error, nats.js.errors.KeyWrongLastSequenceError)
        if not is_translated and error.err_code not in _WRONG_REVISION:
            raise
        raise AlreadyStored(f"{bucket}/{entry.key} is no longer at revision {entry.revision}") from error


async def _bucket(link: Link, bucket: str) -> KeyValue:
    try:
        return await link.js.key_value(bucket)
    except nats.js.errors.NotFoundError:
        config = KeyValueConfig(bucket=bucket, max_value_size=MAX_VALUE_BYTES, history=HISTORY, replicas=link.replicas)
        return await link.js.create_key_value(config)
