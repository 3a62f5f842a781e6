"""The seam to the exchange's socket, and its first form: trio-websocket."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

import trio
import trio_websocket  # noqa: TID251  # this file is the exchange transport

from ssmd.errors import ExchangeDown

CONNECT_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 1.0
SEND_TIMEOUT_S: Final = 5.0
_REASONS: Final = {1000: "closed", 1001: "closed", 1006: "reset", 1007: "bad_utf8", 1009: "oversize", 1012: "closed"}


class Connection(Protocol):
    async def send(self, text: str) -> None:
        """Send one text frame within a deadline. After a failure or a cancellation the connection is useless."""
        ...

    async def receive(self) -> str | bytes:
        """Return the next message. Raises ExchangeDown, with the reason as a label, when none will come."""
        ...


class Transport(Protocol):
    def connect(self, url: str, max_frame_bytes: int) -> AbstractAsyncContextManager[Connection]:
        """Open a connection within a deadline or raise ExchangeDown; leaving the context closes it."""
        ...


class WebSocketTransport:
    """Speaks WebSocket over TCP or TLS."""

    @asynccontextmanager
    async def connect(self, url: str, max_frame_bytes: int) -> AsyncIterator[Connection]:
        async with trio.open_nursery() as nursery:
            socket = await self._open(nursery, url, max_frame_bytes)
            try:
                yield _WebSocket(socket)
            finally:
                # A connection that was cancelled in mid-send is broken: close it politely, but not for long.
                with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_TIMEOUT_S):
                    await socket.aclose()
                nursery.cancel_scope.cancel()

    async def _open(
        self, nursery: trio.Nursery, url: str, max_frame_bytes: int
    ) -> "trio_websocket.WebSocketConnection":
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                return await trio_websocket.connect_websocket_url(
                    nursery, url, message_queue_size=1, max_message_size=max_frame_bytes
                )
        except trio.TooSlowError as error:
            raise ExchangeDown("connect_timeout", f"{url} did not answer in {CONNECT_TIMEOUT_S:g} s") from error
        except trio_websocket.ConnectionRejected as error:
            raise ExchangeDown("refused", f"{url} answered {error.status_code}") from error
        except (OSError, trio_websocket.HandshakeError) as error:
            raise ExchangeDown("connect", f"{url}: {error}") from error


class _WebSocket:
    def __init__(self, socket: "trio_websocket.WebSocketConnection") -> None:
        self._socket = socket

    async def send(self, text: str) -> None:
        try:
            with trio.fail_after(SEND_TIMEOUT_S):
                await self._socket.send_message(text)
        except trio.TooSlowError as error:
            raise ExchangeDown("send_timeout", f"no room to send for {SEND_TIMEOUT_S:g} s") from error
        except trio_websocket.ConnectionClosed as error:
            raise _down(error) from error

    async def receive(self) -> str | bytes:
        try:
            message: str | bytes = await self._socket.get_message()
        except trio_websocket.ConnectionClosed as error:
            raise _down(error) from error
        return message


def _down(error: "trio_websocket.ConnectionClosed") -> ExchangeDown:
    close = error.reason
    if close is None:
        return ExchangeDown("reset", "the connection ended without a close frame")
    return ExchangeDown(_REASONS.get(close.code, "closed"), f"code {close.code} {close.reason or ''}".strip())
