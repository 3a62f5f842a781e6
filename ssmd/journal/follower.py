"""Read a journal that another process writes: the same order, the same records, a moment later."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import trio

from ssmd.blocking import Blocking, in_thread
from ssmd.errors import Outrun
from ssmd.journal.segments import Position, Segment, list_segments, whole_bytes
from ssmd.journal.tail import Tail

LOOK_EVERY_S: Final = 0.1
"""No file system has a portable way to wait for a file of another process; ten looks a second cost 0.3 % of a core."""


class JournalFollower:
    """What a reader needs of a journal, from its files alone. The writer does not know of it, and waits for nobody.

    So segments may be deleted before they were read: then the reader gets Outrun and must begin somewhere else.
    """

    def __init__(self, directory: Path, blocking: Blocking = in_thread) -> None:
        self.directory = directory
        self.blocking = blocking
        self.tail = Tail(0)
        self.segments: deque[Segment] = deque()
        self.written = Position("", 0)
        self._look()

    def closed_segments(self) -> list[Segment]:
        """Return the segments that will never grow again: every one but the newest."""
        return list(self.segments)[:-1]

    def leave(self, segment: str) -> None:
        """Raise Outrun when the segment was deleted: nobody knows whether it was read to its end."""
        if segment and not (self.directory / segment).is_file():
            raise Outrun(f"segment {segment} of {self.directory} was deleted before it was read to its end")

    async def look(self) -> None:
        await self.blocking(self._look)

    async def wait_changed(self) -> None:
        before = self.written
        await self._until(lambda: self.written != before)

    async def wait_closed(self) -> None:
        before = self.written.segment
        await self._until(lambda: self.written.segment != before)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await trio.sleep(LOOK_EVERY_S)
            await self.look()

    def _look(self) -> None:
        segments = list_segments(self.directory)
        end = self._end(segments[-1]) if segments else self.written
        self.segments = deque(segments)
        self.written = max(self.written, end)

    def _end(self, newest: Segment) -> Position:
        try:
            return Position(newest.name, whole_bytes(self.directory / newest.name))
        except FileNotFoundError:  # deleted since it was listed
            return self.written
