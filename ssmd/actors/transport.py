"""The seam to the exchange's socket, and its first form: trio-websocket."""

import ssl
from codecs import IncrementalDecoder
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol
from urllib.parse import urlsplit

import trio
import trio_websocket  # noqa: TID251  # this file is the exchange transport
from wsproto.frame_protocol import MessageDecoder

from ssmd.actors.dialing import dial
from ssmd.errors import ExchangeDown

Tcp = trio.SocketStream | trio.SSLStream[trio.SocketStream]

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
    """Speaks WebSocket over TCP or TLS, with who was asked for alone: no redirect is followed.

    private_hosts: the hosts that may have a private address; others may not.
    """

    def __init__(self, private_hosts: Collection[str] = ()) -> None:
        self._private_hosts = private_hosts

    @asynccontextmanager
    async def connect(self, url: str, max_frame_bytes: int) -> AsyncIterator[Connection]:
        stream = await self._dial(url)
        try:
            async with trio.open_nursery() as nursery:
                socket = await self._shake_hands(nursery, stream, url, max_frame_bytes)
                _keep_bad_text(socket)
                try:
                    yield _WebSocket(socket)
                finally:
                    # Close politely, but not for long: a connection cancelled in mid-send is broken anyway.
                    with trio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
                        await socket.aclose()
                    nursery.cancel_scope.cancel()
        except* trio_websocket.ConnectionRejected as refused:  # the task that reads raises it, not who waits for it
            raise ExchangeDown("refused", f"{url} answered {_status(refused)}") from refused
        finally:
            # trio-websocket leaves the socket open after a refused handshake, a reset or bad UTF-8.
            await trio.aclose_forcefully(stream)

    async def _dial(self, url: str) -> Tcp:
        parts = urlsplit(url)
        is_tls = parts.scheme == "wss"
        host, port = parts.hostname or "", parts.port or (443 if is_tls else 80)
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                tcp = await dial(host, port, self._private_hosts)
                return await _encrypted(tcp, host) if is_tls else tcp
        except trio.TooSlowError as error:
            raise ExchangeDown("connect_timeout", f"{url} did not answer in {CONNECT_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise ExchangeDown("connect", f"{url}: {error}") from error
        except trio.BrokenResourceError as error:
            raise ExchangeDown("tls", f"{url}: {error.__cause__ or error}") from error

    async def _shake_hands(
        self, nursery: trio.Nursery, stream: Tcp, url: str, max_frame_bytes: int
    ) -> "trio_websocket.WebSocketConnection":
        parts = urlsplit(url)
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                return await trio_websocket.wrap_client_stream(
                    nursery,
                    stream,
                    parts.netloc,
                    resource,
                    message_queue_size=1,
                    max_message_size=max_frame_bytes,
                )
        except trio.TooSlowError as error:
            raise ExchangeDown("connect_timeout", f"{url} did not answer in {CONNECT_TIMEOUT_S:g} s") from error
        except (OSError, trio.BrokenResourceError, trio_websocket.HandshakeError) as error:
            raise ExchangeDown("connect", f"{url}: {error}") from error


async def _encrypted(tcp: trio.SocketStream, host: str) -> Tcp:
    """Return the stream once its certificate is known to be of the host. Raises trio.BrokenResourceError.

    Here and not with the first byte: trio-websocket would only wait for an answer that cannot come.
    """
    tls = trio.SSLStream(tcp, ssl.create_default_context(), server_hostname=host, https_compatible=True)
    try:
        await tls.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(tls)
        raise
    return tls


def _status(refused: BaseException) -> int | None:
    """Return the HTTP status of a refused handshake."""
    while isinstance(refused, BaseExceptionGroup):
        refused = refused.exceptions[0]
    return refused.status_code if isinstance(refused, trio_websocket.ConnectionRejected) else None


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
        return message if isinstance(message, bytes) or message.isascii() else _exact(message)


class _KeepingDecoder(MessageDecoder):
    """Decodes text that is not UTF-8 with escapes instead of failing, so that it can be kept."""

    @property
    def decoder(self) -> IncrementalDecoder | None:
        return self._decoder

    @decoder.setter
    def decoder(self, made: IncrementalDecoder | None) -> None:
        if made is not None:
            made.errors = "surrogateescape"
        self._decoder = made


def _keep_bad_text(socket: "trio_websocket.WebSocketConnection") -> None:
    """Let the connection survive a text frame that is not UTF-8.

    The protocol demands to fail the connection, and so loses the frame and what follows. Here every frame is kept, and
    whoever reads it decides. Private names: a test of ours fails when they change.
    """
    connection = socket._wsproto.connection  # noqa: SLF001
    if connection is not None:
        connection._proto._message_decoder = _KeepingDecoder()  # noqa: SLF001


def _exact(text: str) -> str | bytes:
    """Return the text, or the very bytes received where they are no text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def _down(error: "trio_websocket.ConnectionClosed") -> ExchangeDown:
    close = error.reason
    if close is None:
        return ExchangeDown("reset", "the connection ended without a close frame")
    return ExchangeDown(_REASONS.get(close.code, "closed"), f"code {close.code} {close.reason or ''}".strip())
