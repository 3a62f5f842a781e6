"""A small archive made by the real actors, two places for it, and what a test does to them."""

from hashlib import sha256
from pathlib import Path

from ssmd.backup.backing_up import Extra, Job, Outcome, back_up
from ssmd.backup.inventory import FORMAT, Owner, Run
from ssmd.backup.restoring import Restored, restore
from ssmd.errors import StoreDown
from ssmd.store.keys import KEPT_PREFIXES
from ssmd.store.memory import MemoryStore
from tests.reprocess.captured import Captured, faulty_run

OWNER = Owner(FORMAT, "lab", "simulator")
FILE = Extra("environments/lab.yaml", b"kind: Environment\n")
BEGIN_NS = 1_765_030_000_000_000_000


class CountingStore(MemoryStore):
    """Counts what is read and created, and may fail for good after some creates."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []
        self.creates: list[str] = []
        self.creates_left = 1 << 30

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        self.reads.append(key)
        return await super().read(key, size_bytes)

    async def create(self, key: str, body: bytes) -> bool:
        if self.creates_left == 0:
            raise StoreDown(f"create {key}: away")
        self.creates_left -= 1
        made = await super().create(key, body)
        if made:
            self.creates.append(key)
        return made


class Site:
    """A captured archive, and the place of its backups. Each run begins a minute after the one before."""

    def __init__(self, captured: Captured) -> None:
        self.captured = captured
        self.source = CountingStore()
        self.source.objects = dict(captured.store.objects)
        self.place = CountingStore()
        self._runs = 0

    def now(self) -> int:
        return BEGIN_NS + self._runs * 60_000_000_000

    async def back_up(
        self, *, extras: tuple[Extra, ...] = (FILE,), feeds: tuple[str, ...] = (), **job: bool
    ) -> Outcome:
        self._runs += 1
        self.source.reads.clear()
        self.place.creates.clear()
        return await back_up(Job(OWNER, feeds, extras, **job), self.source, self.place, now=self.now)

    async def run(self, **job: object) -> Run:
        outcome = await self.back_up(**job)
        assert outcome.run is not None
        return outcome.run

    async def restore(self, run: Run, into: MemoryStore | None = None) -> tuple[Restored, MemoryStore]:
        into = MemoryStore() if into is None else into
        return await restore(self.place, run, into), into

    def copied(self) -> list[str]:
        """Return the keys of the source that the last run created in the place."""
        return sorted(key for key in self.place.creates if key.startswith(KEPT_PREFIXES))


async def site(folder: Path) -> Site:
    captured = Captured(folder)
    await faulty_run(captured, restarts=False)
    return Site(captured)


def hashes(store: MemoryStore) -> dict[str, str]:
    """Return the hash of everything that a backup is about."""
    return {key: sha256(body).hexdigest() for key, body in store.objects.items() if key.startswith(KEPT_PREFIXES)}
