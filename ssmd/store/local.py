"""A directory as object store: a new object is there whole and on disk, or not at all, even after a power cut.

obstore writes to a temporary name and links it, but never calls fsync (0.12, seen with strace), so an acknowledged
object could be empty after a power cut. Hence new objects are written here; obstore does everything else.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from obstore.store import LocalStore  # noqa: TID251 the store's driver

from ssmd.errors import StoreDown

REMEMBERED_FOLDERS: Final = 1024
READABLE: Final = 0o644

NAMELESS: Final = getattr(os, "O_TMPFILE", 0)
"""Linux can write a file that has no name yet: a process killed in the middle leaves nothing behind."""


PLACE_ONLY: Final = getattr(os, "O_PATH", 0)
"""Linux can open a folder for nothing but to name it."""


class LocalDirectory:
    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root.resolve()
        self._prepare = lru_cache(REMEMBERED_FOLDERS)(self._make_durable_folder)
        self._driver = LocalStore(prefix=self._root, automatic_cleanup=True)
        """Empty folders go with their last object: retention would walk through them for ever."""

    def driver(self, _size_bytes: int) -> LocalStore:
        return self._driver

    def is_missing(self, _error: Exception) -> bool:
        return False

    def trouble(self, what: str, error: Exception) -> StoreDown:
        cause = str(error).partition("\n")[0]  # obstore adds a page of debug output
        return StoreDown(f"{what}: {type(error).__name__}: {cause}")

    def admit(self, key: str) -> None:
        """Raise ValueError if a symbolic link leads the key out of the directory."""
        path = self._root / key
        folder = None if path.is_symlink() else _real_folder(path.parent)
        real = path.resolve() if folder is None else folder / path.name
        if not real.is_relative_to(self._root):
            raise ValueError(f"object key {key!r} leads out of {self._root}")

    def put_new(self, key: str, body: bytes) -> None:
        """Write the object and return when it is safe on disk. FileExistsError, if there is one, says the same of it."""
        path = self._root / key
        try:
            self._write_new(path, body)
        except FileNotFoundError:  # the folder went with its last object
            self._prepare.cache_clear()
            self._write_new(path, body)

    def stored_bytes(self, key: str) -> int:
        return (self._root / key).stat().st_size

    def _write_new(self, path: Path, body: bytes) -> None:
        self._prepare(path.parent)
        with _opened_folder(path.parent) as folder:
            _write_new(folder, path, body)

    def _make_durable_folder(self, folder: Path) -> None:
        # Every entry of the way, not only what is made here: whoever made it may have died before its fsync.
        folder.mkdir(parents=True, exist_ok=True)
        way = [folder, *folder.parents]
        for entry in way[: way.index(self._root) + 2]:
            with _opened_folder(entry) as opened:
                os.fsync(opened)


def _real_folder(folder: Path) -> Path | None:
    """Return where a folder really is, if the kernel says it in one go; None where it does not.

    resolve() looks at each part of a path. Every such call hands the interpreter to another thread and waits to get it
    back, so that the calls of a busy store took a tenth of a reprocess.
    """
    try:
        opened = os.open(folder, PLACE_ONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return Path(os.readlink(f"/proc/self/fd/{opened}"))  # noqa: PTH115  a Path would ask for more
    except OSError:
        return None
    finally:
        os.close(opened)


@contextmanager
def _opened_folder(path: Path) -> Iterator[int]:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def _write_new(folder: int, path: Path, body: bytes) -> None:
    with _unlisted_file(folder, path) as (file, source):
        _write_all(file, body)
        os.fsync(file)
        try:
            # With a folder given, link() follows the symbolic link that /proc has in the place of a nameless file.
            os.link(source, path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
        finally:  # also when the object is there already: its writer may have died between link and fsync
            os.fsync(folder)


def _write_all(file: int, body: bytes) -> None:
    rest = memoryview(body)
    while rest:
        rest = rest[os.write(file, rest) :]


@contextmanager
def _unlisted_file(folder: int, path: Path) -> Iterator[tuple[int, str]]:
    """Open a file that no listing shows, and give the name to link it by."""
    nameless = _open_nameless(folder)
    if nameless is not None:
        try:
            yield nameless, f"/proc/self/fd/{nameless}"
        finally:
            os.close(nameless)
    else:
        with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}#") as named:
            os.fchmod(named.fileno(), READABLE)
            yield named.fileno(), named.name


def _open_nameless(folder: int) -> int | None:
    if not NAMELESS:
        return None
    try:
        return os.open(".", NAMELESS | os.O_WRONLY | os.O_CLOEXEC, READABLE, dir_fd=folder)
    except OSError:  # not every file system can; a real fault shows again with the named file
        return None
