"""A gateway's live half around fakes: a bus in memory, a doorkeeper and a meter that are ordinary classes."""

import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Self

import h11
import trio
from msgspec.structs import replace
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection, RejectData, Request, TextMessage
from wsproto.events import Ping as WirePing

from ssmd.bus.base import BusDialer, Outgoing, StreamSpec
from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.clock import NS_PER_S
from ssmd.codec import marketdata
from ssmd.gateway.access import CloseReason, Device, Grant, Limits, Principal, Series
from ssmd.gateway.history.quality import Window
from ssmd.gateway.live.hub import Hub
from ssmd.gateway.live.hub_reader import HubReader
from ssmd.gateway.live.resume import Rewinder
from ssmd.gateway.live.tickets import Tickets
from ssmd.gateway.live.websocket import LiveParts, RequestHead, open_websocket
from ssmd.gateway.problems import Problem
from ssmd.model import Book, Event, Quote, Trade, message_id, type_of
from ssmd.supervisor import Backoff, ChildSpec, HealthBoard, Strategy, Supervisor

START_NS = 1_765_029_600 * NS_PER_S
STREAM = StreamSpec("marketdata", ("md.>",), max_bytes=100_000_000, max_age_s=86_400)
ALL = Grant("kraken", ("*",))
KEY = "ssmd_testtest_0123456789abcdef"


def virtual_now_ns() -> int:
    return START_NS + int(trio.current_time() * NS_PER_S)


def trade(seq: int, symbol: str = "BTCUSD", conn: str = "k-0-1") -> Trade:
    at_ns = START_NS + seq * 1_000_000
    return Trade("kraken", symbol, at_ns, conn, seq, 0, at_ns - 5, "60000.1", "0.01", "buy", str(seq))


def quote(seq: int, symbol: str = "BTCUSD", conn: str = "k-0-1") -> Quote:
    at_ns = START_NS + seq * 1_000_000
    return Quote("kraken", symbol, at_ns, conn, seq, 0, at_ns - 5, "60000", "1.5", "60000.2", "0.5")


def book(seq: int, symbol: str = "BTCUSD", conn: str = "k-0-1", depth: int = 10) -> Book:
    at_ns = START_NS + seq * 1_000_000
    bids, asks = (tuple((str(60000 + sign * i), "1.25") for i in range(depth)) for sign in (-1, 1))
    return Book("kraken", symbol, at_ns, conn, seq, 0, at_ns - 5, bids, asks)


def outgoing(event: Event) -> Outgoing:
    subject = f"md.{event.feed}.{type_of(event)}.{event.symbol}"
    return Outgoing(subject, marketdata.encode(event), message_id(event))


class FakeSession:
    def __init__(self, session_id: str, principal: Principal, on_change, on_close) -> None:
        self.session_id = session_id
        self.principal = principal
        self.on_change: Callable[[Principal], None] = on_change
        self.on_close: Callable[[CloseReason], None] = on_close


class FakeDoorkeeper:
    """Knows the keys that a test has given out."""

    def __init__(self) -> None:
        self.by_key: dict[str, Principal] = {}
        self.sessions: list[FakeSession] = []
        self._ids = itertools.count(1)

    def admit(self, client_id: str, *grants: Grant, key: str = KEY, limits: Limits = Limits()) -> str:  # noqa: B008
        self.by_key[key] = Principal(client_id, "non-display", grants or (ALL,), limits)
        return key

    def change(self, key: str, *grants: Grant) -> None:
        """Give a client other grants; its sessions are told at once."""
        before = self.by_key[key]
        after = self.by_key[key] = replace(before, grants=grants, revision=before.revision + 1)
        for session in [one for one in self.sessions if one.principal.client_id == after.client_id]:
            session.principal = after
            session.on_change(after)

    async def authenticate(self, key: str, ip_address: str) -> Principal:
        del ip_address
        await trio.lowlevel.checkpoint()
        if key not in self.by_key:
            raise Problem("invalid_key", "this key does not count")
        return self.by_key[key]

    @asynccontextmanager
    async def session(self, principal: Principal, device: Device, on_change, on_close) -> AsyncIterator[FakeSession]:
        del device
        if sum(one.principal.client_id == principal.client_id for one in self.sessions) >= principal.limits.devices:
            raise Problem("rate_limited", f"at most {principal.limits.devices} devices")
        session = FakeSession(f"s-{next(self._ids)}", principal, on_change, on_close)
        self.sessions.append(session)
        try:
            yield session
        finally:
            self.sessions.remove(session)


class FakeMeter:
    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Series]] = Counter()

    def count(self, principal: Principal, series: Series, messages: int) -> None:
        self.counts[principal.client_id, series] += messages

    def of(self, client_id: str) -> int:
        return sum(n for (client, _), n in self.counts.items() if client == client_id)


class FakeCatalog:
    def __init__(self, *symbols: str) -> None:
        self.symbols = symbols

    def series(self) -> list[Series]:
        return [Series("kraken", kind, symbol) for symbol in self.symbols for kind in ("trade", "quote", "book")]


class FakeArchive:
    def __init__(self) -> None:
        self.stored: list[Event] = []
        self.missing: list[Window] = []

    async def events(self, series: Collection[Series], start_ns: int, end_ns: int):
        for event in self.stored:
            await trio.lowlevel.checkpoint()
            if Series(event.feed, type_of(event), event.symbol) in series and start_ns <= event.recv_ns < end_ns:
                yield event

    async def windows(self, series: Collection[Series], start_ns: int, end_ns: int) -> list[Window]:
        await trio.lowlevel.checkpoint()
        symbols = {one.symbol for one in series}
        concerned = [one for one in self.missing if not one.symbols or symbols.intersection(one.symbols)]
        return [one for one in concerned if one.start_ns < end_ns and start_ns <= (one.end_ns or end_ns)]


class World:
    """Sessions served over TCP or over streams in memory, and the bus that they listen to."""

    def __init__(self, dialer: BusDialer | None = None, spec: StreamSpec = STREAM) -> None:
        self.spec = spec
        self.broker = MemoryBroker(virtual_now_ns)
        self.dialer = dialer or MemoryDialer(self.broker)
        self.doorkeeper = FakeDoorkeeper()
        self.meter = FakeMeter()
        self.archive = FakeArchive()
        self.catalog = FakeCatalog("BTCUSD", "ETHUSD", "SOLUSD")
        self.problems: list[Problem] = []
        self.restart_gateway()

    def restart_gateway(self) -> None:
        """Be a gateway that has just been started: it remembers nothing."""
        hub = Hub()
        rewinder = Rewinder(hub, self.dialer, self.spec.name, virtual_now_ns)
        self.parts = LiveParts(
            hub, rewinder, self.doorkeeper, self.meter, self.catalog, self.archive, Tickets(trio.current_time),
            frozenset({"https://charts.example"}), virtual_now_ns,
        )  # fmt: skip

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        async with self.dialer.connect() as bus:
            await bus.ensure_stream(self.spec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.feed_hub)
            yield self
            nursery.cancel_scope.cancel()

    async def feed_hub(self) -> None:
        hub, board = self.parts.hub, HealthBoard()
        spec = ChildSpec("hub", lambda: HubReader(hub, self.dialer, self.spec.name, board), Backoff(0.05, cap_s=0.5))
        await Supervisor("gateway", Strategy.ONE_FOR_ONE, [spec]).run()

    async def publish(self, *events: Event) -> int:
        async with self.dialer.connect() as bus:
            return (await bus.publish([outgoing(event) for event in events])).last_stream_seq

    async def serve(self, stream: trio.SocketStream) -> None:
        """Be the server in front: read a head, hand over, answer what is refused."""
        head = await read_head(stream)
        try:
            websocket = await open_websocket(stream, head, "127.0.0.1", self.parts)
        except Problem as problem:
            self.problems.append(problem)
            await stream.send_all(f"HTTP/1.1 {problem.status} No\r\nContent-Length: 0\r\n\r\n".encode())
            await stream.aclose()
        else:
            await websocket.serve()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Give the port of a real socket; the clients that `dial` makes are closed at the end."""
        async with trio.open_nursery() as nursery, AsyncExitStack() as self.dialed:
            listeners = await nursery.start(partial(trio.serve_tcp, self.serve, 0, host="127.0.0.1"))
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()

    async def dial(self, port: int, query: str, *, receive_bytes: int | None = None) -> "Client":
        """Connect over TCP. receive_bytes: what the client's kernel holds for it."""
        socket = trio.socket.socket()
        if receive_bytes is not None:
            socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, receive_bytes)
        await socket.connect(("127.0.0.1", port))
        stream = await self.dialed.enter_async_context(trio.SocketStream(socket))
        return await Client(stream).connected(f"/subscribe{query}", {"authorization": f"Bearer {KEY}"})

    @asynccontextmanager
    async def client(self, query: str = "", **headers: str) -> AsyncIterator["Client"]:
        """Connect over a stream in memory, so that the clock may be virtual."""
        near, far = trio.testing.memory_stream_pair()
        headers = headers or {"authorization": f"Bearer {KEY}"}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.serve, far)
            yield await Client(near).connected(f"/subscribe{query}", headers)
            nursery.cancel_scope.cancel()


async def read_head(stream: trio.abc.Stream) -> RequestHead:
    connection = h11.Connection(h11.SERVER)
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await stream.receive_some())
    assert isinstance(event, h11.Request)
    return RequestHead(event.method, event.target, tuple(event.headers), connection.trailing_data[0])


class Client:
    """A WebSocket client that does nothing by itself: it reads when told to."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.wire = WSConnection(ConnectionType.CLIENT)
        self.messages: list[dict] = []
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self.pings = 0
        self.answers_pings = True
        self.refused_with: int | None = None

    async def connected(self, target: str, headers: dict[str, str]) -> Self:
        named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await self.stream.send_all(self.wire.send(Request("gateway", target, extra_headers=named)))
        while self.wire.connection is None and self.refused_with is None:
            await self.read_some()
        return self

    async def read_some(self) -> None:
        data = await self.stream.receive_some()
        self.wire.receive_data(data or None)
        for event in self.wire.events():
            match event:
                case TextMessage():
                    self._text = getattr(self, "_text", "") + event.data
                    if event.message_finished:
                        self.messages.append(json.loads(self._text))
                        self._text = ""
                case CloseConnection():
                    self.close_code, self.close_reason = int(event.code), event.reason
                    if event.code != 1006 and self.wire.state.name == "REMOTE_CLOSING":
                        await self.stream.send_all(self.wire.send(event.response()))
                case RejectConnection():
                    self.refused_with = event.status_code
                case WirePing():
                    self.pings += 1
                    if self.answers_pings:
                        await self.stream.send_all(self.wire.send(event.response()))
                case AcceptConnection() | RejectData():
                    pass

    async def say(self, text: str | None = None, **command: object) -> None:
        data = json.dumps(command) if text is None else text
        await self.stream.send_all(self.wire.send(TextMessage(data)))

    async def until(self, done: Callable[[dict], bool]) -> dict:
        """Return the first message, of those read already or to come, that fits; what was before it is dropped."""
        while True:
            for at, message in enumerate(self.messages):
                if done(message):
                    del self.messages[: at + 1]
                    return message
            self.messages.clear()
            assert self.close_code is None, (self.close_code, self.close_reason)
            await self.read_some()

    async def next_of(self, *types: str) -> dict:
        return await self.until(lambda message: message["type"] in types)

    async def events(self, count: int) -> list[dict]:
        return [await self.next_of("trade", "quote", "book") for _ in range(count)]

    async def closed(self) -> int:
        while self.close_code is None:
            await self.read_some()
        return self.close_code


def ids(messages: Sequence[dict]) -> list[int]:
    return [int(message["id"].split("/")[2]) for message in messages]
