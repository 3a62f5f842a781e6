"""Follow the journal in order: from memory when caught up, from segments when behind."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import trio

from ssmd.blocking import Blocking
from ssmd.codec import raw
from ssmd.journal.segments import Position, Segment
from ssmd.journal.tail import Entry, Tail

BLOCK_BYTES: Final = 256 << 10


class Readable(Protocol):
    """A journal as its readers see it: the one that is written here, or another process's."""

    directory: Path
    blocking: Blocking
    tail: Tail
    segments: deque[Segment]
    written: Position

    def closed_segments(self) -> list[Segment]:
        """Return the segments that will never grow again, oldest first."""
        ...

    def leave(self, segment: str) -> None:
        """Be told that a reader finds nothing more in a segment. Raises Outrun if it may have missed something."""
        ...

    async def look(self) -> None:
        """Show everything that was written so far."""
        ...

    async def wait_changed(self) -> None: ...

    async def wait_closed(self) -> None: ...


class JournalReader:
    """Reads every record behind its start exactly once. Any number of readers may follow one journal."""

    def __init__(self, journal: Readable, start: Position | None) -> None:
        """Start behind the position; None starts with the oldest record there is."""
        self._journal = journal
        self._at = start or Position("", 0)
        self._ordinal: int | None = None

    async def read(self, limit: int) -> Sequence[Entry]:
        """Return one to about `limit` entries; wait for the first one. A checkpoint in any case.

        From disk a whole block may come at once. If cancelled, nothing was read.
        """
        await trio.lowlevel.checkpoint()
        while True:
            ordinal = self._find_in_memory()
            entries = await self._from_disk() if ordinal is None else self._from_memory(ordinal, limit)
            if entries:
                self._at = entries[-1].position
                return entries
            if self.caught_up():
                await self._journal.wait_changed()

    def _find_in_memory(self) -> int | None:
        tail = self._journal.tail
        if self._ordinal is None or self._ordinal < tail.first:
            self._ordinal = tail.find(self._at)
        return self._ordinal

    def _from_memory(self, ordinal: int, limit: int) -> Sequence[Entry]:
        entries = self._journal.tail.slice(ordinal, limit)
        self._ordinal = ordinal + len(entries)
        return entries

    def caught_up(self) -> bool:
        """Tell whether nothing readable lies behind the present place."""
        return self._at >= self._journal.written

    async def _from_disk(self) -> Sequence[Entry]:
        """Return the entries of the next block, nothing at the end of what is on disk."""
        while True:
            entries = await self._journal.blocking(read_block, self._journal, self._at)
            if entries:
                return entries
            self._journal.leave(self._at.segment)
            following = self._next_segment()
            if following is None:
                return ()
            self._at = Position(following, 0)
            if self._find_in_memory() is not None:
                return ()

    def _next_segment(self) -> str | None:
        return next((s.name for s in self._journal.segments if s.name > self._at.segment), None)


def read_block(journal: Readable, at: Position) -> Sequence[Entry]:
    """Return the whole lines of about one block behind the position; nothing at the segment's end."""
    path = journal.directory / at.segment
    if not path.is_file():
        return ()
    with path.open("rb") as file:
        file.seek(at.offset)
        data = file.read(BLOCK_BYTES)
        end = data.rfind(b"\n") + 1
        while data and not end:
            more = file.read(BLOCK_BYTES)
            if not more:
                return ()
            data += more
            end = data.rfind(b"\n") + 1
    return list(_entries(data[:end], at))


def _entries(data: bytes, at: Position) -> "list[Entry]":
    offset = at.offset
    entries = []
    for line in data.splitlines(keepends=True):
        offset += len(line)
        entries.append(Entry(raw.read_line(line), at.segment, offset))
    return entries
