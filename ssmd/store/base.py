"""The seam to the object store: write-once objects under slash-separated keys."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class ObjectMeta(Struct, frozen=True):
    key: str
    size_bytes: int
    etag: str | None = None


class Hold(Struct, frozen=True):
    """What retention must not delete for now: a feed's minutes in [from_ns, to_ns), until expires_ns. Below `holds/`."""

    name: str
    feed: str
    from_ns: int
    to_ns: int
    expires_ns: int


class Store(Protocol):
    """Raises StoreDown when the store is away, slow or full; trying again may help.

    Its kind StoreRefused says that the store answers and refuses: a person must act.
    """

    async def create(self, key: str, body: bytes) -> bool:
        """Store a new object and read its size back. True: stored now. False: the same bytes were there already.

        Raises AlreadyStored when the key holds other bytes. If cancelled, the object may or may not be stored.
        """
        ...

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        """Return the object's bytes, None when there is no such object.

        size_bytes: as it was listed. How long a read may take depends on it, so it spares a look.
        """
        ...

    async def head(self, key: str) -> ObjectMeta | None: ...

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        """Return every object whose key starts with the prefix, ordered by key."""
        ...

    async def folders(self, prefix: str) -> Sequence[str]:
        """Return the prefixes one level below a prefix that is empty or ends in `/`; each ends in `/`, ordered.

        Some stores still name one for a while after its last object was deleted.
        This is how to walk through an archive whose keys do not fit into memory.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; one that is not there is no error. Other keys are never touched."""
        ...
