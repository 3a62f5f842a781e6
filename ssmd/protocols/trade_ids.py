"""Which trades of a symbol were seen already, so that what an exchange repeats is published once."""

from collections import deque
from typing import Final

from msgspec import Struct

KEPT: Final = 1024
"""Ids remembered per symbol. Exchanges repeat trades when a subscription begins: the last one, or the last 100; two
connections that overlap repeat some seconds. Ten times the largest known repeat is enough and costs about 130 kB."""

_MAX_INTEGER_DIGITS: Final = 18  # fits into 63 bits, so that a checkpoint can hold it


class TradeIdsState(Struct, frozen=True):
    recent: tuple[str, ...] = ()
    highest: int | None = None


class TradeIds:
    """The recent trade ids of one symbol, across connections."""

    __slots__ = ("_highest", "_known", "_order", "jumped")

    def __init__(self, state: TradeIdsState | None = None) -> None:
        recent = () if state is None else state.recent
        self._order: deque[str] = deque(recent, KEPT)
        self._known = set(self._order)
        self._highest = None if state is None else state.highest
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
        self._judge(trade_id)
        return True

    def state(self) -> TradeIdsState:
        return TradeIdsState(tuple(self._order), self._highest)

    def _judge(self, trade_id: str) -> None:
        self.jumped = False
        if not trade_id.isdecimal() or len(trade_id) > _MAX_INTEGER_DIGITS:
            return
        number = int(trade_id)
        if self._highest is None:
            self._highest = number
        elif number > self._highest:
            self.jumped = number > self._highest + 1
            self._highest = number
