"""Ordinary classes behind the gateway's seams."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import httpx
import trio
from quart import Blueprint

from ssmd.gateway.access import CloseReason, Device, Grant, Limits, Principal, SessionHandle
from ssmd.gateway.live.handshake import RequestHead
from ssmd.gateway.problems import Problem
from ssmd.gateway.routes.meta import MetaParts, meta_routes
from ssmd.gateway.web.app import AppParts, make_app
from ssmd.gateway.web.doors import DoorLimits
from ssmd.gateway.web.server import Web, WebParts, listen_on
from ssmd.gateway.web.tls import Certificates
from ssmd.gateway.web.transport import Patience, Transport
from ssmd.supervisor import HealthBoard

KEY = "ssmd_AAAAAAAA_reader-of-everything"
ADMIN_KEY = "ssmd_ADMIN000_administrator"
READER = Principal("reader", "display", (Grant("kraken", ("*",)),))
ADMIN = Principal("admin", "non-display", is_admin=True)


class FakeDoorkeeper:
    """Knows two keys. tries: (key, address) of each."""

    def __init__(self, limits: Limits | None = None) -> None:
        reader = READER if limits is None else Principal("reader", "display", READER.grants, limits)
        self.principals = {KEY: reader, ADMIN_KEY: ADMIN}
        self.tries: list[tuple[str, str]] = []

    async def authenticate(self, key: str, ip_address: str) -> Principal:
        await trio.lowlevel.checkpoint()
        self.tries.append((key, ip_address))
        if key not in self.principals:
            raise Problem("invalid_key", "this key does not count")
        return self.principals[key]

    def session(
        self,
        principal: Principal,
        device: Device,
        on_change: Callable[[Principal], None],
        on_close: Callable[[CloseReason], None],
    ):
        del device, on_change, on_close
        return _session(principal)


@asynccontextmanager
async def _session(principal: Principal) -> AsyncIterator[SessionHandle]:
    class Handle:
        session_id = "s-1"

        @property
        def principal(self) -> Principal:
            return principal

    yield Handle()


class FakeSubscriptions:
    """Answers a handshake with 101 in one line, then says back what it hears until drained."""

    def __init__(self) -> None:
        self.handshakes: list[RequestHead] = []
        self._drained = trio.Event()

    async def open(self, transport: Transport, head: RequestHead) -> "FakeWebSocket":
        self.handshakes.append(head)
        self.transport = transport
        if head.header(b"origin"):
            raise Problem("origin_refused", "not from there")
        await transport.stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        return FakeWebSocket(transport, self._drained)

    def drain(self) -> None:
        self._drained.set()


class FakeWebSocket:
    def __init__(self, transport: Transport, drained: trio.Event) -> None:
        self._stream = transport.stream
        self._drained = drained

    async def serve(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._say_goodbye, nursery.cancel_scope)
            while heard := await self._stream.receive_some():
                await self._stream.send_all(heard)
            nursery.cancel_scope.cancel()

    async def _say_goodbye(self, scope: trio.CancelScope) -> None:
        await self._drained.wait()
        await self._stream.send_all(b"1012")
        scope.cancel()


class Gateway:
    """A whole server in this process, with routes of the test's own."""

    def __init__(
        self,
        *routes: Blueprint,
        doorkeeper: FakeDoorkeeper | None = None,
        certificates: Certificates | None = None,
        limits: DoorLimits | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.board = HealthBoard()
        self.doorkeeper = doorkeeper or FakeDoorkeeper()
        self.subscriptions = FakeSubscriptions()
        meta = meta_routes(MetaParts(self.board, self.doorkeeper))
        app = make_app(AppParts(self.doorkeeper, (meta, *routes)))
        self.listening = listen_on("127.0.0.1:0", is_encrypted=certificates is not None)
        self.url = self.listening.url
        self.port = int(self.url.rpartition(":")[2])
        parts = WebParts(app, self.subscriptions, certificates, limits or DoorLimits(), patience or Patience())
        self.web = Web(self.listening, parts)

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)


@asynccontextmanager
async def serving(*routes: Blueprint, **words) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    """Give a running gateway and a client without a key."""
    gateway = Gateway(*routes, **words)
    with closing(gateway.listening):
        async with trio.open_nursery() as nursery:
            await nursery.start(gateway.web.run)
            async with httpx.AsyncClient(base_url=gateway.url, timeout=5, verify=False) as client:  # noqa: S501
                yield gateway, client
            nursery.cancel_scope.cancel()


def bearer(key: str = KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
