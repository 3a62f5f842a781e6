"""A value that others wait on."""

from typing import Generic, TypeVar

import trio
from msgspec import Struct

T = TypeVar("T")


class Versioned(Struct, Generic[T], frozen=True):
    version: int
    value: T


class Cell(Generic[T]):
    """The latest value of something, for any number of readers. In between, values may be skipped; the latest never is.

    A reader begins with version 0 and so gets the first value at once:

        seen = await cell.wait_newer(0)
        while True:
            use(seen.value)
            seen = await cell.wait_newer(seen.version)
    """

    def __init__(self, value: T) -> None:
        self._latest = Versioned(1, value)
        self._changed = trio.Event()

    def get(self) -> T:
        return self._latest.value

    @property
    def version(self) -> int:
        """The number of the latest value; the first has 1."""
        return self._latest.version

    def set(self, value: T) -> None:
        """Replace the value and wake everyone who waits. Never waits."""
        self._latest = Versioned(self._latest.version + 1, value)
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def wait_newer(self, than: int) -> Versioned[T]:
        """Return the latest value as soon as its version is above `than`."""
        await trio.lowlevel.checkpoint()
        while self._latest.version <= than:
            await self._changed.wait()
        return self._latest
