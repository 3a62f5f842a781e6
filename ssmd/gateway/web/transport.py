"""The bytes of one connection, encrypted or not, and how to end it so that the last word still arrives."""

import socket
from contextlib import suppress
from typing import Final

import trio
from msgspec import Struct

from ssmd.gateway.web.tls import Certificates

USER_TIMEOUT_MS: Final = 30_000
"""What was sent and is not acknowledged for so long ends the connection: its client is gone, or does not read."""
LINGER_S: Final = 1.0
LINGER_BYTES: Final = 1 << 16


class Patience(Struct, frozen=True):
    """How long is waited for a client, in seconds.

    handshake: of TLS. head: for the whole head of a request. idle: between two requests. send: for one write to a client that does not
    read. drain: for requests and sessions that are still there when the gateway ends.
    """

    handshake_s: float = 5.0
    head_s: float = 5.0
    idle_s: float = 60.0
    send_s: float = 30.0
    drain_s: float = 15.0


class Transport(Struct, frozen=True):
    """client, server: (address, port)."""

    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]
    client: tuple[str, int]
    server: tuple[str, int]
    is_encrypted: bool = False


def tune(stream: trio.SocketStream) -> None:
    """Set what a connection of ours needs: small messages go out at once, a dead peer is noticed."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


async def accept(stream: trio.SocketStream, certificates: Certificates | None, within_s: float) -> Transport:
    """Return the connection, after the TLS handshake where there is one.

    Raises BrokenResourceError for a client that cannot do it, TooSlowError for one that does not get on with it.
    """
    client, server = stream.socket.getpeername()[:2], stream.socket.getsockname()[:2]
    if certificates is None:
        return Transport(stream, client, server)
    encrypted = trio.SSLStream(stream, certificates.context(), server_side=True, https_compatible=True)
    with trio.fail_after(within_s):
        await encrypted.do_handshake()
    return Transport(encrypted, client, server, is_encrypted=True)


async def end_writing(stream: trio.abc.Stream) -> None:
    """Tell the client that nothing more comes. TLS has no such word of its own: there it is told by closing."""
    if isinstance(stream, trio.SocketStream):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            await stream.send_eof()


async def say_last(stream: trio.abc.Stream, words: bytes) -> None:
    """Send and end, and read for a moment what the client is still sending: else the kernel takes our words back."""
    with trio.move_on_after(LINGER_S), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await stream.send_all(words)
        await end_writing(stream)
        while await stream.receive_some(LINGER_BYTES):
            pass
