"""Delete what is older than the environment keeps, once a day, and nothing that a hold keeps."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import msgspec
import trio
from msgspec import Struct

from ssmd import metrics
from ssmd.actors.expired import Expired, Expiry, expired
from ssmd.clock import NS_PER_MINUTE, NS_PER_S, NowNs, now_ns
from ssmd.errors import BadRecord
from ssmd.log import get_logger
from ssmd.store.base import Hold, Store
from ssmd.store.keys import HOLDS_PREFIX

FIRST_AFTER_S: Final = 60.0
"""After the start: whatever restarts again and again does not sweep each time."""
EVERY_S: Final = 86_400.0
MAX_DELETES: Final = 10_000
"""In one sweep; what is left is the work of the next one, which follows soon."""
GO_ON_AFTER_S: Final = 60.0

DAY_NS: Final = 86_400 * NS_PER_S


class Retention(Struct, frozen=True):
    """How many days are kept, -1: all. feed: only this one's objects are looked at, empty: every feed's."""

    raw_days: int
    normalized_days: int
    feed: str = ""

    def expiry(self, at_ns: int) -> Expiry:
        """Return what is too old at this time. The day that has begun is never touched."""
        return Expiry(_before_ns(self.raw_days, at_ns), _before_ns(self.normalized_days, at_ns), self.feed)


def _before_ns(days: int, at_ns: int) -> int | None:
    """Return the start of the oldest minute that is kept."""
    if days <= 0:
        return None
    cut_ns = max(0, min(at_ns - days * DAY_NS, at_ns - at_ns % DAY_NS))
    return cut_ns - cut_ns % NS_PER_MINUTE


class Swept(Struct):
    """What one sweep did. is_whole: nothing too old is left, but for what is held."""

    deleted: int = 0
    deleted_bytes: int = 0
    held: int = 0
    is_whole: bool = True


class Sweeper:
    """Everything here may be repeated or broken off anywhere: what is left is too old the next time, too."""

    def __init__(self, retention: Retention, store: Store, now: NowNs = now_ns, max_deletes: int = MAX_DELETES) -> None:
        self._retention = retention
        self._store = store
        self._now = now
        self._max_deletes = max_deletes
        self._log = get_logger(actor="sweeper")
        self._draining = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sweep until drained. Raises StoreDown, an outage."""
        task_status.started()
        pause_s = FIRST_AFTER_S
        while True:
            with trio.move_on_after(pause_s):
                await self._draining.wait()
                return
            swept = await self._sweep_and_tell()
            pause_s = EVERY_S if swept.is_whole else GO_ON_AFTER_S

    def drain(self) -> None:
        self._draining.set()

    async def _sweep_and_tell(self) -> Swept:
        expiry = self._retention.expiry(self._now())
        try:
            swept = await self.sweep(expiry)
        except BadRecord as error:
            # Deleting cannot be undone: while it is not clear what is held, everything stays.
            self._log.error("retention_stopped", error=str(error), hint="repair or delete this object")
            return Swept()
        metrics.RETENTION_HELD.set(swept.held)
        if swept.is_whole:
            metrics.RETENTION_SWEPT.set(self._now() / NS_PER_S)
        self._log.info("retention_swept", **msgspec.structs.asdict(swept))
        return swept

    async def sweep(self, expiry: Expiry) -> Swept:
        """Delete what is too old, so much at most; return what was done. Raises BadRecord for a hold nobody can read."""
        swept = Swept()
        async with aclosing(expired(self._store, expiry)) as days:
            async for found in days:
                holds = await self._holds() if found else ()  # anew: a reprocess may have begun meanwhile
                if not await self._delete_all(found, holds, swept):
                    break
        return swept

    async def _delete_all(self, found: Sequence[Expired], holds: Sequence[Hold], swept: Swept) -> bool:
        """Tell whether the sweep may go on."""
        for each in found:
            if any(_keeps(hold, each) for hold in holds):
                swept.held += 1
            elif swept.deleted >= self._max_deletes or self._draining.is_set():
                swept.is_whole = False
                return False
            else:
                await self._delete(each, swept)
        return True

    async def _delete(self, each: Expired, swept: Swept) -> None:
        await self._store.delete(each.meta.key)
        swept.deleted += 1
        swept.deleted_bytes += each.meta.size_bytes
        metrics.RETENTION_DELETED.labels(each.bucket).inc()
        metrics.RETENTION_DELETED_BYTES.labels(each.bucket).inc(each.meta.size_bytes)

    async def _holds(self) -> Sequence[Hold]:
        """Return the holds that are not over."""
        holds = []
        for meta in await self._store.list(HOLDS_PREFIX):
            body = await self._store.read(meta.key)
            if body is None:  # it was let go just now
                continue
            try:
                holds.append(msgspec.json.decode(body, type=Hold))
            except msgspec.DecodeError as error:
                raise BadRecord(f"hold {meta.key} cannot be read: {error}") from error
        return [hold for hold in holds if hold.expires_ns > self._now()]


def _keeps(hold: Hold, each: Expired) -> bool:
    return hold.feed == each.feed and hold.from_ns < each.to_ns and each.from_ns < hold.to_ns
