"""Kraken's public exchange: the markets, their pace, who listens, and what is planned against them."""

from collections import defaultdict
from random import Random
from typing import Final

import trio

from ssmd.clock import NowNs
from ssmd.errors import ConfigError
from ssmd.simulator.book import Book
from ssmd.simulator.config import SimulatorConfig
from ssmd.simulator.faults import Fault
from ssmd.simulator.kraken import frames, requests, rest
from ssmd.simulator.kraken.client import Allowance, KrakenClient
from ssmd.simulator.kraken.edits import EDITS, Edits
from ssmd.simulator.kraken.oddities import ODDITIES
from ssmd.simulator.kraken.topic import Topic
from ssmd.simulator.market import Market, MarketSettings
from ssmd.simulator.pacing import Pace
from ssmd.simulator.pairs import Pair, listed_pairs
from ssmd.simulator.replay import Dialect
from ssmd.simulator.session import Session
from ssmd.simulator.venue import BookView, MaintenancePhase, Reply, Request

STRIKES: Final = ("no_ack", "already", "rate_limit")
_SLICE_FRAMES: Final = 256
"""Made in one go before the writers get their turn."""
_STEPS_PER_FRAME: Final = 8
"""Not every step concerns every channel; bounds a slice for a client that hears little."""
_SHORTEST_SLEEP_S: Final = 0.001
_NS_PER_US: Final = 1000
_UINT64: Final = 1 << 64
_LEVELS_SHOWN: Final = 1000


class KrakenVenue:
    path = "/v2"

    def __init__(self, config: SimulatorConfig, now_ns: NowNs) -> None:
        self._config = config
        self._now_ns = now_ns
        self._started_ns = now_ns()
        self._pairs = listed_pairs(config.symbols)
        self._asset_pairs = rest.AssetPairs(self._pairs.values())
        self._timestamps = frames.Timestamps()
        self._random = Random(config.seed)  # noqa: S311  a reproducible market, not a secret
        self._topics: dict[str, Topic] = {}
        self._live: list[Topic] = []
        self._wake = trio.Event()
        self._clients: dict[int, KrakenClient] = {}
        self._strikes: dict[tuple[str, str | None], int] = defaultdict(int)
        self._refused_until_s: dict[str | None, float] = {}
        self._paused_until_s = 0.0
        self._burst = (config.rate_per_s, 0.0)
        self._system = "online"
        for fault in config.faults:
            self._check(fault)

    # the seam to the server

    def join(self, session: Session) -> KrakenClient:
        allowance = Allowance(self._config.requests_per_s, self._config.request_burst)
        client = KrakenClient(session, self, Edits(self._book), allowance)
        self._clients[session.conn] = client
        session.send(self.greeting(session.conn))
        return client

    async def run(self) -> None:
        """Let the market happen while somebody listens, at the rate, by an absolute schedule."""
        while True:
            await self._attention()
            rate = self._rate()
            pace = Pace(rate, trio.current_time())
            while self._live and rate == self._rate():
                await self._keep_pace(pace)

    def inject(self, fault: Fault) -> None:
        self._check(fault)
        if fault.name in EDITS:
            for client in self._clients.values():
                client.arm(fault)
        elif fault.name in ODDITIES:
            self._send_oddity(fault)
        elif fault.name in STRIKES:
            self._strikes[fault.name, fault.symbol] += int(fault.number())
        else:
            self._inject_into_feed(fault)

    def maintain(self, phase: MaintenancePhase) -> None:
        upcoming = ""
        if phase == "announced":
            upcoming = frames.maintenance(self.stamp(), 30)
        else:
            self._system = "maintenance" if phase == "begun" else "online"
        for conn, client in self._clients.items():
            client.session.send(frames.status(self._system, self._connection_id(conn), upcoming))

    def answer(self, request: Request) -> Reply | None:
        return rest.answer(request, self._asset_pairs, self._system, self._now_ns())

    def books(self, levels: int) -> dict[str, BookView]:
        """Return the book of each pair that was asked for since the start, and of those of the configuration."""
        for symbol in self._config.symbols:
            self._open(symbol)
        return {symbol: _view(topic.market, min(levels, _LEVELS_SHOWN)) for symbol, topic in self._topics.items()}

    def greeting(self, conn: int) -> str:
        return frames.status(self._system, self._connection_id(conn))

    # the seam to the clients

    def topic(self, symbol: str) -> Topic | None:
        now_s = trio.current_time()
        refused = any(self._refused_until_s.get(name, 0.0) > now_s for name in (symbol, None))
        return None if refused or symbol not in self._pairs else self._open(symbol)

    def topics_changed(self) -> None:
        self._live = [topic for topic in self._topics.values() if topic.live]
        if self._live:
            self._wake.set()

    def left(self, conn: int) -> None:
        self._clients.pop(conn, None)

    def strikes(self, name: str, symbol: str | None = None) -> bool:
        if not self._strikes.get((name, symbol)):
            return False
        self._strikes[name, symbol] -= 1
        return True

    def instruments(self) -> str:
        return frames.instruments(self._pairs.values())

    def stamp(self) -> str:
        return self._timestamps.text(self._now_ns())

    # inside

    def _open(self, symbol: str) -> Topic:
        topic = self._topics.get(symbol)
        if topic is None:
            pair = self._pairs[symbol]
            topic = Topic(Market(pair, frames.level_text(pair), self._settings()))
            self._topics[symbol] = topic
        return topic

    def _settings(self) -> MarketSettings:
        config = self._config
        first = config.first_trade_id
        if first is None:
            # No pair trades a million times a second, so ids from microseconds never meet those of an earlier run.
            first = self._started_ns // _NS_PER_US
        return MarketSettings(config.seed, first, config.trade_share, config.book_levels)

    def _book(self, symbol: str) -> Book:
        return self._topics[symbol].market.book

    def _connection_id(self, conn: int) -> int:
        return (self._started_ns * 8 + conn) % _UINT64

    async def _attention(self) -> None:
        """Wait until somebody listens and the market is not paused."""
        while not self._live:
            self._wake = trio.Event()
            await self._wake.wait()
        if trio.current_time() < self._paused_until_s:
            await trio.sleep_until(self._paused_until_s)
            await self._attention()

    def _rate(self) -> float:
        """Return the rate now in force; 0 while paused."""
        now_s = trio.current_time()
        rate, until_s = self._burst
        if now_s < self._paused_until_s:
            return 0.0
        return rate if now_s < until_s else self._config.rate_per_s

    async def _keep_pace(self, pace: Pace) -> None:
        now_s = trio.current_time()
        due = pace.due(now_s)
        if due > 0:
            pace.done(self._advance(min(due, _SLICE_FRAMES)))
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep_until(max(pace.next_s(), now_s + _SHORTEST_SLEEP_S))

    def _advance(self, wanted: int) -> int:
        told = 0
        for _ in range(wanted * _STEPS_PER_FRAME):
            topic = self._live[int(self._random.random() * len(self._live))]
            told += topic.step(self.stamp())
            if told >= wanted:
                break
        return told

    def _check(self, fault: Fault) -> None:
        if fault.symbol is not None and fault.symbol not in self._pairs:
            raise ConfigError(f"fault {fault.name} names {fault.symbol!r}, which is not listed; write it like BTC/USD")

    def _send_oddity(self, fault: Fault) -> None:
        size = int(fault.number()) if fault.name == "oversize" else 0
        frame = ODDITIES[fault.name](fault.symbol or self._config.symbols[0], size)
        for client in self._clients.values():
            client.session.send(frame)

    def _inject_into_feed(self, fault: Fault) -> None:
        now_s = trio.current_time()
        match fault.name:
            case "silence":
                for client in self._clients.values():
                    client.silence(fault)
            case "pause":
                self._paused_until_s = now_s + fault.number()
            case "burst":
                self._burst = (fault.number(), now_s + fault.number(1))
            case "refuse":
                self._refused_until_s[fault.symbol] = now_s + fault.number()
            case "absurd_price":
                for topic in self._live:
                    if fault.concerns(topic.symbol):
                        topic.add_absurd_ask(self.stamp())


def kraken_dialect(venue: KrakenVenue) -> Dialect:
    return Dialect(
        is_greeting=lambda frame: b'"channel":"status"' in frame,
        is_subscribe=_is_subscribe,
        greeting=venue.greeting,
        heartbeat=frames.HEARTBEAT,
    )


def _is_subscribe(message: str | bytes) -> bool:
    try:
        return requests.parse(message).method == "subscribe"
    except (ValueError, RecursionError):
        return False


def _view(market: Market, levels: int) -> BookView:
    pair: Pair = market.pair
    bids, asks = (
        [(pair.price_text(side.ticks(key)), pair.qty_text(side.levels[key].units)) for key in side.keys[:levels]]
        for side in market.book.sides
    )
    return BookView(bids, asks, frames.checksum(market.book))
