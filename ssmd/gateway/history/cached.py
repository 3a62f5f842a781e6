"""A store that remembers ledger records: small, immutable, and read again with every page."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import trio

from ssmd.store.base import ObjectMeta, Store

KEPT_BYTES: Final = 8 << 20
"""Some days of a feed."""
LISTED: Final = ("quality/", "raw/")
LISTS_KEPT: Final = 8
LISTS_AGE_S: Final = 2.0
"""A new record is seen so much later; pages follow each other faster."""


class LedgerCache:
    """Implements `ssmd.store.base.Store`. Remembers records, and for a moment what there is; all else goes through."""

    def __init__(self, store: Store, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._kept_bytes = kept_bytes
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._size_bytes = 0
        self._lists: dict[str, tuple[float, Sequence[ObjectMeta]]] = {}

    async def read(self, key: str) -> bytes | None:
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
            await trio.lowlevel.checkpoint()
            return body
        body = await self._store.read(key)
        if body is not None and key.startswith("quality/"):
            self._keep(key, body)
        return body

    def _keep(self, key: str, body: bytes) -> None:
        self._size_bytes += len(body) - len(self._bodies.get(key, b""))
        self._bodies[key] = body
        while self._size_bytes > self._kept_bytes and self._bodies:
            _, oldest = self._bodies.popitem(last=False)
            self._size_bytes -= len(oldest)

    async def create(self, key: str, body: bytes) -> bool:
        return await self._store.create(key, body)

    async def head(self, key: str) -> ObjectMeta | None:
        return await self._store.head(key)

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        if not prefix.startswith(LISTED):
            return await self._store.list(prefix)
        known = self._lists.pop(prefix, None)
        if known is None or trio.current_time() - known[0] > LISTS_AGE_S:
            known = (trio.current_time(), await self._store.list(prefix))
        while len(self._lists) >= LISTS_KEPT:
            del self._lists[next(iter(self._lists))]
        self._lists[prefix] = known
        return known[1]

    async def folders(self, prefix: str) -> Sequence[str]:
        return await self._store.folders(prefix)

    async def delete(self, key: str) -> None:
        self._bodies.pop(key, None)
        await self._store.delete(key)
