"""Which trades of a symbol were seen already, so that what an exchange repeats is published once."""

from collections import deque
from typing import Final

from msgspec import Struct

KEPT: Final = 1024
"""Ids remembered per symbol. Exchanges repeat trades when a subscription begins: the last one, or the last 100; two
connections that overlap repeat some seconds. Ten times the largest known repeat is enough and costs about 130 kB."""

_MAX_INTEGER_DIGITS: Final = 18  # fits into 63 bits, so that a checkpoint can hold it
_NONE_YET: Final = -1


class TradeIdsState(Struct, frozen=True):
    recent: tuple[str, ...] = ()
    highest: int = _NONE_YET


class TradeIds:
    """The recent trade ids of one symbol, across connections."""

    __slots__ = ("_highest", "_known", "_order", "jumped")

    def __init__(self, state: TradeIdsState = TradeIdsState()) -> None:  # noqa: B008 - frozen, so it can be shared
        self._order = deque(state.recent, KEPT)
        self._known = set(self._order)
        self._highest = state.highest
        self.jumped = False
        """Whether the last id left out some integers after the highest one before it."""

    def add(self, trade_id: str) -> bool:
        """Remember the id; False when it was known."""
        if trade_id in self._known:
            return False
        if len(self._order) == KEPT:
            self._known.discard(self._order[0])
        self._order.append(trade_id)
        self._known.add(trade_id)
        if trade_id.isdecimal() and len(trade_id) <= _MAX_INTEGER_DIGITS:
            number = int(trade_id)
            self.jumped = number > self._highest + 1 and self._highest != _NONE_YET
            self._highest = max(number, self._highest)
        else:
            self.jumped = False
        return True

    def state(self) -> TradeIdsState:
        return TradeIdsState(tuple(self._order), self._highest)
