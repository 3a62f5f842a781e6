"""A bucket for tests: obstore's own conditional create, as S3 has it, without a directory."""

import obstore
from obstore.store import MemoryStore as ObstoreMemory

from ssmd.errors import StoreDown


class Bucket:
    def __init__(self) -> None:
        self._driver = ObstoreMemory()

    def driver(self, _size_bytes: int) -> ObstoreMemory:
        return self._driver

    def admit(self, key: str) -> None:
        pass

    def put_new(self, key: str, body: bytes) -> None:
        obstore.put(self._driver, key, body, mode="create")

    def stored_bytes(self, key: str) -> int:
        return obstore.head(self._driver, key)["size"]

    def is_missing(self, _error: Exception) -> bool:
        return False

    def trouble(self, what: str, error: Exception) -> StoreDown:
        return StoreDown(f"{what}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
