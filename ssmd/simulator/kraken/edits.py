"""Faults on frames that one client would have got: altered, held back, doubled, reordered, silenced."""

import re
from collections.abc import Callable
from typing import Final

from ssmd.simulator.book import Book
from ssmd.simulator.faults import Fault
from ssmd.simulator.kraken.topic import Data

EDITS: Final = ("checksum", "flip", "duplicate", "missing", "reorder", "unknown_field", "wrong_type")

Delivery = tuple[str, bool]
"""A text, and whether it is withheld from the client."""

_CHECKSUM: Final = re.compile(r'"checksum":(\d+)')
_LEVEL: Final = re.compile(r'\{"price":[\d.]+,"qty":([\d.]+)\}')
_DELETE: Final = re.compile(r'"qty":0[.0]*\}')
_TRADE_ID: Final = re.compile(r'"trade_id":(\d+)')


class Edits:
    """Each armed fault waits for the first frame that it fits, then is gone."""

    def __init__(self, book_of: Callable[[str], Book]) -> None:
        self._book_of = book_of
        self._armed: list[Fault] = []
        self._held: dict[str, str] = {}
        self._silent_until_s: dict[tuple[str, str], float] = {}

    @property
    def idle(self) -> bool:
        return not (self._armed or self._held or self._silent_until_s)

    def arm(self, fault: Fault) -> None:
        self._armed.append(fault)

    def silence(self, channel: str, symbol: str, until_s: float) -> None:
        self._silent_until_s[channel, symbol] = until_s

    def forget(self, channel: str, symbol: str) -> None:
        """A subscription ended or began anew: what was done to the old one is over."""
        self._silent_until_s.pop((channel, symbol), None)
        if channel == "book":
            self._held.pop(symbol, None)

    def apply(self, data: Data, now_s: float) -> list[Delivery]:
        """Return what goes out instead of the frame, in order."""
        if self._silent(data, now_s):
            return [(data.text, True)]
        held = self._held.pop(data.symbol, None) if data.channel == "book" else None
        if held is not None:
            return [(data.text, False), (held, False)]
        for fault in self._armed:
            if fault.concerns(data.symbol) and (delivered := self._edited(fault.name, data)) is not None:
                self._armed.remove(fault)
                return delivered
        return [(data.text, False)]

    def _silent(self, data: Data, now_s: float) -> bool:
        until_s = self._silent_until_s.get((data.channel, data.symbol))
        if until_s is None:
            return False
        if now_s >= until_s:
            del self._silent_until_s[data.channel, data.symbol]
        return now_s < until_s

    def _edited(self, name: str, data: Data) -> list[Delivery] | None:
        """Return the deliveries, None where this fault cannot happen to this frame."""
        text = data.text
        if name == "duplicate":
            return [(text, False), (text, False)]
        if name == "wrong_type":
            return [(_TRADE_ID.sub(r'"trade_id":"\1"', text), False)] if data.channel == "trade" else None
        if data.channel != "book":
            return None
        if name == "missing":
            # A lost delete stays wrong; a lost quantity might be put right by the very next update.
            return [(text, True)] if data.notable and _DELETE.search(text) else None
        if name == "reorder":
            self._held[data.symbol] = text
            return []
        altered = self._altered(name, data)
        return None if altered is None else [(altered, False)]

    def _altered(self, name: str, data: Data) -> str | None:
        if name == "checksum":
            return _CHECKSUM.sub(lambda found: f'"checksum":{int(found[1]) ^ 1}', data.text)
        if name == "unknown_field":
            return data.text.replace('"data":[{', '"data":[{"sim_unknown_field":{"a":[1,null]},', 1)
        return self._flipped(data)

    def _flipped(self, data: Data) -> str | None:
        book = self._book_of(data.symbol)
        top = {*book.bids.texts(10), *book.asks.texts(10)}
        for level in _LEVEL.finditer(data.text):
            if level[0] in top:
                qty = level[1][:-1] + ("1" if level[1][-1] != "1" else "2")
                return data.text[: level.start(1)] + qty + data.text[level.end(1) :]
        return None
