"""Everything that is subscribed on one pair: turn a step of its market into frames for those who asked."""

from typing import Final, Protocol

from msgspec import Struct

from ssmd.simulator.book import ALWAYS_WATCHED, Changes
from ssmd.simulator.kraken import frames
from ssmd.simulator.kraken.requests import EVENT_TRIGGERS, Params
from ssmd.simulator.market import Market, Step

ABSURD_PRICE: Final = 886_110_000_000
"""Seen as an ask at depth 1000 by others (VENUES.md): it overflows Int64 at a scale of 1e8."""


class Data(Struct, frozen=True, gc=False):
    channel: str
    symbol: str
    text: str
    notable: bool = False
    """A book update within the top ten: losing or altering it breaks the next checksum."""


class Listener(Protocol):
    def deliver(self, data: Data) -> None: ...


class Topic:
    def __init__(self, market: Market) -> None:
        self.market = market
        self.symbol = market.pair.symbol
        self._books: dict[int, list[Listener]] = {}
        self._trades: list[Listener] = []
        self._tickers: dict[str, list[Listener]] = {trigger: [] for trigger in EVENT_TRIGGERS}

    @property
    def live(self) -> bool:
        return bool(self._books or self._trades or any(self._tickers.values()))

    def add(self, listener: Listener, params: Params) -> None:
        self._listeners(params).append(listener)
        if params.channel == "book":
            self.market.book.watch(params.depth)

    def remove(self, listener: Listener, params: Params) -> None:
        self._listeners(params).remove(listener)
        if params.channel == "book":
            self.market.book.unwatch(params.depth)
            if not self._books[params.depth]:
                del self._books[params.depth]

    def snapshot(self, params: Params, stamp: str) -> str:
        if params.channel == "book":
            return frames.book_snapshot(self.symbol, self.market.book, params.depth, stamp)
        if params.channel == "trade":
            return frames.trades("snapshot", self.market.pair, self.market.history, stamp)
        return frames.ticker("snapshot", self.market, stamp)

    def step(self, stamp: str) -> int:
        """Let one thing happen and tell everybody; return how many frames a client of everything got."""
        step = self.market.step()
        told = 0
        if step.prints and self._trades:
            text = frames.trades("update", self.market.pair, step.prints, stamp)
            told += self._tell(self._trades, Data("trade", self.symbol, text))
        return told + self._tell_books(stamp) + self._tell_tickers(step, stamp)

    def add_absurd_ask(self, stamp: str) -> None:
        """Put an absurd ask at the end of the true book; tell every depth, each cuts it where it must."""
        market = self.market
        market.add_far_ask(ABSURD_PRICE * 10**market.pair.price_digits, 10**market.pair.qty_digits)
        market.book.take_changes()
        ask = market.book.asks.levels[market.book.asks.keys[-1]].text
        crc = frames.checksum(market.book)
        for depth, listeners in self._books.items():
            text = frames.book_update(self.symbol, Changes(depth, [], [ask]), crc, stamp)
            self._tell(listeners, Data("book", self.symbol, text))

    def _listeners(self, params: Params) -> list[Listener]:
        if params.channel == "book":
            return self._books.setdefault(params.depth, [])
        return self._trades if params.channel == "trade" else self._tickers[params.event_trigger]

    def _tell_books(self, stamp: str) -> int:
        book = self.market.book
        changes = book.take_changes()
        if not self._books or not changes:
            return 0
        notable = any(one.depth == ALWAYS_WATCHED for one in changes)
        crc = frames.checksum(book)
        return max(self._tell_depth(one, frames.book_update(self.symbol, one, crc, stamp), notable) for one in changes)

    def _tell_depth(self, changes: Changes, text: str, notable: bool) -> int:
        return self._tell(self._books.get(changes.depth, ()), Data("book", self.symbol, text, notable))

    def _tell_tickers(self, step: Step, stamp: str) -> int:
        on_trade = self._tickers["trades"] if step.prints else []
        on_best = self._tickers["bbo"] if step.best_moved else []
        if not on_trade and not on_best:
            return 0
        data = Data("ticker", self.symbol, frames.ticker("update", self.market, stamp))
        return max(self._tell(on_trade, data), self._tell(on_best, data))

    @staticmethod
    def _tell(listeners: "list[Listener] | tuple[()]", data: Data) -> int:
        for listener in listeners:
            listener.deliver(data)
        return 1 if listeners else 0
