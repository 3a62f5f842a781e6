"""A store in memory that fails on request; for simulations and tests under the virtual clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import trio

from ssmd.errors import AlreadyStored, StoreDown
from ssmd.store.base import ObjectMeta
from ssmd.store.key_rules import check_folder, check_key, check_prefix

DEADLINE_S: Final = 5.0


@dataclass
class StoreFaults:
    """What goes wrong from now on; change it at any time.

    down: every call fails. delay_s: how long every call takes; above the deadline it fails without effect.
    creates_failing_after_store: so many creates store their object and fail all the same.
    """

    down: bool = False
    delay_s: float = 0.0
    creates_failing_after_store: int = 0


class MemoryStore:
    """Implements `ssmd.store.base.Store`; `objects` is what it holds."""

    def __init__(self, faults: StoreFaults | None = None, deadline_s: float = DEADLINE_S) -> None:
        self.faults = StoreFaults() if faults is None else faults
        self.objects: dict[str, bytes] = {}
        self._deadline_s = deadline_s

    async def create(self, key: str, body: bytes) -> bool:
        await self._call(f"create {check_key(key)}")
        is_new = key not in self.objects
        stored = self.objects.setdefault(key, body)
        if stored != body:
            raise AlreadyStored(f"object {key} exists with other content: {len(stored)} bytes, ours has {len(body)}")
        if self.faults.creates_failing_after_store:
            self.faults.creates_failing_after_store -= 1
            raise StoreDown(f"create {key}: the answer was lost")
        return is_new

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        del size_bytes
        await self._call(f"read {check_key(key)}")
        return self.objects.get(key)

    async def head(self, key: str) -> ObjectMeta | None:
        await self._call(f"head {check_key(key)}")
        return self._meta(key) if key in self.objects else None

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        await self._call(f"list {check_prefix(prefix)}")
        return [self._meta(key) for key in sorted(self.objects) if key.startswith(prefix)]

    async def folders(self, prefix: str) -> Sequence[str]:
        await self._call(f"folders {check_folder(prefix)}")
        below = (key[len(prefix) :].partition("/") for key in self.objects if key.startswith(prefix))
        return sorted({f"{prefix}{name}/" for name, slash, _ in below if slash})

    async def delete(self, key: str) -> None:
        await self._call(f"delete {check_key(key)}")
        self.objects.pop(key, None)

    async def _call(self, what: str) -> None:
        """Wait as the real store would; the effect follows without another wait."""
        with trio.move_on_after(self._deadline_s) as scope:
            await trio.sleep(self.faults.delay_s)
        if scope.cancelled_caught:
            raise StoreDown(f"{what}: no answer within {self._deadline_s:g} s")
        if self.faults.down:
            raise StoreDown(f"{what}: the store is down")

    def _meta(self, key: str) -> ObjectMeta:
        body = self.objects[key]
        return ObjectMeta(key, len(body), blake2b(body, digest_size=8).hexdigest())
