"""Keep the raw data of a range from being deleted while it is read: an object that retention looks at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio

from ssmd.clock import NS_PER_S, NowNs, now_ns
from ssmd.errors import AlreadyStored
from ssmd.store.base import Hold, Store
from ssmd.store.keys import hold_key

HELD_FOR_S: Final = 24 * 3600.0
"""What a killed run leaves behind is over after that."""
RENEWED_EVERY_S: Final = 3600.0
REMOVE_WITHIN_S: Final = 5.0
SECOND: Final = "-renewed"


def hold_names(version: str, feed: str) -> tuple[str, str]:
    """Return the names of what a reprocess of this version holds: the hold, and the one that stands in for it."""
    name = f"reprocess-{version}-{feed}"
    return name, name + SECOND


async def holds(store: Store, version: str, feed: str) -> list[Hold]:
    """Return what a reprocess of this version holds, over or not; one that cannot be read is left out."""
    found = []
    for name in hold_names(version, feed):
        try:
            found.append(msgspec.json.decode(await store.read(hold_key(name)) or b"", type=Hold))
        except msgspec.DecodeError:
            continue
    return found


@asynccontextmanager
async def held(store: Store, hold: Hold, now: NowNs = now_ns) -> AsyncIterator[None]:
    """Hold the span of `hold` (its own expiry does not count) until the end of the block, however that ends."""
    async with trio.open_nursery() as nursery:
        await _put(store, _until(hold, now))
        nursery.start_soon(_renew, store, hold, now)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()
            with trio.move_on_after(REMOVE_WITHIN_S, shield=True):
                await store.delete(hold_key(hold.name))


def _until(hold: Hold, now: NowNs) -> Hold:
    return msgspec.structs.replace(hold, expires_ns=now() + int(HELD_FOR_S * NS_PER_S))


async def _renew(store: Store, hold: Hold, now: NowNs) -> None:
    while True:
        await trio.sleep(RENEWED_EVERY_S)
        await _put(store, _until(hold, now))


async def _put(store: Store, hold: Hold) -> None:
    """Objects are write-once: while the old one is exchanged, a second one holds."""
    key, body = hold_key(hold.name), msgspec.json.encode(hold) + b"\n"
    try:
        await store.create(key, body)
    except AlreadyStored:
        second = hold_key(hold.name + SECOND)
        await store.delete(second)
        await store.create(second, body)
        await store.delete(key)
        await store.create(key, body)
        await store.delete(second)
