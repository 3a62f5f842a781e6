"""Read one HTTP request head and write one answer; a WebSocket upgrade is only recognised here."""

from http.client import responses
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import h11
import trio
from msgspec import Struct

from ssmd.simulator.venue import Reply, Request

_HEAD_BYTES: Final = 16_384
_BODY_BYTES: Final = 65_536


class Head(Struct, frozen=True):
    """What was asked; `raw` is every byte read so far, for the WebSocket library to read again."""

    request: Request
    raw: bytes
    upgrade: bool
    handshake_fault: str | None


async def read_head(stream: trio.abc.ReceiveStream) -> Head:
    """Return the next request, its body (if any) read and forgotten.

    Raises h11.RemoteProtocolError for anything that is not HTTP/1.1, or too large, or ends early.
    """
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD_BYTES)
    raw = bytearray()
    asked: h11.Request | None = None
    while True:
        event = parser.next_event()
        if event is h11.NEED_DATA:
            chunk = await stream.receive_some(4096)
            raw += chunk
            parser.receive_data(bytes(chunk))
        elif isinstance(event, h11.Request):
            asked = event
        if asked is not None and (_is_upgrade(asked) or isinstance(event, h11.EndOfMessage)):
            return _head(asked, bytes(raw))
        if isinstance(event, h11.ConnectionClosed) or len(raw) > _HEAD_BYTES + _BODY_BYTES:
            raise h11.RemoteProtocolError("no complete request")


async def write_reply(stream: trio.SocketStream, reply: Reply) -> None:
    """Send the answer; the caller closes the connection after it."""
    lines = [
        f"HTTP/1.1 {reply.status} {responses.get(reply.status, 'Unknown')}",
        "Content-Type: application/json",
        f"Content-Length: {len(reply.body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in reply.headers),
    ]
    await stream.send_all("\r\n".join([*lines, "", ""]).encode() + reply.body)
    await stream.send_eof()


def _head(asked: h11.Request, raw: bytes) -> Head:
    target = urlsplit(asked.target.decode("ascii", "replace"))
    request = Request(asked.method.decode(), target.path, dict(parse_qsl(target.query)))
    upgrade = _is_upgrade(asked)
    return Head(request, raw, upgrade, _handshake_fault(asked) if upgrade else None)


def _is_upgrade(asked: h11.Request) -> bool:
    return _header(asked, b"upgrade").lower() == b"websocket"


def _handshake_fault(asked: h11.Request) -> str | None:
    """Say what is wrong with a handshake: trio-websocket would wait for ever instead of refusing it."""
    if asked.method != b"GET" or b"upgrade" not in _header(asked, b"connection").lower():
        return "a handshake is a GET with Connection: Upgrade"
    if _header(asked, b"sec-websocket-version") != b"13":
        return "Sec-WebSocket-Version must be 13"
    if not _header(asked, b"sec-websocket-key"):
        return "Sec-WebSocket-Key is missing"
    return None


def _header(asked: h11.Request, wanted: bytes) -> bytes:
    return next((value for name, value in asked.headers if name == wanted), b"")
