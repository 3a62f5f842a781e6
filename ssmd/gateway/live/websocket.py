"""GET /subscribe as a WebSocket: from the request to the last byte.

The server hands a connection over here once it has read the head of such a request. Nothing is sent before all that
an HTTP answer can say has been decided.
"""

from typing import Final

import trio

from ssmd.gateway.access import Principal
from ssmd.gateway.live.handshake import Asked, RequestHead, accept, check_origin, device_of, key_of, parse_target
from ssmd.gateway.live.hub import Hub
from ssmd.gateway.live.line import Line
from ssmd.gateway.live.parts import ArchiveReader, LiveParts
from ssmd.gateway.live.session import Caller, LiveSession
from ssmd.gateway.problems import Problem

__all__ = ["ArchiveReader", "LiveParts", "RequestHead", "WebSocket", "open_websocket"]

HANDSHAKE_WITHIN_S: Final = 5.0


class WebSocket:
    """A connection that has been answered with 101. It knows nothing more of its request than it needs."""

    __slots__ = ("_line", "_session", "_stream")

    def __init__(self, stream: trio.abc.Stream, line: Line, session: LiveSession) -> None:
        self._stream = stream
        self._line = line
        self._session = session

    async def serve(self) -> None:
        """Own the connection to its end, and close it. To end all of a draining server: `parts.hub.dismiss("restart")`."""
        try:
            async with trio.open_nursery() as nursery:
                self._line.write_in(nursery)
                nursery.start_soon(self._session.run)
                await self._session.keep_time()
                await self._line.say_goodbye()
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(self._stream)


async def open_websocket(stream: trio.abc.Stream, head: RequestHead, ip_address: str, parts: LiveParts) -> WebSocket:
    """Answer a request with 101 and return what is to be served then.

    Raises Problem when the request is refused; nothing has been sent then, the stream is open, and the server answers
    as it does to any request. Raises BrokenResourceError and TooSlowError for a client that does not take the answer.
    """
    asked = parse_target(head.target)
    check_origin(head, parts.origins)
    answer = accept(head)
    principal = await _principal(head, asked, ip_address, parts)
    await _settled(parts.hub)
    with trio.fail_after(HANDSHAKE_WITHIN_S):
        await stream.send_all(answer)
    line = Line(stream, asked.slow, head.received)
    caller = Caller(device_of(head, ip_address), principal, asked.subscribe)
    return WebSocket(stream, line, LiveSession(line, caller, parts))


async def _principal(head: RequestHead, asked: Asked, ip_address: str, parts: LiveParts) -> Principal | None:
    """Return who asks; None when the first message will tell. Raises Problem."""
    key = key_of(head)
    if key:
        return await parts.doorkeeper.authenticate(key, ip_address)
    return parts.tickets.redeem(asked.ticket) if asked.ticket else None


async def _settled(hub: Hub) -> None:
    with trio.move_on_after(HANDSHAKE_WITHIN_S):
        await hub.settled()
        return
    problem = Problem("unavailable", "the live stream cannot be reached", "come back in some seconds")
    problem.retry_after_s = 5
    raise problem
