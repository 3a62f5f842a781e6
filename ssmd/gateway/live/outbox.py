"""What one client has still to get: bounded, and written many frames at a time.

A client that keeps up gets each chunk by one system call, from where it is handed over: no task has to run for it.
What its socket does not take at once waits here, and as long as something waits there is a task that writes. When too
much waits, quotes and books give way to newer ones and a notice says how many; trades are never left out. A client
that is too slow for its trades, or whose socket takes nothing for a while, is cut off.
"""

import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Literal

import trio

from ssmd.errors import SsmdError
from ssmd.gateway.access import Series
from ssmd.gateway.live.events import Chunk, Delivered
from ssmd.gateway.live.notices import Lag, as_frame

Slow = Literal["skip", "close"]
"""What happens to a client that does not keep up: quotes and books are left out, or it is closed."""

MAX_WAITING_BYTES: Final = 1 << 20
"""Per client. Frames are shared, so what waits for many clients is held once."""
PIECE_BYTES: Final = 64 << 10
SEND_WITHIN_S: Final = 8.0
"""For one piece: who takes less than 8 kB/s does not read."""


class TooSlow(SsmdError):
    """This client cannot get what it must not miss."""


class Outbox:
    """One session's way out."""

    __slots__ = (
        "_fileno",
        "_is_writing",
        "_is_written",
        "_max_waiting_bytes",
        "_more",
        "_room",
        "_sent",
        "_slow",
        "_stream",
        "_waiting",
        "_waiting_bytes",
        "begin_writing",
        "delivered",
        "dropped",
        "sent_s",
    )

    def __init__(
        self,
        stream: trio.abc.SendStream,
        slow: Slow = "skip",
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._stream = stream
        self.delivered: Callable[[Chunk], None] = ignore
        """Is told of each chunk of events once the socket has all of it."""
        self.begin_writing: Callable[[], None] = nothing
        """Is called when something begins to wait: `run` is to be started."""
        self._slow = slow
        self._max_waiting_bytes = max_waiting_bytes
        self._fileno = stream.socket.fileno if isinstance(stream, trio.SocketStream) else None
        """Asked each time: a closed socket's number may belong to another one by now. With TLS there is no way to
        write without waiting; then the task that waits does it all."""
        self._waiting: list[Chunk] = []  # a deque takes 0.7 kB also when it is empty
        self._waiting_bytes = 0
        self._sent = 0
        """Bytes of the first chunk that the socket has already."""
        self._is_writing = False
        """The socket is being given a piece of the first chunk."""
        self._is_written = False
        """`run` is running, or about to."""
        self._more: trio.Event | None = None
        self._room: trio.Event | None = None
        """What somebody waits for who has more to hand over."""
        self.sent_s = trio.current_time()
        self.dropped = 0

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes - self._sent

    def put(self, chunk: Chunk) -> None:
        """Hand a chunk over; never waits. Raises TooSlow when there is no room for what must not be left out.

        Raises BrokenResourceError when the client is gone.
        """
        if not self._waiting and self._fileno is not None and self._write_now(chunk, self._fileno()):
            return
        if self._waiting_bytes > self._max_waiting_bytes:
            self._make_room()
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk.data)
        if not self._is_written:
            self._is_written = True
            self.begin_writing()
        elif self._more is not None:
            self._more.set()

    async def room(self) -> None:
        """Wait until little is waiting: for what is read from elsewhere no faster than the client takes it."""
        await trio.lowlevel.checkpoint()
        while self._waiting_bytes > PIECE_BYTES:
            await self._has_room()

    async def run(self) -> None:
        """Write until nothing waits; where every chunk waits, until cancelled.

        Raises TooSlow, and BrokenResourceError when the client is gone.
        """
        while self._waiting or await self._comes_more():
            await self._write_some()
        self._is_written = False

    async def _comes_more(self) -> bool:
        if self._fileno is not None:
            return False
        self._more = trio.Event()  # to wait is cheaper than to begin anew for each chunk
        await self._more.wait()
        return bool(self._waiting)

    async def flush(self) -> None:
        """Return when nothing waits."""
        await trio.lowlevel.checkpoint()
        while self._waiting:
            await self._has_room()

    async def _has_room(self) -> None:
        if self._room is None:
            self._room = trio.Event()
        await self._room.wait()

    def retain(self, may_read: Callable[[Series], bool]) -> None:
        """Take back what waits of series that this client may no longer read, but for what is on its way already."""
        kept = [chunk.only(may_read) for chunk in self._without_head()]
        self._set_waiting([*self._head(), *kept])

    def _head(self) -> list[Chunk]:
        """Return the frames that the socket has a part of."""
        begun = self._sent + (PIECE_BYTES if self._is_writing else 0)
        return [self._waiting[0].split(begun)[0]] if begun else []

    def _without_head(self) -> list[Chunk]:
        begun = self._sent + (PIECE_BYTES if self._is_writing else 0)
        if not begun:
            return list(self._waiting)
        return [self._waiting[0].split(begun)[1], *islice(self._waiting, 1, None)]

    def _set_waiting(self, chunks: Sequence[Chunk]) -> None:
        self._waiting = [chunk for chunk in chunks if chunk.data]
        self._waiting_bytes = sum(len(chunk.data) for chunk in self._waiting)

    def abandon(self) -> None:
        """Count the whole frames of a chunk that was cut, and forget the rest."""
        if self._sent and self._waiting:
            self.delivered(self._waiting[0].whole_within(self._sent))
        self._waiting.clear()
        self._waiting_bytes = self._sent = 0

    # writing -------------------------------------------------------------------------------------------------

    def _write_now(self, chunk: Chunk, fileno: int) -> bool:
        """Let the socket have what it takes without waiting; tell whether that is all. Only while nothing waits."""
        try:
            self._sent = os.write(fileno, chunk.data)
        except BlockingIOError:
            return False
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error
        self.sent_s = chunk.made_s
        if self._sent < len(chunk.data):
            return False
        self._sent = 0
        if chunk.events:
            self.delivered(chunk)
        return True

    async def _write_some(self) -> None:
        chunk = self._waiting[0]
        piece = memoryview(chunk.data)[self._sent : self._sent + PIECE_BYTES]
        self._is_writing = True
        try:
            with trio.fail_after(SEND_WITHIN_S):
                await self._stream.send_all(piece)
        except trio.TooSlowError as error:
            raise TooSlow(f"the socket took nothing for {SEND_WITHIN_S:g} s") from error
        finally:
            self._is_writing = False
        if self._waiting:  # else it was abandoned meanwhile
            self._note_sent(len(piece))

    def _note_sent(self, size: int) -> None:
        self.sent_s = trio.current_time()
        self._sent += size
        if self._sent < len(self._waiting[0].data):
            return
        chunk = self._waiting.pop(0)
        self._waiting_bytes -= len(chunk.data)
        self._sent = 0
        if chunk.events:
            self.delivered(chunk)
        if self._waiting_bytes <= PIECE_BYTES and self._room is not None:
            room, self._room = self._room, None
            room.set()

    # no room -------------------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Keep trades, and of each quote and book the newest; say what was left out where it was."""
        if self._slow == "close":
            raise TooSlow(f"more than {self._max_waiting_bytes} bytes wait")
        head, shorter = self._head(), _conflate(self._without_head())
        self.dropped += sum(chunk.dropped for chunk in shorter if isinstance(chunk, _Left))
        self._set_waiting([*head, *shorter])
        if self._waiting_bytes - sum(len(chunk.data) for chunk in head) > self._max_waiting_bytes // 2:
            raise TooSlow(f"more than {self._max_waiting_bytes // 2} bytes of trades wait")


class _Left(Chunk):
    """The notice of what was left out."""

    def __init__(self, left: Sequence[Delivered]) -> None:
        positions = [event.pos or 0 for event in left]
        self.dropped = len(left)
        super().__init__((), as_frame(Lag(self.dropped, positions[0] - 1, positions[-1] + 1)))


def _conflate(chunks: Sequence[Chunk]) -> list[Chunk]:
    newest: set[Series] = set()
    left: list[Delivered] = []
    kept: list[Chunk] = []
    for chunk in reversed(chunks):
        if not chunk.events:
            kept.append(chunk)
            continue
        events = []
        for event in reversed(chunk.events):
            if event.series.type == "trade" or event.pos is None or event.series not in newest:
                events.append(event)
                newest.add(event.series)
            else:
                left.append(event)
        kept.append(Chunk(events[::-1]))
    kept.reverse()
    left.reverse()
    return [_Left(left), *kept] if left else kept


def ignore(_chunk: Chunk) -> None:
    pass


def nothing() -> None:
    pass
