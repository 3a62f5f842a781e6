"""A part of a store as a store of its own: every key stands below one prefix there."""

from collections.abc import Sequence

from msgspec.structs import replace

from ssmd.store.base import ObjectMeta, Store
from ssmd.store.key_rules import check_folder


class PrefixedStore:
    """Implements `ssmd.store.base.Store`. prefix: ends in `/`; ValueError for one that no key could start with."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = check_folder(prefix)

    async def create(self, key: str, body: bytes) -> bool:
        return await self._store.create(self._prefix + key, body)

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        return await self._store.read(self._prefix + key, size_bytes)

    async def head(self, key: str) -> ObjectMeta | None:
        found = await self._store.head(self._prefix + key)
        return None if found is None else self._inner(found)

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        return [self._inner(meta) for meta in await self._store.list(self._prefix + prefix)]

    async def folders(self, prefix: str) -> Sequence[str]:
        return [folder.removeprefix(self._prefix) for folder in await self._store.folders(self._prefix + prefix)]

    async def delete(self, key: str) -> None:
        await self._store.delete(self._prefix + key)

    def _inner(self, meta: ObjectMeta) -> ObjectMeta:
        return replace(meta, key=meta.key.removeprefix(self._prefix))
