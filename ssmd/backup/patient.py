"""A store that is away for a moment is waited for: a long copy must not end with the first broken connection."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import trio

from ssmd.errors import StoreDown, StoreRefused
from ssmd.store.base import ObjectMeta, Store

R = TypeVar("R")

RETRY_AFTER_S: Final = (1.0, 5.0, 15.0)
"""The store has tried by itself already; then the run ends, and can be repeated."""


class PatientStore:
    """Implements `ssmd.store.base.Store`. Every call may be repeated: a create that took effect finds its own bytes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(self, key: str, body: bytes) -> bool:
        return await _patiently(lambda: self._store.create(key, body))

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        return await _patiently(lambda: self._store.read(key, size_bytes))

    async def head(self, key: str) -> ObjectMeta | None:
        return await _patiently(lambda: self._store.head(key))

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        return await _patiently(lambda: self._store.list(prefix))

    async def folders(self, prefix: str) -> Sequence[str]:
        return await _patiently(lambda: self._store.folders(prefix))

    async def delete(self, key: str) -> None:
        await _patiently(lambda: self._store.delete(key))


async def _patiently(call: Callable[[], Awaitable[R]]) -> R:
    """Return what the call returns. Raises StoreRefused at once, StoreDown when waiting does not help."""
    for delay_s in RETRY_AFTER_S:
        try:
            return await call()
        except StoreRefused:
            raise
        except StoreDown:
            pass
        await trio.sleep(delay_s)
    return await call()
