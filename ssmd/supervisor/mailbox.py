"""A bounded queue that belongs to the tree, outlives its reader, and is read by lease."""

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import Generic, TypeVar

import trio
from msgspec import Struct

from ssmd.errors import MailboxClosed, MailboxFull

T = TypeVar("T")


class Overflow(Enum):
    """What an offer to a full mailbox does."""

    BLOCK = "block"
    """The writer waits for `room()` first; an offer without it raises MailboxFull."""
    DROP_OLDEST = "drop_oldest"
    FAIL = "fail"
    """MailboxFull: the writer decides."""


class MailboxStatistics(Struct, frozen=True):
    """`used` places out of `capacity`, `leased` of them in the reader's hands."""

    name: str
    capacity: int
    used: int
    leased: int
    dropped_total: int
    offered_total: int


class Mailbox(Generic[T]):
    """Hand items from its writers to one reader at a time, in order.

    Leased items keep their places until the lease ends, except with DROP_OLDEST: there the waiting items may use the
    whole capacity, and what a broken lease brings back is then the oldest and goes first.
    """

    def __init__(self, name: str, capacity: int, overflow: Overflow) -> None:
        if capacity < 1:
            raise ValueError(f"mailbox {name}: capacity is {capacity}; allowed is 1 or more")
        self.name = name
        self._capacity = capacity
        self._overflow = overflow
        self._items: deque[T] = deque()
        self._leased = 0
        self._dropped_total = 0
        self._offered_total = 0
        self._closed = False
        self._writers = trio.lowlevel.ParkingLot()
        self._readers = trio.lowlevel.ParkingLot()

    async def room(self) -> None:
        """Wait for a free place; raise MailboxClosed if there will be none.

        It is free for an offer that follows without any await, and for a single writer until its offer.
        """
        await trio.lowlevel.checkpoint()
        while self._is_full() and not self._closed:
            await self._writers.park()
        self._refuse_if_closed()

    def offer(self, item: T) -> None:
        """Put an item at the end; never waits. Raises MailboxFull (not with DROP_OLDEST) and MailboxClosed."""
        self._refuse_if_closed()
        if self._is_full():
            raise MailboxFull(f"mailbox {self.name} has no room; it holds {self._capacity} items")
        self._items.append(item)
        self._offered_total += 1
        self._drop_oldest()
        self._readers.unpark_all()

    async def put(self, item: T) -> None:
        """Wait for room and offer; any number of writers may do so."""
        await self.room()
        self.offer(item)

    @asynccontextmanager
    async def lease(self, limit: int) -> AsyncIterator[Sequence[T]]:
        """Wait for at least one item and lend up to `limit`.

        A clean exit takes them for good; any error or cancellation puts all of them back in front, in order.
        A second reader waits until the lease of the first has ended. Raises MailboxClosed when it is closed and empty.
        """
        if limit < 1:
            raise ValueError(f"mailbox {self.name}: limit is {limit}; allowed is 1 or more")
        await self._until_readable()
        lent = [self._items.popleft() for _ in range(min(limit, len(self._items)))]
        self._leased = len(lent)
        try:
            yield tuple(lent)
        except BaseException:
            self._items.extendleft(reversed(lent))
            self._drop_oldest()
            raise
        finally:
            self._leased = 0
            self._writers.unpark_all()
            self._readers.unpark_all()

    def close(self) -> None:
        """Take no more items. Readers finish the rest and then get MailboxClosed. Idempotent."""
        self._closed = True
        self._writers.unpark_all()
        self._readers.unpark_all()

    def statistics(self) -> MailboxStatistics:
        return MailboxStatistics(
            name=self.name,
            capacity=self._capacity,
            used=min(self._capacity, len(self._items) + self._leased),
            leased=self._leased,
            dropped_total=self._dropped_total,
            offered_total=self._offered_total,
        )

    def _is_full(self) -> bool:
        return self._overflow is not Overflow.DROP_OLDEST and len(self._items) + self._leased >= self._capacity

    def _drop_oldest(self) -> None:
        while len(self._items) > self._capacity:
            self._items.popleft()
            self._dropped_total += 1

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise MailboxClosed(f"mailbox {self.name} is closed")

    async def _until_readable(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._leased or not self._items:
            if not self._leased:
                self._refuse_if_closed()
            await self._readers.park()
