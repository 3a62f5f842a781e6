"""The first lines of a request, before anybody has looked at it: bounded in size and in time.

A client that sends its head slowly, or none, holds nothing but its own socket, and that not for long.
"""

from typing import Final

import h11
import trio

from ssmd.gateway.live.handshake import RequestHead
from ssmd.gateway.problems import Problem

HEAD_END: Final = b"\r\n\r\n"
SUBSCRIBE_PATH: Final = b"/subscribe"
CHUNK_BYTES: Final = 1 << 16
HEAD_CHUNK_BYTES: Final = 1 << 12
"""Most heads come in one. Whoever sends a byte at a time should not cost a large buffer each time."""


async def read_head(stream: trio.abc.ReceiveStream, received: bytes, max_bytes: int, within_s: float) -> bytes:
    """Return what was received as soon as it holds a whole head, with whatever came behind it.

    b"": the client went away. Raises Problem: head_too_large, head_too_slow.
    """
    collected = bytearray(received)
    with trio.move_on_after(within_s):
        while not _is_whole(collected, max_bytes):
            chunk = await stream.receive_some(HEAD_CHUNK_BYTES)
            if not chunk:
                return b""
            collected += chunk
        return bytes(collected)
    raise Problem("head_too_slow", f"the head of the request did not arrive within {within_s:g} s")


def _is_whole(collected: bytearray, max_bytes: int) -> bool:
    end = collected.find(HEAD_END)
    if end > max_bytes or (end < 0 and len(collected) > max_bytes):
        raise Problem("head_too_large", f"the head of a request may have {max_bytes} bytes")
    return end >= 0


def subscription(received: bytes) -> RequestHead | None:
    """Return the request if it asks for the WebSocket of /subscribe, None for any other, also for what is no HTTP."""
    if b"websocket" not in received[: received.find(HEAD_END)].lower():
        return None
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(received))
    connection.receive_data(received)
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(request, h11.Request) or not _asks_for_websocket(request):
        return None
    return RequestHead(request.method, request.target, tuple(request.headers), received.partition(HEAD_END)[2])


def _asks_for_websocket(request: h11.Request) -> bool:
    is_upgrade = any(name == b"upgrade" and value.strip().lower() == b"websocket" for name, value in request.headers)
    return is_upgrade and request.method == b"GET" and request.target.partition(b"?")[0] == SUBSCRIBE_PATH
