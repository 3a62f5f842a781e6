"""The synthetic market of one pair: a seeded random walk of quotes and trades, in integers. No clock, no I/O."""

from collections import deque
from random import Random
from typing import Final, Literal

from msgspec import Struct

from ssmd.simulator.book import ASK, BID, Book, LevelText, Side, SideIndex
from ssmd.simulator.pairs import Pair

_HISTORY: Final = 50
_NEAR_LEVELS: Final = 16
"""More than the shallowest depth: levels must change out of its view, or a client that forgets to cut goes unpunished."""
_DEEP_LEVELS: Final = 300
_DEEP_SHARE: Final = 0.06
_ONE_LEVEL: Final = 0.63
_TWO_LEVELS: Final = 0.96
"""Cumulative shares of book updates with one, at most two levels (recorded 2026-07; the rest has three to six)."""
_LEVELS_SWEPT: Final = 2
"""By one trade frame at most, so that its book update has at most six levels, as recorded."""


class Print(Struct, frozen=True, gc=False):
    side: Literal["buy", "sell"]
    """The taker's."""
    ticks: int
    units: int
    trade_id: int


class Step(Struct, frozen=True, gc=False):
    """What one step did beside changing the book."""

    prints: tuple[Print, ...]
    best_moved: bool
    """A best price changed (not only its size)."""


class Day(Struct):
    """Running figures of the session, for tickers."""

    open: int
    high: int
    low: int
    last: int
    trades: int = 0
    units: int = 0
    turnover: int = 0
    """Ticks times units."""


class MarketSettings(Struct, frozen=True):
    seed: int
    first_trade_id: int
    trade_share: float
    book_levels: int


class Market:
    """`step()` changes the book a little or trades; equal seeds and pairs give equal steps."""

    def __init__(self, pair: Pair, level_text: LevelText, settings: MarketSettings) -> None:
        self.pair = pair
        self.book = Book(level_text)
        self.history: deque[Print] = deque(maxlen=_HISTORY)
        self._settings = settings
        # A text seed is hashed by Random itself, the same way in every process.
        self._random = Random(f"{settings.seed}/{pair.symbol}")  # noqa: S311  a reproducible market, not a secret
        self._next_trade_id = settings.first_trade_id
        start = pair.start_ticks
        self._gap_ticks = max(2, start // 100_000)
        self._typical_units = max(1000, int(10**pair.qty_digits * 1000 / float(pair.start)))
        self.day = Day(start, start, start, start)
        self._fill_books()
        self._fill_history()
        self.book.take_changes()

    def step(self) -> Step:
        """Let one thing happen: a trade, or an update of one to six levels."""
        before = (self.book.bids.keys[0], self.book.asks.keys[0])
        prints = self._trade() if self._random.random() < self._settings.trade_share else ()
        if not prints:
            self._quote()
        self._tidy()
        return Step(prints, before != (self.book.bids.keys[0], self.book.asks.keys[0]))

    def add_far_ask(self, ticks: int, units: int) -> None:
        self.book.asks.put(ticks, units)

    def _quote(self) -> None:
        roll = self._random.random()
        side = self.book.sides[self._random.random() < 0.5]
        if roll < _ONE_LEVEL:
            self._one_level(side)
        elif roll < _TWO_LEVELS:
            self._two_levels(side)
        else:
            for _ in range(3 + int(self._random.random() * 4)):
                self._alter(self.book.sides[self._random.random() < 0.5])

    def _one_level(self, side: Side) -> None:
        if self._random.random() < 0.5 and len(side.keys) <= side.target + 20:
            self._insert(side, self._index(side))
        else:
            self._alter(side)

    def _two_levels(self, side: Side) -> None:
        # In view of a client a delete is two levels: the deleted one and the one that moves up.
        if len(side.keys) > side.target - 20:
            side.remove(self._index(side))
        else:
            self._alter(side)
            self._alter(side)

    def _trade(self) -> tuple[Print, ...]:
        buy = self._random.random() < 0.5 + self._pull()
        taken: SideIndex = ASK if buy else BID
        side = self.book.sides[taken]
        if len(side.keys) <= 2 * _NEAR_LEVELS:
            return ()
        taker: Literal["buy", "sell"] = "buy" if buy else "sell"
        count = 1 if self._random.random() < 0.6 else 2 + int(self._random.random() * 3)
        levels = len(side.keys)
        prints = tuple(
            self._print(taker, side, may_empty=levels - len(side.keys) < _LEVELS_SWEPT) for _ in range(count)
        )
        if self.book.spread_ticks() > self._gap_ticks:
            self._insert(self.book.sides[1 - taken], 0)
        return prints

    def _print(self, taker: Literal["buy", "sell"], side: Side, *, may_empty: bool) -> Print:
        key, there = side.keys[0], side.best().units
        whole = may_empty and self._random.random() < 0.5
        units = there if whole else min(there - 1, 1 + int(there * self._random.random()))
        if whole:
            side.remove(0)
        elif units:
            side.put(key, there - units)
        return self._record(Print(taker, side.ticks(key), max(units, 1), self._next_trade_id))

    def _record(self, done: Print) -> Print:
        self._next_trade_id += 1
        self.history.append(done)
        day = self.day
        day.last = done.ticks
        day.high = max(day.high, done.ticks)
        day.low = min(day.low, done.ticks)
        day.trades += 1
        day.units += done.units
        day.turnover += done.units * done.ticks
        return done

    def _pull(self) -> float:
        """Return a bias of the next taker towards the start price, so that a long walk stays within reason."""
        drift = (self.day.open - self.book.asks.keys[0]) / self.day.open
        return max(-0.4, min(0.4, drift * 10))

    def _index(self, side: Side) -> int:
        near = self._random.random() >= _DEEP_SHARE
        span = min(len(side.keys), _NEAR_LEVELS if near else _DEEP_LEVELS)
        return int(self._random.random() ** 2 * span)

    def _alter(self, side: Side) -> None:
        side.put(side.keys[self._index(side)], self._units())

    def _insert(self, side: Side, index: int) -> None:
        """Put a level before the given one; where prices leave no room, alter that level instead."""
        below = side.keys[index]
        above = side.keys[index - 1] if index else below - min(self.book.spread_ticks(), self._gap_ticks)
        room = below - above - 1
        side.put(above + 1 + int(self._random.random() * room) if room > 0 else below, self._units())

    def _tidy(self) -> None:
        for side in self.book.sides:
            side.cut(side.target + 100)
            if len(side.keys) < side.target - 40:
                # Beside the last level but one: the last may be the absurd ask of a fault.
                key = side.keys[-2] + 1 + int(self._random.random() * 2 * self._gap_ticks)
                side.put(key if side.ticks(key) > 0 else side.keys[-1], self._units())

    def _units(self) -> int:
        units = 1 + int(self._typical_units * self._random.random() ** 4 * 4)
        # People like round sizes: their trailing zeros are what a float round trip loses.
        return units if self._random.random() < 0.7 else max(1, units // 1000) * 1000

    def _fill_books(self) -> None:
        start = self.day.open
        for side, first in ((self.book.bids, -start), (self.book.asks, start + 1)):
            key = first
            while len(side.keys) < self._settings.book_levels and side.ticks(key) > 0:
                side.put(key, self._units())
                key += 1 + int(self._random.random() * self._gap_ticks)
            side.target = len(side.keys)

    def _fill_history(self) -> None:
        """Trades from before the start, so that a trade snapshot has something to repeat."""
        for _ in range(_HISTORY):
            self._record(Print("buy", self.day.open + 1, self._units(), self._next_trade_id))
