"""The data routes over a store and a bus in memory, for one client; and what they asked of both."""

import json
from collections import Counter

from quart import Response, g
from quart_trio import QuartTrio

from ssmd.actors.edition import Edition
from ssmd.archive.position import BUCKET, Position, encode_position, position_key
from ssmd.archive.remembering import RememberingStore
from ssmd.blocking import inline
from ssmd.bus.base import Outgoing, StreamSpec
from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.codec import marketdata
from ssmd.gateway.access import Grant, Principal, Series
from ssmd.gateway.history.catalog import Catalog
from ssmd.gateway.history.feeds import Feeds
from ssmd.gateway.history.link import DialEachTime
from ssmd.gateway.history.reader import Archive
from ssmd.gateway.history.service import History
from ssmd.gateway.problems import Problem
from ssmd.gateway.routes.data import DataDeps, data_routes
from ssmd.model import Event, type_of
from ssmd.store.memory import MemoryStore
from tests.integration.rig import environment

FEED = "kraken"
STREAM = StreamSpec("marketdata", ("md.>",), 1 << 30, 86_400)
ALL = Principal("agent", "display", (Grant(FEED, ("*",)),))


class Tally:
    """A meter."""

    def __init__(self) -> None:
        self.rows: Counter[Series] = Counter()

    def count(self, principal: Principal, series: Series, messages: int) -> None:
        assert principal.client_id
        self.rows[series] += messages


class WatchedStore(MemoryStore):
    """Remembers which keys and prefixes were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    async def _call(self, what: str) -> None:
        self.asked.add(what.partition(" ")[2])
        await super()._call(what)


class Serving:
    def __init__(self, now, store: MemoryStore | None = None, names=("BTC/USD", "ETH/USD")) -> None:
        self.store = WatchedStore() if store is None else store
        self.broker = MemoryBroker(now)
        self.dialer = MemoryDialer(self.broker)
        self.meter = Tally()
        self.principal = ALL
        self.now = now
        self.source = source = DialEachTime(self.dialer)
        remembering = RememberingStore(self.store, now)
        archive = Archive(remembering, source, "test", now=now, blocking=inline, settled=remembering.settled)
        self.feeds = Feeds(environment(names), source, remembering, now)
        self.catalog = catalog = Catalog(self.feeds, remembering, now)
        self.history = History(archive, catalog)
        self.app = QuartTrio("test")
        self.app.register_blueprint(data_routes(DataDeps(self.history, catalog, self.meter, now)))
        self.app.before_request(self._know)
        self.app.register_error_handler(Problem, _answer)

    def _know(self) -> None:
        g.principal = self.principal
        g.request_id = "r-1"

    async def publish(self, *events: Event) -> None:
        async with self.dialer.connect() as bus:
            await bus.ensure_stream(STREAM)
            await bus.publish([message_of(event) for event in events])

    async def acknowledge(self, messages: int) -> None:
        async with self.dialer.connect() as bus, bus.consume("marketdata", Edition(FEED, "v1").durable, "md.>") as one:
            read = await one.fetch(messages, 1)
            await one.ack_through(read[-1].stream_seq)

    async def counted(
        self, through_ns: int, created_ns: int = 0, stream_seq: int = 0, waiting: tuple[int, ...] = ()
    ) -> None:
        """Let the archiver's stocktaker have counted every minute up to this one, and this far in that stream."""
        async with self.dialer.connect() as bus:
            key = position_key("test", "v1", Edition(FEED, "v1").durable)
            await bus.kv_put(BUCKET, key, encode_position(Position(0, through_ns, {}, created_ns, stream_seq, waiting)))

    async def get(self, path: str, **headers: str) -> Response:
        return await self.app.test_client().get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def rows(self, path: str) -> list[dict]:
        return (await self.json(path))["data"]

    async def json(self, path: str) -> dict:
        response = await self.get(path)
        assert response.status_code == 200, await response.get_data()
        return json.loads(await response.get_data())

    async def problem(self, path: str) -> dict:
        response = await self.get(path)
        return {"status": response.status_code, **json.loads(await response.get_data())}


def message_of(event: Event) -> Outgoing:
    identity = f"{event.feed}/{event.conn}/{event.seq}/{event.n}"
    return Outgoing(f"md.{event.feed}.{type_of(event)}.{event.symbol}", marketdata.encode(event), identity)


def _answer(problem: Problem) -> Response:
    body = {
        "code": problem.code,
        "detail": problem.detail,
        "hint": problem.hint,
        "errors": [{"parameter": e.parameter, "value": e.value, "detail": e.detail} for e in problem.errors],
        **{name: str(value) if name == "estimate" else value for name, value in problem.more.items()},
    }
    return Response(json.dumps(body), problem.status)
