"""Accept connections, route them, and do to them what faults ask for. Knows no exchange."""

import itertools
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import h11
import msgspec
import trio
from msgspec import Struct
from trio_websocket import (  # noqa: TID251  the simulator is one of the two places that speak WebSocket
    ConnectionClosed,
    wrap_server_stream,
)
from wsproto.utilities import ProtocolError

from ssmd.clock import NowNs
from ssmd.errors import ConfigError
from ssmd.simulator.config import SimulatorConfig
from ssmd.simulator.faults import Fault, parse_injection
from ssmd.simulator.gate import Gate
from ssmd.simulator.http import Head, read_head, write_reply
from ssmd.simulator.ledger import FLUSH_EVERY_S, Ledger
from ssmd.simulator.session import Session, SessionSummary
from ssmd.simulator.venue import Client, Reply, Request, Venue
from ssmd.simulator.wire import Wire

_ENDED_KEPT: Final = 1000
_MAINTENANCES_PLANNED: Final = 16
_SERVICE_RESTART: Final = 1012


class LimitsBroken(Struct, frozen=True):
    """How often clients broke a limit of the venue: 0 for a well-behaved one."""

    connects: int
    requests: int


class LedgerSummary(Struct, frozen=True):
    connections: list[SessionSummary]
    limits_broken: LimitsBroken


class Server:
    def __init__(self, config: SimulatorConfig, venue: Venue, ledger: Ledger, now_ns: NowNs) -> None:
        self._config = config
        self._venue = venue
        self._ledger = ledger
        self._now_ns = now_ns
        self._gate = Gate(config.connects_per_window, config.connect_window_s)
        self._conns = itertools.count()
        self._sessions: dict[int, Session] = {}
        self._ended: deque[SessionSummary] = deque(maxlen=_ENDED_KEPT)
        self._maintenances, self._maintenances_due = trio.open_memory_channel[Fault](_MAINTENANCES_PLANNED)

    async def run(self) -> None:
        """Keep market, ledger and faults going until cancelled; connections come through `converse`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._venue.run)
            nursery.start_soon(self._flush_ledger)
            nursery.start_soon(self._maintain)
            for fault in self._config.faults:
                nursery.start_soon(self._inject_later, fault)

    async def converse(self, stream: trio.SocketStream) -> None:
        """Serve one connection to its end. A client can break its own connection, never the server."""
        async with stream:
            try:
                await self._route(stream)
            except* (ConnectionClosed, ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            except* (h11.RemoteProtocolError, trio.TooSlowError, OSError):
                pass

    def inject(self, fault: Fault) -> None:
        """Do a fault now. Raises ConfigError if the venue does not know its symbol."""
        sessions = list(self._sessions.values())
        match fault.name:
            case "drop":
                for session in sessions:
                    session.drop("fault drop")
            case "close":
                for session in sessions:
                    session.hang_up(int(fault.number()), "fault close")
            case "stall":
                for session in sessions:
                    session.stall(fault.number())
            case "refuse_connects":
                self._gate.close(trio.current_time(), fault.number(), int(fault.number(1)))
            case "maintenance":
                self._plan_maintenance(fault)
            case _:
                self._venue.inject(fault)

    def _plan_maintenance(self, fault: Fault) -> None:
        try:
            self._maintenances.send_nowait(fault)
        except trio.WouldBlock:
            raise ConfigError(f"{_MAINTENANCES_PLANNED} maintenances are planned already") from None

    def summary(self) -> LedgerSummary:
        open_ones = [session.summary() for session in self._sessions.values()]
        connections = sorted([*self._ended, *open_ones], key=lambda one: one.conn)
        too_fast = sum(one.too_fast for one in connections)
        return LedgerSummary(connections, LimitsBroken(self._gate.limit_broken, too_fast))

    async def _route(self, stream: trio.SocketStream) -> None:
        try:
            with trio.fail_after(self._config.head_timeout_s):
                head = await read_head(stream)
        except h11.RemoteProtocolError as error:
            await self._reply(stream, Reply(400, msgspec.json.encode({"error": [str(error)]})))
            return
        if not head.upgrade:
            await self._reply(stream, self._answer(head.request))
            return
        refusal = self._refusal(head, stream)
        if refusal is not None:
            await self._reply(stream, refusal)
            return
        await self._speak(stream, head.raw)

    async def _reply(self, stream: trio.SocketStream, reply: Reply) -> None:
        with trio.fail_after(self._config.head_timeout_s):
            await write_reply(stream, reply)

    def _refusal(self, head: Head, stream: trio.SocketStream) -> Reply | None:
        if head.request.path != self._venue.path:
            return Reply(404)
        if head.handshake_fault is not None:
            return Reply(400, msgspec.json.encode({"error": [head.handshake_fault]}))
        address = str(stream.socket.getpeername()[0])
        refused = self._gate.knock(address, trio.current_time())
        if refused is None:
            return None
        return Reply(refused.status, b"", (("Retry-After", str(math.ceil(refused.retry_after_s))),))

    async def _speak(self, stream: trio.SocketStream, raw: bytes) -> None:
        wire = Wire(stream, raw)
        async with trio.open_nursery() as nursery:
            with trio.fail_after(self._config.head_timeout_s):
                proposal = await wrap_server_stream(nursery, wire)
                socket = await proposal.accept()
            async with self._joined(wire) as (session, client):
                nursery.start_soon(session.write, socket, self._now_ns)
                nursery.start_soon(session.close_when_asked, socket)
                nursery.start_soon(self._beat, client)
                await session.listen(socket, client.receive)

    @asynccontextmanager
    async def _joined(self, wire: Wire) -> AsyncIterator[tuple[Session, Client]]:
        session = Session(next(self._conns), wire, self._ledger, self._config.queue_bytes)
        self._sessions[session.conn] = session
        client = self._venue.join(session)
        try:
            yield session, client
        finally:
            client.leave()
            session.leave()
            del self._sessions[session.conn]
            self._ended.append(session.summary())

    async def _beat(self, client: Client) -> None:
        due_s = trio.current_time()
        while True:
            due_s += self._config.heartbeat_interval_s
            await trio.sleep_until(due_s)
            client.heartbeat()

    def _answer(self, request: Request) -> Reply:
        match request.method, request.path:
            case "POST", "/sim/faults":
                return self._inject_asked(request.query.get("fault", ""))
            case "GET", "/sim/ledger-summary":
                return Reply(200, msgspec.json.encode(self.summary()))
            case "GET", "/sim/books":
                levels = request.query.get("levels", "10")
                return Reply(200, msgspec.json.encode(self._venue.books(int(levels) if levels.isdecimal() else 10)))
        return self._venue.answer(request) or Reply(404, b'{"error":["EGeneral:Unknown method"]}')

    def _inject_asked(self, text: str) -> Reply:
        try:
            self.inject(parse_injection(text))
        except ConfigError as error:
            return Reply(400, msgspec.json.encode({"error": [str(error)]}))
        return Reply(200, b'{"error":[]}')

    async def _inject_later(self, fault: Fault) -> None:
        await trio.sleep(fault.at_s)
        self.inject(fault)

    async def _maintain(self) -> None:
        async for fault in self._maintenances_due:
            self._venue.maintain("announced")
            await trio.sleep(fault.number(1))
            self._venue.maintain("begun")
            self._gate.close(trio.current_time(), fault.number(), 503)
            for session in list(self._sessions.values()):
                session.hang_up(_SERVICE_RESTART, "maintenance")
            await trio.sleep(fault.number())
            self._venue.maintain("over")

    async def _flush_ledger(self) -> None:
        while True:
            await trio.sleep(FLUSH_EVERY_S)
            self._ledger.flush()
