"""Small files that are replaced whole or not at all."""

import os
from pathlib import Path

from ssmd.errors import DiskFull


def replace_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace the file's content in one step; `durable` also survives a power cut. Raises DiskFull; try again later."""
    part = path.with_name(path.name + ".new")
    try:
        with part.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise DiskFull(f"{path} cannot be written: {error}") from error


def read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
