"""Write files that people own: whole or not at all, and never over somebody else's change."""

import difflib
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import trio

from ssmd.errors import ConfigError, Conflict

LOCK_WITHIN_S: Final = 10.0
LOCK_EVERY_S: Final = 0.05
WRITE_BITS: Final = 0o222


def write_new(path: Path, text: str) -> None:
    """Write a file that must not be there yet. Raises ConfigError when it is or cannot be made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists already") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def replace_text(path: Path, before: bytes, after: str) -> None:
    """Replace a file's content in one step, keeping its mode; a link stays a link.

    Raises Conflict when it is no longer what it was, ConfigError when it cannot be written.
    """
    path = path.resolve()
    try:
        if path.read_bytes() != before:
            raise Conflict(f"{path} was changed meanwhile by somebody else; nothing was written, try again")
        mode = path.stat().st_mode
        if not mode & WRITE_BITS or not os.access(path, os.W_OK):
            raise ConfigError(f"{path} is read-only; nothing was changed")
        _replace(path, after.encode())
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _replace(path: Path, content: bytes) -> None:
    """Put a new file with the same mode and owner in the place of a file; leave nothing else behind."""
    was = path.stat()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), was.st_mode & 0o7777)
            with suppress(PermissionError):  # only root gives files away, and only root must
                os.fchown(file.fileno(), was.st_uid, was.st_gid)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


@asynccontextmanager
async def locked(folder: Path) -> AsyncIterator[None]:
    """Let one ssmd command at a time change the files of a folder.

    Raises Conflict when it takes too long, ConfigError when there is no such folder.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"folder {folder} cannot be opened: {error.strerror}") from error
    try:
        await _lock(fd, folder)
        yield
    finally:
        os.close(fd)  # gives the lock back, also when the process dies


async def _lock(fd: int, folder: Path) -> None:
    with trio.move_on_after(LOCK_WITHIN_S):
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await trio.sleep(LOCK_EVERY_S)  # the kernel tells nobody when a lock is free
                continue
            return
    raise Conflict(f"another ssmd command has been changing {folder} for {LOCK_WITHIN_S:g} s; try again")


def unified_diff(path: Path, before: str, after: str) -> str:
    name = path.as_posix().lstrip("/")
    return "".join(
        line if line.endswith("\n") else line + "\n"
        for line in difflib.unified_diff(
            before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
    )
