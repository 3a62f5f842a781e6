"""The seam to the object store: write-once objects under slash-separated keys."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class ObjectMeta(Struct, frozen=True):
    key: str
    size_bytes: int
    etag: str | None = None


class Store(Protocol):
    """Raises StoreDown when the store is away, slow or full; trying again may help."""

    async def create(self, key: str, body: bytes) -> bool:
        """Store a new object and read its size back. True: stored now. False: the same bytes were there already.

        Raises AlreadyStored when the key holds other bytes. If cancelled, the object may or may not be stored.
        """
        ...

    async def read(self, key: str) -> bytes | None:
        """Return the object's bytes, None when there is no such object."""
        ...

    async def head(self, key: str) -> ObjectMeta | None: ...

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        """Return every object whose key starts with the prefix, ordered by key."""
        ...

    async def delete(self, key: str) -> None: ...
