"""A synthetic order book in integers that remembers, per depth that somebody watches, what changed."""

from bisect import bisect_left
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

BID: Final = 0
ASK: Final = 1
SideIndex = Literal[0, 1]

ALWAYS_WATCHED: Final = 10
"""The checksum covers ten levels: a change within them is what a client can notice."""

LevelText = Callable[[int, int], tuple[str, str]]
"""Return the venue's text of a level and its part of the checksum, from price ticks and size units."""


class Level(Struct, frozen=True, gc=False):
    units: int
    text: str
    token: str


class Side:
    """Levels best first. A key is the price in ticks, negated for bids, so that both sides ascend."""

    def __init__(self, sign: int, level_text: LevelText) -> None:
        self._sign = sign
        self._level_text = level_text
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}
        self.target = 0
        """How many levels the market keeps here, about."""
        self.changed: dict[int, dict[int, str]] = {}
        """Per watched depth: key -> the text to send."""

    def ticks(self, key: int) -> int:
        return key * self._sign

    def put(self, key: int, units: int) -> None:
        """Set a level, new or not."""
        index = bisect_left(self.keys, key)
        if key not in self.levels:
            self.keys.insert(index, key)
        text, token = self._level_text(key * self._sign, units)
        self.levels[key] = Level(units, text, token)
        for depth, changed in self.changed.items():
            if index < depth:
                changed[key] = text

    def remove(self, index: int) -> None:
        """Delete the level; at each depth that it was in view of, the level that moves up is told too."""
        key = self.keys.pop(index)
        del self.levels[key]
        text, _ = self._level_text(key * self._sign, 0)
        for depth, changed in self.changed.items():
            if index < depth:
                changed[key] = text
                if len(self.keys) >= depth:
                    moved_up = self.keys[depth - 1]
                    changed[moved_up] = self.levels[moved_up].text

    def cut(self, levels: int) -> None:
        """Forget levels at the far end, which no depth shows."""
        for key in self.keys[levels:]:
            del self.levels[key]
        del self.keys[levels:]

    def best(self) -> Level:
        return self.levels[self.keys[0]]

    def texts(self, depth: int) -> list[str]:
        return [self.levels[key].text for key in self.keys[:depth]]

    def tokens(self) -> str:
        levels = self.levels
        return "".join([levels[key].token for key in self.keys[:10]])


class Changes(Struct, frozen=True, gc=False):
    """What one depth must be told; unordered within a side, as on a real exchange."""

    depth: int
    bids: list[str]
    asks: list[str]


class Book:
    def __init__(self, level_text: LevelText) -> None:
        self.bids = Side(-1, level_text)
        self.asks = Side(1, level_text)
        self.sides = (self.bids, self.asks)
        self._watchers: dict[int, int] = {}
        self.watch(ALWAYS_WATCHED)

    def watch(self, depth: int) -> None:
        """Remember changes for one more client of this depth."""
        self._watchers[depth] = self._watchers.get(depth, 0) + 1
        for side in self.sides:
            side.changed.setdefault(depth, {})

    def unwatch(self, depth: int) -> None:
        self._watchers[depth] -= 1
        if not self._watchers[depth]:
            del self._watchers[depth]
            for side in self.sides:
                del side.changed[depth]

    def take_changes(self) -> list[Changes]:
        """Return what changed since the last call, for each depth at which something did."""
        taken = []
        for depth, bids in self.bids.changed.items():
            asks = self.asks.changed[depth]
            if bids or asks:
                taken.append(Changes(depth, list(bids.values()), list(asks.values())))
                bids.clear()
                asks.clear()
        return taken

    def spread_ticks(self) -> int:
        return self.asks.keys[0] + self.bids.keys[0]
