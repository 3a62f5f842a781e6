"""One client's connection: what is queued for it, what it says, its heartbeat, its end."""

from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from msgspec import Struct
from trio_websocket import (  # noqa: TID251  the simulator is one of the two places that speak WebSocket
    ConnectionClosed,
    WebSocketConnection,
)

from ssmd.clock import NowNs
from ssmd.simulator.ledger import Ledger, Outgoing
from ssmd.simulator.wire import Wire

_BATCH_BYTES: Final = 256 * 1024
_CLOSE_HANDSHAKE_S: Final = 2.0
_ROOM_BYTES: Final = 1 << 20
"""A replay waits while more than this is queued, so that a recording of any size fits."""


class SessionSummary(Struct, frozen=True):
    conn: int
    open: bool
    requests: int
    too_fast: int
    sent: int
    withheld: int
    queued: int
    ended_by: str | None


class Counts(Struct):
    """What one connection has been through; kept after its end."""

    requests: int = 0
    too_fast: int = 0
    """Requests beyond the venue's message rate."""
    sent: int = 0
    withheld: int = 0
    ended_by: str | None = None


class Session:
    """Queue frames for one client and write them in batches; a slow reader is queued for up to `queue_bytes`.

    At that bound the connection is reset (`ended_by` = "queue full"): the market cannot wait for one client.
    """

    def __init__(self, conn: int, wire: Wire, ledger: Ledger, queue_bytes: int) -> None:
        self.conn = conn
        self.counts = Counts()
        self._wire = wire
        self._ledger = ledger
        self._queue_bytes = queue_bytes
        self._queue: deque[Outgoing] = deque()
        self._queued_bytes = 0
        self._filled = trio.Event()
        self._drained = trio.Event()
        self._close_asked = trio.Event()
        self._gone = False
        self._close_over = trio.Event()
        self._close_code = 1000

    def send(self, frame: str | bytes) -> None:
        """Queue one text frame. Never waits."""
        self._put(Outgoing(frame if isinstance(frame, bytes) else frame.encode()))

    def withhold(self, frame: str) -> None:
        """Record a frame that the client should have had."""
        self._put(Outgoing(frame.encode(), withheld=True))

    async def room(self) -> None:
        """Wait until little enough is queued, or the connection has ended."""
        await self._until_queued_at_most(_ROOM_BYTES)

    def end(self, cause: str) -> None:
        """Note why the connection ended; the first cause stands."""
        self.counts.ended_by = self.counts.ended_by or cause

    @property
    def ended(self) -> bool:
        return self.counts.ended_by is not None

    def leave(self) -> None:
        """Note that the connection is over: nobody needs to wait for room any more."""
        self.end("client")
        self._gone = True
        self._drained.set()

    def drop(self, cause: str) -> None:
        """Reset the TCP connection at once."""
        self.end(cause)
        self._wire.abort()

    def hang_up(self, code: int, cause: str) -> None:
        """Ask for a close frame behind what is queued; nothing is queued after it."""
        self.end(cause)
        self._close_code = code
        self._close_asked.set()

    def stall(self, seconds: float) -> None:
        self._wire.freeze(seconds)

    def summary(self) -> SessionSummary:
        counts = self.counts
        return SessionSummary(
            conn=self.conn,
            open=not self.ended,
            requests=counts.requests,
            too_fast=counts.too_fast,
            sent=counts.sent,
            withheld=counts.withheld,
            queued=len(self._queue),
            ended_by=counts.ended_by,
        )

    async def close_when_asked(self, socket: WebSocketConnection) -> None:
        """Do the closing handshake once `hang_up` asked for it; a client that does not answer is reset."""
        await self._close_asked.wait()
        with trio.move_on_after(_CLOSE_HANDSHAKE_S) as patience:
            await self._until_queued_at_most(0)
            await socket.aclose(self._close_code)
        if patience.cancelled_caught:
            self._wire.abort()
        self._close_over.set()

    async def listen(self, socket: WebSocketConnection, receive: Callable[[str | bytes], None]) -> None:
        """Pass on every message until the connection closes, then raise ConnectionClosed."""
        while socket.closed is None:
            try:
                message = await socket.get_message()
            except ConnectionClosed:
                break
            self.counts.requests += 1
            receive(message)
        await self._raise_closed(socket)

    async def write(self, socket: WebSocketConnection, now_ns: NowNs) -> None:
        """Send what is queued, many frames per system call, until the connection closes."""
        while await self._write_batch(lambda: socket.closed is None, now_ns):
            pass
        await self._raise_closed(socket)

    async def _raise_closed(self, socket: WebSocketConnection) -> None:
        # Raising cancels every task of the connection, so our own closing handshake comes first.
        if self._close_asked.is_set():
            await self._close_over.wait()
        raise ConnectionClosed(socket.closed)

    async def _write_batch(self, may_send: Callable[[], bool], now_ns: NowNs) -> bool:
        await self._filled.wait()
        batch = self._take()
        counts = self.counts
        self._ledger.write(self.conn, counts.sent + counts.withheld, now_ns(), batch)
        frames = [outgoing.frame for outgoing in batch if not outgoing.withheld]
        counts.sent += len(frames)
        counts.withheld += len(batch) - len(frames)
        sent = await self._wire.send_frames(frames, may_send)
        # Only now: whoever waits for an empty queue, to close behind it, must not overtake the last batch.
        self._queued_bytes -= sum(len(outgoing.frame) for outgoing in batch)
        self._drained.set()
        return sent

    async def _until_queued_at_most(self, size: int) -> None:
        while self._queued_bytes > size and not self._gone:
            self._drained = trio.Event()
            await self._drained.wait()

    def _put(self, outgoing: Outgoing) -> None:
        if self._close_asked.is_set():
            return
        self._queue.append(outgoing)
        self._queued_bytes += len(outgoing.frame)
        if self._queued_bytes > self._queue_bytes:
            self.drop("queue full")
        self._filled.set()

    def _take(self) -> list[Outgoing]:
        batch: list[Outgoing] = []
        size = 0
        while self._queue and size < _BATCH_BYTES:
            outgoing = self._queue.popleft()
            size += len(outgoing.frame)
            batch.append(outgoing)
        if not self._queue:
            self._filled = trio.Event()
        return batch
