"""A whole live system under the virtual clock: connector and archiver as they are, an exchange that misbehaves."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

import trio

from ssmd.actors.batcher import ArchiveFeed
from ssmd.blocking import inline
from ssmd.bus.memory import MemoryDialer
from ssmd.errors import ExchangeDown
from ssmd.journal import Journal, JournalFollower
from ssmd.settings import Settings
from ssmd.store.memory import MemoryStore
from ssmd.supervisor import HealthBoard, Intensity, Strategy, Supervisor
from ssmd.trees import RoleSpec, World, archiver, connector
from ssmd.trees.candidate import candidate
from tests.actors.fakes import virtual_now_ns
from tests.integration.rig import environment
from tests.protocols.recorded import HEARTBEAT, VenueBook, ticker, trade
from tests.protocols.recorded import frame as frame_of

NAMES = ("BTC/USD", "ETH/USD", "SOL/USD")
EVERY_S = 0.05


class FaultyExchange:
    """Implements `ssmd.actors.transport.Transport`. Frames every 50 ms; each kind of trouble now and then, seeded."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.books = {name: VenueBook(name) for name in NAMES}
        self.trade_ids = iter(range(1_000_000, 1 << 40))
        self.connections = 0
        self.troubles: dict[str, int] = {}

    @asynccontextmanager
    async def connect(self, url: str, max_frame_bytes: int) -> "AsyncIterator[_Connection]":
        del url, max_frame_bytes
        self.connections += 1
        connection = _Connection(self)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.talk)
            nursery.start_soon(connection.beat)
            yield connection
            nursery.cancel_scope.cancel()

    def trouble(self, kind: str) -> None:
        self.troubles[kind] = self.troubles.get(kind, 0) + 1


class _Connection:
    def __init__(self, exchange: FaultyExchange) -> None:
        self._exchange = exchange
        self._into, self._from = trio.open_memory_channel[str | ExchangeDown](100_000)
        self._subscribed: set[tuple[str, str]] = set()

    async def receive(self) -> str:
        item = await self._from.receive()
        if isinstance(item, ExchangeDown):
            raise item
        return item

    async def send(self, text: str) -> None:
        request = json.loads(text)
        if request["method"] == "ping":
            self._say(json.dumps({"method": "pong", "req_id": request["req_id"]}))
            return
        channel = request["params"]["channel"]
        head = {"method": request["method"], "success": True, "req_id": request["req_id"]}
        for name in request["params"]["symbol"]:
            self._say(json.dumps({**head, "result": {"channel": channel, "symbol": name}}))
            if request["method"] == "subscribe":
                self._subscribed.add((channel, name))
                if channel == "book":
                    self._say(self._exchange.books[name].snapshot())
            else:
                self._subscribed.discard((channel, name))

    def _say(self, item: str | ExchangeDown) -> None:
        self._into.send_nowait(item)

    async def beat(self) -> None:
        while True:
            self._say(HEARTBEAT)
            await trio.sleep(1)

    async def talk(self) -> None:
        exchange = self._exchange
        while True:
            await trio.sleep(EVERY_S * exchange.random.uniform(0.2, 1.8))
            if exchange.random.random() < 0.0006:
                exchange.trouble("reset")
                self._say(ExchangeDown("reset"))
                return
            if self._subscribed:
                channel, name = exchange.random.choice(sorted(self._subscribed))
                self._say(self._frame(channel, name))

    def _frame(self, channel: str, name: str) -> str:
        exchange, random = self._exchange, self._exchange.random
        if channel == "trade":
            return frame_of("trade", "update", trade(next(exchange.trade_ids), name))
        if channel == "ticker":
            return frame_of("ticker", "update", ticker(name, f"{random.randrange(90, 99)}.5"))
        book, dice = exchange.books[name], random.random()
        update = book.update({f"{100 - random.randrange(9)}.0": f"{random.randrange(1, 99)}.00100000"})
        if dice < 0.002:
            exchange.trouble("lost update")
            return HEARTBEAT
        if dice < 0.004:
            exchange.trouble("garbage")
            return '{"channel":"book","type":"update","data":[{"symbol":7}]}'
        return update


ROLES = {"connector": connector, "archiver": archiver, "candidate": candidate}


class LiveSystem:
    """Connector, archiver and candidate over a broker and a store in memory; roles can be crashed."""

    def __init__(
        self,
        folder,
        nursery: trio.Nursery,
        monkeypatch,
        seed: int,
        store: MemoryStore | None = None,
        candidate: str | None = None,
    ) -> None:
        monkeypatch.setattr("ssmd.trees.roles.Journal", lambda *places: Journal(*places, inline))
        monkeypatch.setattr("ssmd.trees.candidate.JournalFollower", lambda *places: JournalFollower(*places, inline))
        for tree in ("roles", "candidate"):
            monkeypatch.setattr(f"ssmd.trees.{tree}.ArchiveFeed", lambda *what: ArchiveFeed(*what, inline))
        self.exchange = FaultyExchange(seed)
        self.store = MemoryStore() if store is None else store
        self.dialer = MemoryDialer()
        self.world = World(self.dialer, self.store, self.exchange, virtual_now_ns)
        self._described = environment(NAMES)
        self._candidate = environment(NAMES, candidate_normalizer=candidate)
        self._folder = folder
        self._nursery = nursery
        self._scopes: dict[str, trio.CancelScope] = {}
        self._trees: dict[str, Supervisor] = {}
        self._over: dict[str, trio.Event] = {}

    async def start(self, *roles: str) -> None:
        for role in roles:
            described = self._candidate if role == "candidate" else self._described
            spec = RoleSpec(role, "kraken", described, Settings(), "", str(self._folder), "")
            children = ROLES[role](spec, self.world, HealthBoard())
            wanted = [child for child in children if child.name != "sweeper"]
            self._trees[role] = Supervisor(role, Strategy.ONE_FOR_ONE, wanted, intensity=Intensity(1000, 60))
            self._scopes[role], self._over[role] = trio.CancelScope(), trio.Event()
            await self._nursery.start(self._live, role)

    async def _live(self, role: str, *, task_status) -> None:
        with self._scopes[role]:
            await self._trees[role].run(task_status=task_status)
        self._over[role].set()

    async def crash(self, role: str) -> None:
        """End a role at once and start it anew on what it left behind."""
        self._scopes[role].cancel()
        await self._over[role].wait()
        await self.start(role)

    async def stop(self) -> None:
        for role in ("connector", "candidate", "archiver"):
            if role not in self._trees:
                continue
            self._trees[role].drain()
            with trio.fail_after(120):
                await self._over[role].wait()


def lines_of(names: Sequence[str]) -> str:
    return "\n".join(names)
