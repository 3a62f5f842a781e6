"""Exactly what the grants of a client cover comes out of a whole gateway: every format of REST, live, resume, replay.

Whatever else a client asks for gets the answer that it would get if that did not exist, byte for byte.
"""

import io
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from itertools import cycle, product
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd.bus.base import Outgoing
from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.clock import NS_PER_MINUTE, NS_PER_S, minute_of, now_ns
from ssmd.codec import marketdata
from ssmd.codec.packing import Item, pack
from ssmd.gateway.access import Series
from ssmd.gateway.live.commands import CommandBudget
from ssmd.gateway.live.line import REVOKED, TOO_MANY
from ssmd.gateway.times import rfc3339
from ssmd.model import EVENT_TYPES, Event, EventType, message_id
from ssmd.store.keys import NormalizedKey
from ssmd.store.memory import MemoryStore
from ssmd.trees import World
from ssmd.trees.gateway import gateway_role
from tests.gateway.live_world import Client, book, quote, trade
from tests.trees.test_gateway import STREAM, spec_in

pytestmark = pytest.mark.slow

FEEDS = ("kraken", "coinbase")
SYMBOLS = {"BTCUSD": "BTC/USD", "BTCEUR": "BTC/EUR", "ETHUSD": "ETH/USD"}
ALL = tuple(Series(*parts) for parts in product(FEEDS, EVENT_TYPES, SYMBOLS))
FORMATS = ("json", "ndjson", "csv", "arrow", "parquet")
PATHS: dict[EventType, str] = {"trade": "trades", "quote": "quotes", "book": "books"}

GLOBS = {"*": {*SYMBOLS}, "BTC*": {"BTCUSD", "BTCEUR"}, "???USD": {"BTCUSD", "ETHUSD"}, "ETHUSD": {"ETHUSD"}}
TYPES: tuple[tuple[EventType, ...], ...] = ((), ("trade",), ("quote", "book"))
EXPIRIES_S = (None, 3600, -3600)
MAKE = {"trade": trade, "quote": quote, "book": book}


class Cell(Struct, frozen=True):
    """One field of the matrix: a grant on each of these feeds."""

    feeds: tuple[str, ...]
    types: tuple[EventType, ...]
    glob: str
    expires_in_s: int | None = None

    def covered(self) -> set[Series]:
        """Return what may be read, worked out without the code under test."""
        if self.expires_in_s is not None and self.expires_in_s < 0:
            return set()
        types = self.types or EVENT_TYPES
        return {s for s in ALL if s.feed in self.feeds and s.type in types and s.symbol in GLOBS[self.glob]}


CELLS = [Cell(*parts) for parts in product((FEEDS[:1], FEEDS[1:], FEEDS), TYPES, GLOBS, EXPIRIES_S)]
SOME = CELLS[::5]
"""Almost every pair of values comes together: 5 divides none of their numbers."""


class Clock:
    """The real time, and what a test adds to it."""

    ahead_s = 0.0

    def __call__(self) -> int:
        return now_ns() + int(self.ahead_s * NS_PER_S)


class Running:
    """A gateway over some series: of each one message in the archive, and one in the stream."""

    def __init__(self, http: httpx.AsyncClient, admin: str, broker: MemoryBroker, clock: Clock) -> None:
        self.http = http
        self.clock = clock
        self.broker = broker
        self._admin = {"Authorization": f"Bearer {admin}"}
        self._formats = cycle(FORMATS)
        self._ids = iter(range(10_000))

    async def client(self, *cells: Cell, **limits: float) -> str:
        """Add a client with these grants, and return its key."""
        client_id, path = f"c{next(self._ids)}", "/api/v1/admin/clients"
        limits = {"requests_per_s": 10_000, **limits}
        body = {"client_id": client_id, "type": "trading", "limits": limits}
        key: str = (await self.http.post(path, json=body, headers=self._admin)).json()["key"]
        for cell, feed in [(one, feed) for one in cells for feed in one.feeds]:
            grant = {"feed": feed, "symbols": [cell.glob], "data_types": cell.types}
            if cell.expires_in_s is not None:
                grant["expires_at"] = rfc3339(self.clock() + cell.expires_in_s * NS_PER_S)
            answer = await self.http.post(f"{path}/{client_id}/entitlements", json=grant, headers=self._admin)
            assert answer.status_code == 200, answer.text
        return key

    async def get(self, key: str, path: str) -> httpx.Response:
        return await self.http.get(f"/api/v1/{path}", headers={"X-API-Key": key})

    async def rows(self, key: str, series: Series) -> httpx.Response:
        """Ask for all that there is of a series, each time in another format."""
        path = f"{PATHS[series.type]}?symbol={series.symbol}&feed={series.feed}&start=-1h&format={next(self._formats)}"
        return await self.get(key, path)

    @asynccontextmanager
    async def live(self, key: str, query: str = "") -> AsyncIterator[Client]:
        stream = await trio.open_tcp_stream("127.0.0.1", self.http.base_url.port)
        async with stream:
            yield await Client(stream).connected(f"/subscribe{query}", {"x-api-key": key, "x-device-id": key[:8]})

    async def publish(self, events: Collection[Event]) -> None:
        async with MemoryDialer(self.broker).connect() as bus:
            await bus.publish([_outgoing(event) for event in events])


@pytest.fixture(autouse=True)
def _commands_as_fast_as_they_come(monkeypatch):
    monkeypatch.setattr("ssmd.gateway.live.session.CommandBudget", lambda _per_s, at_s: CommandBudget(1_000, at_s))


@asynccontextmanager
async def gateway(folder: Path, there: Collection[Series] = ALL) -> AsyncIterator[Running]:
    clock, store, urls = Clock(), MemoryStore(), {}
    broker = MemoryBroker(clock)
    names = [SYMBOLS[symbol] for symbol in SYMBOLS if any((s.feed, s.symbol) == ("kraken", symbol) for s in there)]
    at_ns = clock() - 10 * NS_PER_MINUTE
    _archive(store, [made(series, at_ns) for series in ALL if series in there])
    async with MemoryDialer(broker).connect() as bus:
        await bus.ensure_stream(STREAM)
        await bus.publish([_outgoing(made(series, clock())) for series in ALL if series in there])
    role = gateway_role(spec_in(folder, names), World(MemoryDialer(broker), store, now=clock), urls.__setitem__)
    async with role as tree, trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        async with httpx.AsyncClient(base_url=urls["gateway"], timeout=5) as http:
            with trio.fail_after(5):
                while (await http.get("/health/ready")).status_code != 200:  # noqa: ASYNC110  told by HTTP only
                    await trio.sleep(0.02)
            yield Running(http, (folder / "gateway-admin.key").read_text().strip(), broker, clock)
        tree.drain()


def made(series: Series, at_ns: int, conn: str = "k-0-1") -> Event:
    """Return a message of a series; its identity says which one and where it lies."""
    event = MAKE[series.type](ALL.index(series) + 1, series.symbol)
    return replace(event, feed=series.feed, conn=f"{conn}-{at_ns}", recv_ns=at_ns, timestamp_ns=at_ns)


def _outgoing(event: Event) -> Outgoing:
    kind = next(kind for kind, make in MAKE.items() if isinstance(event, type(make(1))))
    return Outgoing(f"md.{event.feed}.{kind}.{event.symbol}", marketdata.encode(event), message_id(event))


def _archive(store: MemoryStore, events: Collection[Event]) -> None:
    for event in events:
        message = _outgoing(event)
        _, feed, kind, symbol = message.subject.split(".")
        key = NormalizedKey("v1", feed, kind, symbol, minute_of(event.recv_ns))
        store.objects[key.key] = pack([Item(event.recv_ns, event.conn, event.seq, event.n, message.payload)])


def series_in(answer: httpx.Response) -> list[Series]:
    """Return what each row of an answer is of."""
    return [Series(row["exchange"], row["type"], row["symbol"]) for row in _rows(answer)]


def _rows(answer: httpx.Response) -> list[dict]:
    kind = answer.headers["content-type"].partition(";")[0]
    if kind == "application/json":
        return answer.json()["data"]
    if "csv" in kind:
        head, *lines = [line.split(",") for line in answer.text.splitlines() if not line.startswith("#")]
        return [dict(zip(head, line, strict=False)) for line in lines]
    if "ndjson" in kind:
        return [row for line in answer.text.splitlines() if (row := json.loads(line)).get("type") in EVENT_TYPES]
    body = io.BytesIO(answer.content)
    table = pq.read_table(body) if "parquet" in kind else pa.ipc.open_stream(body).read_all()
    return table.select(["exchange", "type", "symbol"]).to_pylist()


# REST --------------------------------------------------------------------------------------------------------------


async def test_rest_gives_exactly_what_the_grants_cover_in_every_format(tmp_path):
    async with gateway(tmp_path) as found:
        for cell in SOME:
            key, covered = await found.client(cell), cell.covered()
            listed = (await found.get(key, "symbols")).json()["data"]
            assert {Series(row["feed"], kind, row["symbol"]) for row in listed for kind in row["types"]} == covered
            for series in ALL:
                answer = await found.rows(key, series)
                if series in covered:
                    assert series_in(answer) == [series, series], (cell, answer.url, answer.text)
                else:
                    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_symbol"), (cell, answer.url)
                    assert set(answer.json()["suggestions"]) <= {s.symbol for s in covered}, (cell, answer.url)


# live --------------------------------------------------------------------------------------------------------------


async def test_a_websocket_gives_exactly_what_the_grants_cover_live_resumed_and_replayed(tmp_path):
    async with gateway(tmp_path) as found:
        for number, cell in enumerate(SOME):
            key, covered = await found.client(cell), cell.covered()
            seen = made(min(covered, default=ALL[0], key=ALL.index), found.clock(), f"seen-{number}")
            await found.publish([seen])
            before = found.broker.streams[STREAM.name].last_seq
            async with found.live(key) as client:
                await client.next_of("welcome")
                await found.publish([made(series, found.clock(), f"missed-{number}") for series in ALL])
                assert await _told(client, op="subscribe", **{"from": f"pos:{before}"}) == covered
                resumed = [await _event(client) for _ in covered]
                await found.publish([made(series, found.clock(), f"live-{number}") for series in ALL])
                await trio.sleep(0.02)
                await client.say(op="ping")
                live = await _until(client, "pong")
                assert sorted(resumed) == sorted(live) == sorted(covered), cell
                await client.say(op="unsubscribe", symbols=[*SYMBOLS])
                await client.next_of("subscribed")
                await client.say(op="replay", id="r", symbols=[*SYMBOLS], start="-20m", end="-5m", speed="max")
                replayed = await _until(client, "replay_ended")
                assert sorted(replayed) == sorted(covered), cell
                assert await _told(client, op="subscribe", **{"from": f"id:{message_id(seen)}"}) == covered
                assert sorted([await _event(client) for _ in 2 * [*covered]]) == sorted(2 * [*covered]), cell


async def _told(client: Client, **command: object) -> set[Series]:
    """Subscribe to everything and return what the answer says; each symbol without anything is refused as unknown."""
    await client.say(symbols=[*SYMBOLS], id=1, **command)
    answer = await client.next_of("subscribed")
    told = {Series(s["feed"], s["data_type"], name) for s in answer["subscriptions"] for name in s["symbols"]}
    assert {one["symbol"] for one in answer["refused"]} == SYMBOLS.keys() - {series.symbol for series in told}
    assert {one["code"] for one in answer["refused"]} <= {"unknown_symbol"}
    return told


async def _event(client: Client) -> Series:
    (one,) = await client.events(1)
    return Series(one["exchange"], one["type"], one["symbol"])


async def _until(client: Client, kind: str) -> list[Series]:
    got: list[Series] = []
    while (message := await client.until(lambda _: True))["type"] != kind:
        if message["type"] in EVENT_TYPES:
            got.append(Series(message["exchange"], message["type"], message["symbol"]))
    return got


# what does not exist -----------------------------------------------------------------------------------------------

TWINS = (
    (Cell(FEEDS[:1], (), "BTC*"),),
    (Cell(FEEDS[1:], ("trade",), "*"),),
    (Cell(FEEDS[1:], ("quote", "book"), "BTC*"), Cell(FEEDS[:1], (), "ETHUSD")),
    (Cell(FEEDS, (), "???USD"),),
)


@pytest.mark.parametrize("cells", TWINS)
async def test_what_is_not_covered_is_answered_as_if_it_did_not_exist(tmp_path, cells):
    covered = set().union(*(cell.covered() for cell in cells))
    answers = []
    for folder, there in (("whole", ALL), ("twin", covered)):
        (tmp_path / folder).mkdir()
        async with gateway(tmp_path / folder, there) as found:
            await found.publish([hidden(series) for series in ALL if series in there and series not in covered])
            answers.append(await _refusals(found, await found.client(*cells), covered))
    whole, twin = answers
    assert whole == twin
    assert len(whole) > len(ALL) - len(covered)


def hidden(series: Series) -> Event:
    """Return a message of a series that is not covered; its id is the same in every world."""
    return replace(made(series, now_ns()), conn="hidden-0-1")


async def _refusals(found: Running, key: str, covered: set[Series]) -> list[str]:
    """Return every answer about what is not covered, without what names the answer."""
    told = []
    for series in [series for series in ALL if series not in covered]:
        path = PATHS[series.type]
        for query in [f"feed={series.feed}&start=-1h&format={name}" for name in FORMATS] + ["last=1"]:
            if "feed" in query or all(s.symbol != series.symbol or s.type != series.type for s in covered):
                answer = await found.get(key, f"{path}?symbol={series.symbol}&{query}")
                assert answer.status_code == 404, answer.url
                told.append(_anonymous(answer))
    for symbol in SYMBOLS.keys() - {series.symbol for series in covered}:
        paths = ("coverage?", "gaps?", "estimate?type=trade&start=-1h&")
        told += [_anonymous(await found.get(key, f"{path}symbol={symbol}")) for path in paths]
    async with found.live(key) as client:
        await client.next_of("welcome")
        for command in ({"op": "subscribe"}, {"op": "subscribe", "from": "pos:0"}, {"op": "replay", "start": "-1h"}):
            for series in [series for series in ALL if series not in covered]:
                await client.say(**command, id=1, symbols=[series.symbol], types=[series.type], feed=series.feed)
                told.append(json.dumps(await client.next_of("error")))
                if command["op"] == "replay":
                    assert (await client.next_of("replay_ended"))["messages"] == 0
        for series in [series for series in ALL if series not in covered]:
            start = f"id:{message_id(hidden(series))}"
            await client.say(**{"op": "subscribe", "id": 1, "symbols": [*SYMBOLS], "from": start})
            told.append(json.dumps(await client.next_of("error")))
            assert "resume_expired" in told[-1]
    return told


def _anonymous(answer: httpx.Response) -> str:
    """Return an answer with its headers, but for its id and its time."""
    body, names = answer.text, ("x-request-id", "date", "retry-after")
    headers = {name: value for name, value in answer.headers.items() if name not in names}
    return f"{answer.status_code} {headers} {body.replace(answer.headers['x-request-id'], '')}"


# expiry and limits -------------------------------------------------------------------------------------------------


async def test_a_grant_that_expires_is_gone_from_rest_and_live_at_once(tmp_path):
    cell = Cell(FEEDS[:1], ("trade",), "BTC*", 3600)
    async with gateway(tmp_path) as found:
        key = await found.client(cell)
        series = next(iter(cell.covered()))
        async with found.live(key, "?symbols=BTCUSD") as client:
            await client.next_of("subscribed")
            assert (await found.rows(key, series)).status_code == 200
            found.clock.ahead_s = 3601
            assert (await found.rows(key, series)).status_code == 404
            with trio.fail_after(2):
                assert await client.closed() == REVOKED
        async with found.live(key) as client:
            await client.next_of("welcome")
            assert await _told(client, op="subscribe") == set()


async def test_no_client_gets_beyond_its_limits(tmp_path):
    cell = Cell(FEEDS, (), "*")
    async with gateway(tmp_path) as found:
        key = await found.client(cell, subscriptions=2, devices=1)
        async with found.live(key) as client:
            await client.next_of("welcome")
            await client.say(op="subscribe", symbols=[*SYMBOLS])
            answer = await client.next_of("subscribed")
            assert sum(len(one["symbols"]) for one in answer["subscriptions"]) == 2
            assert {one["code"] for one in answer["refused"]} == {"rate_limited"}
            async with found.live(key, "?symbols=BTCUSD") as second:
                with trio.fail_after(2):
                    assert await second.closed() == TOO_MANY
        slow = await found.client(cell, requests_per_s=0.01)
        codes = [(await found.get(slow, "symbols")).status_code for _ in range(102)]
        assert 429 in codes
        assert codes.index(429) == codes.count(200)
