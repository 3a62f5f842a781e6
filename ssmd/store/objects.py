"""Objects in a directory or in a bucket of any S3, through obstore: sync calls in threads, each under a deadline."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar, TypeVarTuple

import obstore  # noqa: TID251 the store's driver; its async calls need asyncio, so only sync ones are used
import trio
from obstore.exceptions import AlreadyExistsError, BaseError  # noqa: TID251 as above

from ssmd.errors import AlreadyStored, StoreDown
from ssmd.store.base import ObjectMeta
from ssmd.store.key_rules import check_folder, check_key, check_prefix
from ssmd.store.local import LocalDirectory

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DEADLINE_S: Final = 5.0
SLOWEST_BYTES_PER_S: Final = 20_000
"""A store that is slower than this counts as away; the deadline of a large object grows with its size."""

SMALL_BYTES: Final = 50_000
"""Read at once by who does not know the size: manifests, ledger records, most minutes of one symbol."""

MAX_CALLS: Final = 8
"""Threads for the store alone: calls that hang in it must not use up those of the journal."""

LIST_CHUNK: Final = 1000


class Place(Protocol):
    """What differs between a directory and a bucket."""

    def driver(self, size_bytes: int) -> "obstore.store.ObjectStore":
        """Return what transfers so much; a bucket's driver gives up by itself after a time that fits the size."""
        ...

    def admit(self, key: str) -> None:
        """Raise ValueError if this key may not be used here."""
        ...

    def put_new(self, key: str, body: bytes) -> None:
        """Store a new object for good. Raises FileExistsError or AlreadyExistsError if there is one."""
        ...

    def stored_bytes(self, key: str) -> int:
        """Return how large the stored object is. Raises FileNotFoundError if there is none."""
        ...

    def is_missing(self, error: Exception) -> bool:
        """Tell whether an error of a listing only says that nothing was stored here yet."""
        ...

    def trouble(self, what: str, error: Exception) -> StoreDown:
        """Return what an error of the driver means; without any secret."""
        ...


def local_store(root: Path) -> "ObjectStore":
    """Return a store whose keys are paths under `root`; the folder is made if missing."""
    return ObjectStore(LocalDirectory(root))


class ObjectStore:
    """Implements `ssmd.store.base.Store`. ValueError for a key that no key of ours can be.

    A call past its deadline is given up, but may still take effect: that is what makes a create ambiguous.
    """

    def __init__(self, place: Place, deadline_s: float = DEADLINE_S, max_calls: int = MAX_CALLS) -> None:
        self._place = place
        self._deadline_s = deadline_s
        self._limiter = trio.CapacityLimiter(max_calls)

    async def create(self, key: str, body: bytes) -> bool:
        if await self._call(f"create {key}", len(body), self._put_new, check_key(key), body):
            return True
        stored = await self.read(key)
        if stored is None:
            raise StoreDown(f"create {key}: refused as existing, but it cannot be read")
        if stored != body:
            raise AlreadyStored(f"object {key} exists with other content: {len(stored)} bytes, ours has {len(body)}")
        return False

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        if size_bytes is None:
            found = await self._call(f"read {key}", SMALL_BYTES, self._get_small, check_key(key))
            if not isinstance(found, int):
                return found
            size_bytes = found
        return await self._call(f"read {key}", size_bytes, self._get, check_key(key), size_bytes)

    async def head(self, key: str) -> ObjectMeta | None:
        return await self._call(f"head {key}", 0, self._head, check_key(key))

    async def list(self, prefix: str) -> Sequence[ObjectMeta]:
        folder = check_prefix(prefix).rpartition("/")[0]  # the driver lists whole folders only
        chunks = await self._call(f"list {prefix}", 0, self._list, folder)
        found: dict[str, ObjectMeta] = {}
        while chunk := await self._call(f"list {prefix}", 0, self._next, chunks):
            found |= {meta["path"]: _meta(meta) for meta in chunk if _is_key(meta["path"])}
        return [found[key] for key in sorted(found) if key.startswith(prefix)]

    async def folders(self, prefix: str) -> Sequence[str]:
        names = await self._call(f"folders {prefix}", 0, self._folders, check_folder(prefix))
        return sorted(f"{name}/" for name in names if _is_key(name))

    async def delete(self, key: str) -> None:
        await self._call(f"delete {key}", 0, self._delete, check_key(key))

    async def _call(self, what: str, size_bytes: int, work: Callable[[*Ts], T], *args: *Ts) -> T:
        deadline_s = self._deadline_s + size_bytes / SLOWEST_BYTES_PER_S
        with trio.move_on_after(deadline_s):
            try:
                return await trio.to_thread.run_sync(work, *args, abandon_on_cancel=True, limiter=self._limiter)
            except (BaseError, OSError) as error:
                trouble = self._place.trouble(what, error)
            raise trouble  # without its cause: a driver's own text may show the key
        raise StoreDown(f"{what}: no answer within {deadline_s:g} s")

    # in a thread ---------------------------------------------------------------------------------------------

    def _put_new(self, key: str, body: bytes) -> bool:
        self._place.admit(key)
        try:
            self._place.put_new(key, body)
        except (FileExistsError, AlreadyExistsError):
            return False
        self._check_size(key, len(body))  # in the same thread: a way there and back costs as much as the look
        return True

    def _check_size(self, key: str, expected_bytes: int) -> None:
        try:
            stored = self._place.stored_bytes(key)
        except FileNotFoundError:
            raise StoreDown(f"create {key}: {expected_bytes} bytes written, nothing stored") from None
        if stored != expected_bytes:
            raise StoreDown(f"create {key}: {expected_bytes} bytes written, {stored} bytes stored")

    def _get(self, key: str, size_bytes: int) -> bytes | None:
        self._place.admit(key)
        try:
            return obstore.get(self._place.driver(size_bytes), key).bytes().to_bytes()
        except FileNotFoundError:
            return None

    def _get_small(self, key: str) -> bytes | int | None:
        """Return a small object's bytes, of a larger one its size: reading it may take longer than this call has."""
        self._place.admit(key)
        try:
            found = obstore.get(self._place.driver(SMALL_BYTES), key)
        except FileNotFoundError:
            return None
        size_bytes = found.meta["size"]
        return size_bytes if size_bytes > SMALL_BYTES else found.bytes().to_bytes()

    def _head(self, key: str) -> ObjectMeta | None:
        self._place.admit(key)
        try:
            return _meta(obstore.head(self._place.driver(0), key))
        except FileNotFoundError:
            return None

    def _list(self, folder: str) -> "Iterator[Sequence[obstore.ObjectMeta]]":
        self._place.admit(folder)
        return iter(obstore.list(self._place.driver(0), folder or None, chunk_size=LIST_CHUNK))

    def _next(self, chunks: "Iterator[Sequence[obstore.ObjectMeta]]") -> "Sequence[obstore.ObjectMeta]":
        try:
            return next(chunks, ())
        except BaseError as error:
            if self._place.is_missing(error):
                return ()
            raise

    def _folders(self, prefix: str) -> Sequence[str]:
        self._place.admit(prefix)
        try:
            return obstore.list_with_delimiter(self._place.driver(0), prefix or None)["common_prefixes"]
        except BaseError as error:
            if self._place.is_missing(error):
                return ()
            raise

    def _delete(self, key: str) -> None:
        self._place.admit(key)
        try:
            obstore.delete(self._place.driver(0), key)
        except FileNotFoundError:
            return


def _meta(found: "obstore.ObjectMeta") -> ObjectMeta:
    return ObjectMeta(found["path"], found["size"], found["e_tag"])


def _is_key(path: str) -> bool:
    """Tell objects from what else lies in a directory, such as files half written."""
    try:
        check_key(path)
    except ValueError:
        return False
    return True
