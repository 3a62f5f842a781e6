"""The live sessions, as the server sees them."""

from ssmd.gateway.live.handshake import RequestHead
from ssmd.gateway.live.parts import LiveParts
from ssmd.gateway.live.websocket import WebSocket, open_websocket
from ssmd.gateway.problems import Problem
from ssmd.gateway.web.transport import Transport


class LiveService:
    def __init__(self, parts: LiveParts) -> None:
        self._parts = parts
        self._is_draining = False

    async def open(self, transport: Transport, head: RequestHead) -> WebSocket:
        if self._is_draining:
            problem = Problem("unavailable", "the gateway restarts", "come back at once")
            problem.retry_after_s = 1
            raise problem
        return await open_websocket(transport.stream, head, transport.client[0], self._parts)

    def drain(self) -> None:
        self._is_draining = True
        self._parts.hub.dismiss("restart")
