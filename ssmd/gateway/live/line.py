"""One client's WebSocket as its session sees it: texts come in, notices and chunks go out, and at the end a close.

Everything that goes out is handed over at once. Whatever breaks ends the line: nobody who hands something over has to
deal with that.
"""

import socket
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from ssmd import metrics
from ssmd.gateway.access import Series
from ssmd.gateway.live.events import Chunk
from ssmd.gateway.live.frames import Closed, FrameReader, Ping, Text, close_frame, ping_frame, pong_frame
from ssmd.gateway.live.notices import Notice, as_frame
from ssmd.gateway.live.outbox import Outbox, Slow, TooSlow

MAX_MESSAGE_BYTES: Final = 64 << 10
READ_BYTES: Final = 16 << 10
SEND_BUFFER_BYTES: Final = 256 << 10
"""What the kernel holds for a client that does not read; by itself it would go up to several MB."""
PING_AFTER_S: Final = 20.0
PONG_WITHIN_S: Final = 10.0
GOODBYE_WITHIN_S: Final = 1.0

SILENT: Final = 1011
RESTART: Final = 1012
OVERLOADED: Final = 1013
BAD_KEY: Final = 4401
REVOKED: Final = 4403
SLOW: Final = 4408
NOTHING_ASKED: Final = 4410
TOO_MANY: Final = 4429

_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class Line:
    __slots__ = (
        "_asked_s",
        "_closed",
        "_frames",
        "_has_ended",
        "_is_broken",
        "_is_closed",
        "_outbox",
        "_received",
        "_stream",
        "_texts",
        "ended",
        "heard_s",
    )

    def __init__(self, stream: trio.abc.Stream, slow: Slow, received: bytes = b"") -> None:
        self._stream = stream
        self._outbox = Outbox(stream, slow)
        self._frames = FrameReader(MAX_MESSAGE_BYTES)
        self._received = received
        self._texts: list[str] = []
        self._is_closed = False
        """The client has said goodbye, or nothing more can be said to it."""
        self._closed: trio.Event | None = None
        self._is_broken = False
        self.ended = trio.Event()
        self._has_ended = False
        self.heard_s = trio.current_time()
        self._asked_s: float | None = None
        """When a ping was sent that may still be unanswered."""
        if isinstance(stream, trio.SocketStream):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    # out -----------------------------------------------------------------------------------------------------

    @property
    def silent_since_s(self) -> float:
        """When something was sent last; now, as long as something waits."""
        return trio.current_time() if self._outbox.waiting_bytes else self._outbox.sent_s

    @property
    def dropped(self) -> int:
        """How many messages were left out because this client is slow."""
        return self._outbox.dropped

    def report_to(self, delivered: Callable[[Chunk], None]) -> None:
        """Have each chunk of events told that the socket has taken."""
        self._outbox.delivered = delivered

    def tell(self, notice: Notice) -> None:
        self.put(Chunk((), as_frame(notice)))

    def put(self, chunk: Chunk) -> None:
        """Hand something over; never waits and never fails."""
        if self._has_ended:
            return
        try:
            self._outbox.put(chunk)
        except TooSlow as error:
            self.end(SLOW, str(error), at_once=True)
        except _GONE:
            self._lose()

    async def room(self) -> None:
        await self._outbox.room()

    def retain(self, may_read: Callable[[Series], bool]) -> None:
        """Take back what this client may no longer get."""
        self._outbox.retain(may_read)

    def end(self, code: int, reason: str = "", *, at_once: bool = False) -> None:
        """Say goodbye; what waits goes first, save with at_once. The first goodbye counts."""
        if self._has_ended:
            return
        if at_once:
            self._outbox.retain(lambda _series: False)
        self._set_ended(str(code))
        if self._is_broken:
            return
        try:
            self._outbox.put(Chunk((), close_frame(code, reason)))
        except (TooSlow, *_GONE):
            self._break()

    def write_in(self, nursery: trio.Nursery) -> None:
        """Have a task there whenever the socket does not take everything at once."""
        self._outbox.begin_writing = partial(nursery.start_soon, self._write)

    async def _write(self) -> None:
        """Write what waits; the line ends when the other side is gone or takes nothing."""
        try:
            await self._outbox.run()
        except TooSlow as error:
            self._break()  # in the middle of a frame: nothing can be said any more
            self.end(SLOW, str(error))
        except _GONE:
            self._lose()

    def check_alive(self, now_s: float) -> float:
        """Ask a silent client whether it is there, and end if it has not answered; return when to look again."""
        if self._asked_s is not None and self.heard_s < self._asked_s:
            if now_s >= self._asked_s + PONG_WITHIN_S:
                self.end(SILENT, f"no sign of life for {PING_AFTER_S + PONG_WITHIN_S:g} s")
            return self._asked_s + PONG_WITHIN_S
        self._asked_s = None
        if now_s < self.heard_s + PING_AFTER_S:
            return self.heard_s + PING_AFTER_S
        self._asked_s = now_s
        self.put(Chunk((), ping_frame()))
        return now_s + PONG_WITHIN_S

    async def say_goodbye(self) -> None:
        """Let what waits go out and the client answer, for a moment; then forget the rest."""
        with trio.move_on_after(GOODBYE_WITHIN_S):
            if not self._is_broken:
                await self._outbox.flush()
            if not self._is_closed:
                self._closed = trio.Event()
                await self._closed.wait()
        self._outbox.abandon()

    def _break(self) -> None:
        self._is_broken = True
        self._close()

    def _close(self) -> None:
        self._is_closed = True
        if self._closed is not None:
            self._closed.set()

    def _lose(self) -> None:
        self._break()
        if not self._has_ended:
            self._set_ended("gone")

    def _set_ended(self, code: str) -> None:
        self._has_ended = True
        self.ended.set()
        metrics.GATEWAY_CLOSED.labels(code).inc()

    # in ------------------------------------------------------------------------------------------------------

    async def receive(self) -> str:
        """Return the next message. When there will be none the line has ended, and this waits to be cancelled."""
        while not self._texts:
            if self._is_closed:
                await trio.sleep_forever()
            self._read(await self._next_bytes())
        await trio.lowlevel.checkpoint()
        return self._texts.pop(0)

    async def _next_bytes(self) -> bytes:
        received, self._received = self._received, b""
        if received:
            return received
        try:
            return bytes(await self._stream.receive_some(READ_BYTES))
        except _GONE:
            return b""

    def _read(self, data: bytes) -> None:
        if not data:
            self._lose()
            return
        self.heard_s = trio.current_time()
        for event in self._frames.feed(data):
            match event:
                case Text():
                    self._texts.append(event.data)
                case Ping():
                    self.put(Chunk((), pong_frame(event.payload)))
                case Closed():
                    self._take_closed(event)

    def _take_closed(self, closed: Closed) -> None:
        self.end(closed.code, closed.reason)
        if not closed.is_fault:
            self._close()
