"""The journal's writing side: append without waiting, write in groups, roll every minute."""

import math
import os
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from ssmd.blocking import Blocking, in_thread
from ssmd.clock import NS_PER_MINUTE, NowNs, now_ns
from ssmd.codec import raw
from ssmd.errors import DiskFull
from ssmd.journal.segments import Position, Segment, cut_torn_line, last_line, list_segments
from ssmd.journal.tail import Entry, Tail
from ssmd.records import Note, Record

RECENT_MINUTES: Final = 2
QUIET_SEGMENT_GRACE_NS: Final = 1_000_000_000
"""A minute without a newer record is closed this long after its end."""


class JournalLimits(Struct, frozen=True):
    """pending: appended but not yet written; when it is full, sessions stop reading their sockets.

    tail: written records kept in memory for readers that keep up. total: all segments on disk.
    """

    pending_bytes: int = 8 << 20
    tail_bytes: int = 3 << 19
    total_bytes: int = 10 << 30


class _Block:
    """The appended lines of one segment that wait for the disk, and where they go."""

    def __init__(self, segment: Segment, offset: int) -> None:
        self.segment = segment
        self.name = segment.name
        self.offset = offset
        self.end = offset
        self.lines: list[bytes] = []


class Journal:
    """Takes records in the order of arrival. One writer (`write_pending`), any number of appenders and readers."""

    def __init__(
        self,
        directory: Path,
        limits: JournalLimits | None = None,
        now: NowNs = now_ns,
        blocking: Blocking = in_thread,
    ) -> None:
        """Open the directory, making it if missing; repairs what a dead process left behind."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.limits = limits or JournalLimits()
        self.blocking = blocking
        """How the disk is reached; readers use it too."""
        self._now = now
        self.segments = deque(list_segments(directory))
        """Every segment on disk, oldest first; the last one may still grow."""
        self.torn_bytes = sum(cut_torn_line(directory / segment.name) for segment in self.segments)
        self.tail = Tail(self.limits.tail_bytes)
        self.written = self._end()
        """The place behind the last readable record."""
        self._blocks: deque[_Block] = deque()
        self._open: _Block | None = None
        self._last = self.segments[-1] if self.segments else None
        self._last_ns = self._last_recv_ns()
        self._last_monotonic_ns = time.monotonic_ns()
        self._pending_bytes = 0
        self._closed_bytes = sum((directory / segment.name).stat().st_size for segment in self.segments)
        self._file: tuple[str, int] | None = None
        self._synced = self.written
        self._changed = trio.Event()
        self._closed = trio.Event()
        self._has_room = trio.Event()
        self._has_pending = trio.Event()

    # appending -----------------------------------------------------------------------------------------------

    async def room(self) -> None:
        """Wait until there is room for one more record. Cheap when there is; then it is no checkpoint."""
        while self.is_full:
            await self._has_room.wait()

    @property
    def is_full(self) -> bool:
        return self._pending_bytes >= self.limits.pending_bytes

    def append_frame(self, conn: str, seq: int, frame: str | bytes) -> int:
        """Take a received frame; return its receive time, which never falls within the journal. Never waits."""
        recv_ns = self.stamp()
        record, line = raw.frame_record(recv_ns, conn, seq, frame)
        self._append(record, line)
        return recv_ns

    def append_note(self, conn: str, seq: int, note: Note) -> int:
        recv_ns = self.stamp()
        self._append(Record(recv_ns, conn, seq, note=note), raw.encode_note(recv_ns, conn, seq, note))
        return recv_ns

    def stamp(self) -> int:
        """Return the receive time of a record now, which never falls: while the clock is behind, it goes on by what really passes."""
        now_ns, monotonic_ns = self._now(), time.monotonic_ns()
        if now_ns < self._last_ns:
            now_ns = self._last_ns + monotonic_ns - self._last_monotonic_ns
        self._last_ns, self._last_monotonic_ns = now_ns, monotonic_ns
        return now_ns

    def _append(self, record: Record, line: bytes) -> None:
        block = self._open
        if block is None or record.recv_ns - block.segment.minute_ns >= NS_PER_MINUTE:
            block = self._roll(record.recv_ns)
        block.lines.append(line)
        block.end += len(line)
        self._pending_bytes += len(line)
        self.tail.append(Entry(record, block.name, block.end), len(line))
        self._has_pending.set()

    def _roll(self, recv_ns: int) -> _Block:
        segment = Segment.after(self._last, recv_ns)
        self._last = segment
        self._open = _Block(segment, 0)
        self._blocks.append(self._open)
        return self._open

    # writing -------------------------------------------------------------------------------------------------

    async def wait_pending(self) -> None:
        """Wait for something to write or a quiet minute to close."""
        while not self._pending_bytes:
            self._has_pending = trio.Event()
            with trio.move_on_after(self._quiet_close_in_s()):
                await self._has_pending.wait()
            self._close_quiet_segment()

    async def write_pending(self) -> int:
        """Write everything appended so far and show it to the readers; return the number of bytes.

        Raises DiskFull when the disk refuses; nothing is lost, call again.
        The same bytes go to the same place again then, so a half-done write leaves no trace.
        """
        if self._closed_bytes >= self.limits.total_bytes:
            raise DiskFull(f"journal {self.directory} holds {self._closed_bytes} bytes; journal.max_bytes is reached")
        blocks = [block for block in self._blocks if block.lines]
        batches = [(block, b"".join(block.lines), len(block.lines)) for block in blocks]
        ordinal = self.tail.next
        try:
            await self.blocking(self._write, [(b.name, b.offset, data) for b, data, _ in batches])
        except OSError as error:
            raise DiskFull(f"journal {self.directory} refuses a write: {error}") from error
        return self._written(batches, ordinal)

    async def sync(self) -> None:
        """Make everything written so far survive a power cut; writing goes on meanwhile. Raises DiskFull."""
        written = self.written
        if written == self._synced:
            return
        try:
            await self.blocking(_sync_file, self.directory / written.segment)
        except OSError as error:
            raise DiskFull(f"journal {self.directory} cannot be synced: {error}") from error
        self._synced = written

    def _written(self, batches: "list[tuple[_Block, bytes, int]]", ordinal: int) -> int:
        size = 0
        for block, data, count in batches:
            if not self.segments or self.segments[-1] != block.segment:
                self.segments.append(block.segment)
            del block.lines[:count]
            block.offset += len(data)
            self.written = Position(block.name, block.offset)
            size += len(data)
        while self._blocks and self._blocks[0] is not self._open and not self._blocks[0].lines:
            self._blocks.popleft()
            self._announce_closed()
        self._pending_bytes -= size
        self._closed_bytes += size
        self.tail.show(ordinal)
        self._announce()
        self._has_room.set()
        self._has_room = trio.Event()
        return size

    def _write(self, batches: list[tuple[str, int, bytes]]) -> None:
        for name, offset, data in batches:
            fd = self._descriptor(name)
            view = memoryview(data)
            while view:
                view = view[os.pwrite(fd, view, offset + len(data) - len(view)) :]

    def _descriptor(self, name: str) -> int:
        """Return the open segment's descriptor; a finished one is synced before it is let go."""
        if self._file is None or self._file[0] != name:
            self._release()
            fd = os.open(self.directory / name, os.O_WRONLY | os.O_CREAT, 0o644)
            self._file = (name, fd)
        return self._file[1]

    def _release(self) -> None:
        if self._file is not None:
            os.fsync(self._file[1])
            os.close(self._file[1])
            self._file = None

    def _quiet_close_in_s(self) -> float:
        if self._open is None:
            return math.inf
        end_ns = self._open.segment.minute_ns + NS_PER_MINUTE + QUIET_SEGMENT_GRACE_NS
        return max(0.0, (end_ns - self._now()) / 1e9)

    def _close_quiet_segment(self) -> None:
        if self._open is None or self._open.lines or self._quiet_close_in_s() > 0:
            return
        self._last_ns = max(self._last_ns, self._open.segment.minute_ns + NS_PER_MINUTE)
        self._open = None
        self._announce_closed()

    def close(self) -> None:
        """Let the file go after the last write. Closed segments are complete; the open one becomes closed."""
        with suppress(OSError):
            self._release()
        self._open = None
        self._announce_closed()

    # reading -------------------------------------------------------------------------------------------------

    @property
    def pending_bytes(self) -> int:
        return self._pending_bytes

    @property
    def stored_bytes(self) -> int:
        """What the segments on disk take together."""
        return self._closed_bytes

    def closed_segments(self) -> list[Segment]:
        """Return the segments that will never grow again, oldest first."""
        growing = {block.name for block in self._blocks if block.lines}
        if self._open is not None:
            growing.add(self._open.name)
        return [segment for segment in self.segments if segment.name not in growing]

    def recent_segments(self) -> list[Segment]:
        """Return the segments of the last two minutes that hold records, in order of writing.

        A live connection gets a heartbeat every second, so each one left open by a crash has a record in them.
        """
        recent: list[Segment] = []
        for segment in reversed(self.segments):
            if len({each.minute_ns for each in recent} | {segment.minute_ns}) > RECENT_MINUTES:
                break
            if (self.directory / segment.name).stat().st_size:
                recent.append(segment)
        return recent[::-1]

    def _last_recv_ns(self) -> int:
        """Return the last receive time in the journal: a clock that was set back must not undercut it."""
        for segment in self.recent_segments()[-1:]:
            line = last_line(self.directory / segment.name)
            return max(segment.minute_ns, raw.read_line(line).recv_ns)
        return 0

    def _end(self) -> Position:
        if not self.segments:
            return Position("", 0)
        name = self.segments[-1].name
        return Position(name, (self.directory / name).stat().st_size)

    def remove(self, segment: Segment) -> None:
        """Delete a closed segment that nobody needs any more."""
        path = self.directory / segment.name
        self._closed_bytes -= path.stat().st_size
        self.segments.remove(segment)
        path.unlink()

    def leave(self, segment: str) -> None:
        """Nothing to do: no segment is removed before its readers here have passed it."""

    async def look(self) -> None:
        """Nothing to do: what is written is shown at once."""

    async def wait_changed(self) -> None:
        """Wait until more was written."""
        await self._changed.wait()

    async def wait_closed(self) -> None:
        """Wait until one more segment was closed."""
        await self._closed.wait()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _announce_closed(self) -> None:
        self._closed.set()
        self._closed = trio.Event()


def _sync_file(path: Path) -> None:
    """Sync by a descriptor of its own: the writer may let go of its one at any time."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
