"""The listening sockets of the gateway, and what becomes of each connection.

Its first head decides: /subscribe as a WebSocket goes to the live sessions, everything else to the app.
"""

import errno
import socket
from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

import trio
from msgspec import Struct

from ssmd import metrics
from ssmd.clock import now_ns
from ssmd.errors import ConfigError
from ssmd.gateway.answers import raw_answer
from ssmd.gateway.live.handshake import RequestHead
from ssmd.gateway.problems import Problem
from ssmd.gateway.web.doors import DoorLimits, Doors, Guest
from ssmd.gateway.web.heads import read_head, subscription
from ssmd.gateway.web.http_connection import MAX_HEAD_BYTES, App, HttpConnection, HttpService
from ssmd.gateway.web.request_ids import request_id
from ssmd.gateway.web.tls import Certificates
from ssmd.gateway.web.transport import Patience, Transport, accept, say_last, tune
from ssmd.log import get_logger
from ssmd.supervisor import contain

BACKLOG: Final = 1024


class WebSocket(Protocol):
    async def serve(self) -> None:
        """Return when it has ended."""
        ...


class Subscriptions(Protocol):
    """The live sessions of /subscribe."""

    async def open(self, transport: Transport, head: RequestHead) -> WebSocket:
        """Return a WebSocket to serve. Raises Problem when it is refused; nothing has been sent then."""
        ...

    def drain(self) -> None:
        """Tell every session to close with 1012, those that come later too."""
        ...


class Listening:
    """Sockets that outlive the actor: while it restarts, new connections wait in them."""

    def __init__(self, sockets: Sequence[socket.socket], *, is_encrypted: bool = False) -> None:
        self.sockets = tuple(sockets)
        host, port = self.sockets[0].getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # where it can be reached from here
        self.url = f"http{'s' if is_encrypted else ''}://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        for each in self.sockets:
            each.close()


def listen_on(listen: str, *, is_encrypted: bool = False) -> Listening:
    """Open what `host:port` names; port 0 takes any free one. Raises ConfigError."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"[gateway] listen is {listen!r}; write host:port, for example 127.0.0.1:8080")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, int(port)))
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        fix = "choose another with --gateway-port" if error.errno == errno.EADDRINUSE else "change [gateway] listen"
        raise ConfigError(f"the gateway cannot listen on {listen}: {error.strerror or error}; {fix}") from error
    return Listening([opened], is_encrypted=is_encrypted)


class WebParts(Struct, frozen=True):
    """What the server connects. certificates: None serves without TLS."""

    app: App
    subscriptions: Subscriptions
    certificates: Certificates | None = None
    limits: DoorLimits = DoorLimits()
    patience: Patience = Patience()


class Web:
    """Accepts connections until drained; then requests are finished and sessions told to come back elsewhere."""

    def __init__(self, listening: Listening, parts: WebParts) -> None:
        self._listening = listening
        self._parts = parts
        self._patience = parts.patience
        self._doors = Doors(parts.limits)
        self._http = HttpService(parts.app, self._doors, parts.patience)
        self._draining = trio.Event()
        self._log = get_logger(actor="web")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as connections:
            listeners = [
                trio.SocketListener(trio.socket.from_stdlib_socket(each.dup())) for each in self._listening.sockets
            ]
            async with trio.open_nursery() as accepting:
                serve = partial(trio.serve_listeners, self._contained, listeners, handler_nursery=connections)
                await accepting.start(serve)
                task_status.started()
                await self._draining.wait()
                self._listening.close()  # from here on a client is refused at once, and tries another one
                accepting.cancel_scope.cancel()
            await self._end(connections)

    def drain(self) -> None:
        self._draining.set()

    async def _end(self, connections: trio.Nursery) -> None:
        connections.cancel_scope.deadline = trio.current_time() + self._patience.drain_s
        self._parts.subscriptions.drain()
        await self._http.drain()
        for guest in self._doors.waiting():
            guest.leave()

    async def _contained(self, stream: trio.SocketStream) -> None:
        await contain(partial(self._serve, stream), self._tell_bug)

    def _tell_bug(self, error: Exception) -> None:
        metrics.GATEWAY_BUGS.inc()
        self._log.error("connection_failed", error=type(error).__name__, exc_info=error)

    async def _serve(self, stream: trio.SocketStream) -> None:
        scope = trio.CancelScope()
        try:
            address = stream.socket.getpeername()[0]
            with scope, self._doors.inside(address, scope.cancel) as guest:
                tune(stream)
                transport = await accept(stream, self._parts.certificates, self._patience.handshake_s)
                await self._answer(transport, guest)
        except (trio.BrokenResourceError, trio.TooSlowError, trio.ClosedResourceError, OSError):
            return  # a client that went away or never got going: nobody is left to tell
        except Problem as problem:
            if self._parts.certificates is None:
                await say_last(stream, raw_answer(problem, request_id(now_ns())))
        finally:
            await trio.aclose_forcefully(stream)

    async def _answer(self, transport: Transport, guest: Guest) -> None:
        """Serve requests one after another; a WebSocket is the last thing on its connection."""
        try:
            websocket = await self._opened(transport, guest)
        except Problem as problem:
            await say_last(transport.stream, raw_answer(problem, request_id(now_ns())))
            return
        if websocket is not None:  # nothing of its request is kept while it lasts
            await websocket.serve()

    async def _opened(self, transport: Transport, guest: Guest) -> WebSocket | None:
        received = await read_head(transport.stream, b"", MAX_HEAD_BYTES, self._patience.head_s)
        head = subscription(received)
        if received and head is None:
            head = await HttpConnection(self._http, transport, guest).serve(received)
        if head is None:
            return None
        self._doors.is_served(guest)
        return await self._parts.subscriptions.open(transport, head)
