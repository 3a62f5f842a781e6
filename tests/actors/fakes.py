"""An exchange at the other end of a memory channel, and a connector around it on the virtual clock."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from ssmd.actors.budget import ConnectBudget
from ssmd.actors.lineage import Lineage
from ssmd.actors.session import Place, Session, SessionLinks
from ssmd.actors.standing import Standing
from ssmd.blocking import inline
from ssmd.clock import NS_PER_S
from ssmd.codec import raw
from ssmd.errors import ExchangeDown
from ssmd.journal import Journal, JournalLimits
from ssmd.protocols import exchange
from ssmd.records import FeedConfig, Record, SymbolSpec
from ssmd.supervisor import Cell, HealthBoard, Mailbox, Overflow

START_NS = 1_765_029_600 * NS_PER_S
BTC, ETH, SOL = (SymbolSpec(f"{name}/USD", f"{name}USD", "l2") for name in ("BTC", "ETH", "SOL"))
HEARTBEAT = '{"channel":"heartbeat"}'


def virtual_now_ns() -> int:
    return START_NS + int(trio.current_time() * NS_PER_S)


class FakeExchange:
    """The far end of one connection: scripted by the test, or acknowledging everything by itself."""

    def __init__(self, answer: Callable[[dict], list[str]] | None = None) -> None:
        self.received: list[dict] = []
        self.answer = answer or acknowledge
        self.send, self._frames = trio.open_memory_channel[str | ExchangeDown](1_000)
        self.closed = False

    def say(self, text: str) -> None:
        self.send.send_nowait(text)

    def fail(self, reason: str) -> None:
        self.send.send_nowait(ExchangeDown(reason))

    async def heart(self) -> None:
        while not self.closed:
            self.say(HEARTBEAT)
            await trio.sleep(1)

    # the session's side, as a Connection

    async def deliver(self, text: str) -> None:
        message = json.loads(text)
        self.received.append(message)
        for reply in self.answer(message):
            self.say(reply)

    async def receive(self) -> str:
        item = await self._frames.receive()
        if isinstance(item, ExchangeDown):
            raise item
        return item


class _Connection:
    def __init__(self, far: FakeExchange) -> None:
        self.send = far.deliver
        self.receive = far.receive


def acknowledge(message: dict) -> list[str]:
    if message["method"] == "ping":
        return [json.dumps({"method": "pong", "req_id": message["req_id"]})]
    params = message["params"]
    head = {"method": message["method"], "success": True, "req_id": message["req_id"]}
    return [json.dumps({**head, "result": {"channel": params["channel"], "symbol": s}}) for s in params["symbol"]]


def never(_message: dict) -> list[str]:
    return []


class FakeTransport:
    """Gives out far ends in order; makes a new one when there is none left."""

    def __init__(self, *exchanges: FakeExchange) -> None:
        self._next = list(exchanges)
        self.opened: list[FakeExchange] = []
        self.opened_at_s: list[float] = []

    @asynccontextmanager
    async def connect(self, url: str, max_frame_bytes: int) -> AsyncIterator[_Connection]:
        del url, max_frame_bytes
        await trio.lowlevel.checkpoint()
        far = self._next.pop(0) if self._next else FakeExchange()
        self.opened.append(far)
        self.opened_at_s.append(trio.current_time())
        try:
            yield _Connection(far)
        finally:
            far.closed = True


class Bench:
    """One session's surroundings, and its journal read back."""

    def __init__(self, directory: Path, transport: FakeTransport, *symbols: SymbolSpec) -> None:
        self.journal = Journal(directory, JournalLimits(), virtual_now_ns, inline)
        self.config = Cell(FeedConfig(symbols=symbols or (BTC, ETH)))
        self.standing = Standing(self.config.get(), virtual_now_ns)
        self.wishes = Mailbox("wishes", 10, Overflow.DROP_OLDEST)
        self.board = HealthBoard()
        self.lineage = Lineage(START_NS)
        self.budget = ConnectBudget(120, 600)
        self.transport = transport

    def session(self) -> Session:
        place = Place(exchange("kraken"), "ws://fake", 0, self.transport, self.board)
        links = SessionLinks(self.journal, self.config, self.wishes, self.lineage, self.budget, self.standing)
        return Session(place, links)

    async def records(self) -> list[Record]:
        await self.journal.write_pending()
        lines = b"".join((self.journal.directory / s.name).read_bytes() for s in self.journal.segments)
        return [raw.decode_line(line) for line in lines.splitlines()]

    async def notes(self) -> list[object]:
        return [record.note for record in await self.records() if record.note is not None]
