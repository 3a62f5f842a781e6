"""An answer written to a file as it comes: the file is there when it is whole, and not before."""

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeVar

from msgspec import Struct

from ssmd.client.asking import Question
from ssmd.client.ends import End, Format, Watch
from ssmd.client.http import Http
from ssmd.client.rows import Quality
from ssmd.client.tables import quality_in_file

R = TypeVar("R", bound=Struct)

PART: Final = ".part"
Told = Callable[[int], None]
"""Is told of the bytes of each piece."""


class Downloaded(Struct, frozen=True):
    """rows and quality: None where the format does not say and pyarrow is not there to look into it."""

    size_bytes: int
    rows: int | None
    quality: Quality | None
    request_id: str


def ignore(_size: int) -> None:
    pass


async def download(http: Http, question: Question[R], form: Format, path: Path, told: Told = ignore) -> Downloaded:
    """Write the answer to a file. Raises SsmdError, and then there is no file, nor a part of one; one try."""
    query = {**question.query, "format": form}
    with WholeFile(path) as file:
        async with http.opened(question.path, query) as response:
            watch = Watch(form, response.headers)
            async for piece in response.aiter_bytes():
                watch.saw(piece)
                file.write(piece)
                told(len(piece))
        end = watch.end()
        file.keep()
    return Downloaded(watch.size, *_looked_into(path, form, end), response.headers.get("X-Request-Id", ""))


def _looked_into(path: Path, form: Format, end: End) -> tuple[int | None, Quality | None]:
    if form in {"arrow", "parquet"}:
        end = quality_in_file(path, form) or end
    return end.rows, end.quality


class WholeFile:
    """A file that appears under its name when `keep` is called, synced to disk; otherwise nothing is left of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + PART)

    def __enter__(self) -> Self:
        self._file: BinaryIO = self._part.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        self._file.write(piece)

    def keep(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._part.replace(self._path)
