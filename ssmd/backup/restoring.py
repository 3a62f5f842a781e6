"""Bring a backup back into a store: what is missing is created, what is there is compared, nothing is overwritten."""

from collections.abc import Iterator, Sequence

from msgspec import Struct, field

from ssmd.backup.backing_up import Extra, Unwatched, Watcher
from ssmd.backup.inventory import UNDATED, Entry, Part, Problem, Run, digest_of, read_part
from ssmd.backup.parallel import in_parallel
from ssmd.backup.patient import PatientStore
from ssmd.backup.walk import feed_of
from ssmd.errors import AlreadyStored, BadRecord
from ssmd.store.base import Store


class Restored(Struct):
    """What a restore did. found: objects that were there already and are the same. extras: what lies in no store."""

    objects: int = 0
    size_bytes: int = 0
    found: int = 0
    planned: int = 0
    planned_bytes: int = 0
    problems: list[Problem] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)
    is_stopped: bool = False


async def extras_of(place: Store, run: Run) -> tuple[list[Extra], list[Problem]]:
    """Return what a run holds besides the objects of the store: the environment file, the live configuration."""
    done = Restored()
    for part in run.parts:
        if part.name == UNDATED:
            for entry in await read_part(place, part):
                if feed_of(entry.key) is None and (body := await _content(place, entry, done)) is not None:
                    done.extras.append(Extra(entry.key, body))
    return done.extras, done.problems


async def restore(
    place: Store, run: Run, into: Store, watcher: Watcher | None = None, *, is_dry: bool = False
) -> Restored:
    """Bring the objects of a run back. Writes nothing at all where an object of another size is in the way.

    Raises StoreDown. Repeating it is harmless, and goes on with what is missing.
    """
    return await _Restore(PatientStore(place), run, PatientStore(into), watcher or Unwatched()).run(is_dry=is_dry)


class _Restore:
    def __init__(self, place: Store, run: Run, into: Store, watcher: Watcher) -> None:
        self._place = place
        self._run = run
        self._into = into
        self._watcher = watcher
        self._done = Restored()

    async def run(self, *, is_dry: bool) -> Restored:
        for part in self._run.parts:
            if not self._watcher.stops:
                await self._plan(part)
        self._watcher.planned(self._done.planned, self._done.planned_bytes)
        if not (is_dry or self._done.problems):
            for part in self._run.parts:
                await in_parallel(await self._entries(part), self._bring_back)
        self._done.is_stopped = self._watcher.stops
        self._done.problems.sort()
        return self._done

    async def _entries(self, part: Part) -> list[Entry]:
        try:
            return [entry for entry in await read_part(self._place, part) if feed_of(entry.key) is not None]
        except BadRecord as error:
            self._done.problems.append(Problem(part.key, "damaged_inventory", str(error)))
            return []

    async def _plan(self, part: Part) -> None:
        """Compare names and sizes before anything is written."""
        entries = await self._entries(part)
        there = {meta.key: meta.size_bytes for prefix in _prefixes(entries) for meta in await self._into.list(prefix)}
        for entry in entries:
            size_bytes = there.get(entry.key)
            if size_bytes is not None and size_bytes != entry.size_bytes:
                detail = (
                    f"{size_bytes} bytes are there already, the backup has {entry.size_bytes}; nothing is overwritten"
                )
                self._done.problems.append(Problem(entry.key, "different", detail))
            self._done.planned += 1
            self._done.planned_bytes += entry.size_bytes

    async def _bring_back(self, entry: Entry) -> None:
        if self._watcher.stops:
            return
        here = await self._into.read(entry.key)
        if here is not None:
            self._compare(entry, here)
        else:
            await self._create(entry)
        self._watcher.advanced(entry.size_bytes)

    def _compare(self, entry: Entry, here: bytes) -> None:
        if digest_of(here) == entry.sha256:
            self._done.found += 1
        else:
            detail = "other content of the same size is there already; nothing is overwritten"
            self._done.problems.append(Problem(entry.key, "different", detail))

    async def _create(self, entry: Entry) -> None:
        body = await _content(self._place, entry, self._done)
        if body is None:
            return
        try:
            await self._into.create(entry.key, body)
        except AlreadyStored as error:
            self._done.problems.append(Problem(entry.key, "different", str(error)))
            return
        self._done.objects += 1
        self._done.size_bytes += len(body)


async def _content(place: Store, entry: Entry, done: Restored) -> bytes | None:
    """Return an object of the backup if it is what the inventory says."""
    body = await place.read(entry.stored_key)
    if body is None:
        done.problems.append(
            Problem(entry.stored_key, "missing_in_backup", "the inventory names it, but it is not there")
        )
    elif digest_of(body) != entry.sha256:
        detail = f"its hash is {digest_of(body)[:16]}…, the inventory says {entry.sha256[:16]}…; it was not restored"
        done.problems.append(Problem(entry.stored_key, "damaged_in_backup", detail))
    else:
        return body
    return None


def _prefixes(entries: Sequence[Entry]) -> Iterator[str]:
    """Give the folders of these keys, each once; keys are in order."""
    last = ""
    for entry in entries:
        folder = f"{entry.key.rpartition('/')[0]}/"
        if folder != last:
            last = folder
            yield folder
