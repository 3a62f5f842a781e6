"""Segment files: their names, their order, and the repair of one that a dead process left behind."""

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from ssmd.clock import NS_PER_S, minute_of
from ssmd.errors import BadRecord

_NAME: Final = re.compile(r"(\d{8}T\d{4})-(\d{4})\.jsonl")
_STAMP: Final = "%Y%m%dT%H%M"
REPAIR_BLOCK_BYTES: Final = 1 << 16


class Position(Struct, frozen=True, order=True):
    """A place between two records: everything before `offset` bytes of the named segment lies behind."""

    segment: str
    offset: int


class Segment(Struct, frozen=True, order=True):
    """One minute (or a further part of it). Names sort in the order of writing."""

    minute_ns: int
    part: int

    @property
    def name(self) -> str:
        minute = datetime.fromtimestamp(self.minute_ns // NS_PER_S, UTC)
        return f"{minute.strftime(_STAMP)}-{self.part:04d}.jsonl"

    @classmethod
    def parse(cls, name: str) -> "Segment":
        match = _NAME.fullmatch(name)
        if match is None:
            raise BadRecord(f"segment name {name!r} is not like 20251206T1400-0000.jsonl")
        minute = datetime.strptime(match[1], _STAMP).replace(tzinfo=UTC)
        return cls(int(minute.timestamp()) * NS_PER_S, int(match[2]))

    @classmethod
    def after(cls, last: "Segment | None", recv_ns: int) -> "Segment":
        """Return the segment that a new writer opens for this receive time; it never reopens an older one."""
        minute_ns = minute_of(recv_ns)
        if last is not None and last.minute_ns >= minute_ns:
            return cls(last.minute_ns, last.part + 1)
        return cls(minute_ns, 0)


def list_segments(directory: Path) -> list[Segment]:
    """Return the segments of a directory in the order of writing."""
    return sorted(Segment.parse(path.name) for path in directory.glob("*.jsonl"))


def last_line(path: Path) -> bytes:
    """Return the last whole line of a segment, without its line break."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = _end_of_last_line(file.fileno(), max(0, size - 1))
        return os.pread(file.fileno(), size - start, start).removesuffix(b"\n")


def whole_bytes(path: Path) -> int:
    """Return how long a segment is up to its last line break."""
    with path.open("rb") as file:
        return _end_of_last_line(file.fileno(), file.seek(0, os.SEEK_END))


def cut_torn_line(path: Path) -> int:
    """Cut what follows the last line break and return how many bytes that were.

    A process killed in mid-write leaves at most one torn line; it was never visible to any reader.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        keep = _end_of_last_line(file.fileno(), size)
        if keep < size:
            file.truncate(keep)
            os.fsync(file.fileno())
    return size - keep


def _end_of_last_line(fd: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - REPAIR_BLOCK_BYTES)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
