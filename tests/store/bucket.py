"""A bucket for tests: obstore's own conditional create, as S3 has it, without a directory."""

import obstore
from obstore.store import MemoryStore as ObstoreMemory


class Bucket:
    def __init__(self) -> None:
        self.driver = ObstoreMemory()

    def admit(self, key: str) -> None:
        pass

    def put_new(self, key: str, body: bytes) -> None:
        obstore.put(self.driver, key, body, mode="create")
