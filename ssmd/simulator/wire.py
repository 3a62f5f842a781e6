"""One byte stream shared by trio-websocket and our own batches of frames, and what can be done to it on purpose."""

import socket
import struct
from collections.abc import Callable, Iterable
from typing import Final

import trio

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)


def framed(payload: bytes) -> bytes:
    """Return the payload as one unmasked WebSocket text frame (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


class Wire(trio.abc.Stream):
    """A stream that first gives back what was read of it, and keeps all writers apart.

    trio-websocket sends whole frames per call (pong, close); `send_frames` sends whole frames too. The one lock
    here makes them alternate at frame boundaries, without 25 to 40 us per frame inside trio-websocket.
    """

    def __init__(self, transport: trio.SocketStream, already_read: bytes = b"") -> None:
        self._transport = transport
        self._already_read = already_read
        self._write_lock = trio.Lock()
        self._frozen_until_s = -1.0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._write_lock:
            await self._thawed()
            await self._transport.send_all(data)

    async def send_frames(self, payloads: Iterable[bytes], may_send: Callable[[], bool]) -> bool:
        """Send every payload as a text frame; False, with nothing sent, if by then it is no longer allowed."""
        async with self._write_lock:
            await self._thawed()
            if not may_send():
                return False
            await self._transport.send_all(b"".join(map(framed, payloads)))
            return True

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._already_read:
            await trio.lowlevel.checkpoint()
            data, self._already_read = self._already_read, b""
            return data
        received = await self._transport.receive_some(max_bytes)
        await self._thawed()
        return received

    async def aclose(self) -> None:
        await self._transport.aclose()

    def freeze(self, seconds: float) -> None:
        """Stop reading and writing for a while; the socket stays open, as after a lost route."""
        self._frozen_until_s = trio.current_time() + seconds

    def abort(self) -> None:
        """Reset the connection: no close frame, no end of stream, what is unsent is lost. Idempotent."""
        if self._transport.socket.fileno() < 0:
            return
        self._transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.socket.close()

    async def _thawed(self) -> None:
        if trio.current_time() < self._frozen_until_s:
            await trio.sleep_until(self._frozen_until_s)
            await self._thawed()
