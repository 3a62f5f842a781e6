"""What one session has asked for, against what its client may read. Pure: nobody is asked and nothing waits.

A symbol that does not exist and one that this client may not read are the same here: neither is among what it may
read, and that is all that is looked at.
"""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final, Protocol

from msgspec import Struct

from ssmd.gateway.access import Limits, Principal, Series
from ssmd.gateway.live.commands import Wanted
from ssmd.gateway.live.notices import CommandId, RefusedSymbol, Subscribed, subscriptions_of
from ssmd.gateway.problems import Problem
from ssmd.model import EVENT_TYPES, is_symbol

SUGGESTED: Final = 3
SEARCHES: Final = 3
"""Refused symbols of one command that suggestions are looked for; each search reads all names."""


class Catalog(Protocol):
    """Knows which series there are. Asked at each command, so it answers from memory."""

    def series(self) -> Collection[Series]: ...


class Selection(Struct, frozen=True):
    """What came of a list of symbols."""

    series: tuple[Series, ...]
    refused: tuple[RefusedSymbol, ...] = ()
    warnings: tuple[str, ...] = ()


class Readable:
    """The series that a client may read now, by symbol."""

    def __init__(self, principal: Principal, known: Iterable[Series], now_ns: int) -> None:
        self._by_symbol: dict[str, list[Series]] = {}
        for series in principal.readable(known, now_ns):
            self._by_symbol.setdefault(series.symbol, []).append(series)

    def select(self, wanted: Wanted) -> Selection:
        """Return what of the wish can be had; each symbol is decided for itself."""
        chosen: dict[Series, None] = {}
        refused: dict[str, RefusedSymbol] = {}
        warnings: list[str] = []
        for text in dict.fromkeys(wanted.symbols):
            found = self._of(text, wanted)
            if not found:
                refused[text] = self._refusal(text, may_search=len(refused) < SEARCHES)
            chosen.update(dict.fromkeys(found))
            absent = set(wanted.types) - {series.type for series in found} if found else ()
            warnings.extend(f"no {kind} of {text}" for kind in EVENT_TYPES if kind in absent)
        return Selection(tuple(chosen), tuple(refused.values()), tuple(warnings))

    def _of(self, text: str, wanted: Wanted) -> list[Series]:
        types = wanted.types or EVENT_TYPES
        series = self._by_symbol.get(symbol_of(text), ())
        return [each for each in series if each.type in types and wanted.feed in {"", each.feed}]

    def _refusal(self, text: str, *, may_search: bool) -> RefusedSymbol:
        shown = text[:40]
        near = get_close_matches(symbol_of(shown), self._by_symbol, SUGGESTED, 0.6) if may_search else ()
        return RefusedSymbol(shown, "unknown_symbol", tuple(near))


def symbol_of(text: str) -> str:
    """Return our symbol of what a client wrote: BTC/USD is BTCUSD."""
    symbol = text.upper().replace("/", "")
    return symbol if is_symbol(symbol) else text


def problem_of(refused: RefusedSymbol, limits: Limits) -> Problem:
    """Return why a symbol is refused."""
    if refused.code == "rate_limited":
        return Problem("rate_limited", f"{refused.symbol}: at most {limits.subscriptions} series on one connection")
    hint = "GET /api/v1/symbols lists what this key may read"
    return Problem("unknown_symbol", refused.symbol, hint, suggestions=refused.suggestions)


class Subscriptions:
    """The series of one session."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.series: dict[Series, None] = {}
        self.has_asked = False

    def add(self, selection: Selection) -> Selection:
        """Take what is selected, as far as the client's limit goes; return what was taken and what was not."""
        self.has_asked = True
        room = self.principal.limits.subscriptions - len(self.series)
        fresh = [series for series in selection.series if series not in self.series]
        over = set(fresh[room:])
        self.series.update(dict.fromkeys(fresh[:room]))
        too_many = (
            RefusedSymbol(symbol, "rate_limited") for symbol in dict.fromkeys(one.symbol for one in fresh[room:])
        )
        return Selection(
            tuple(series for series in selection.series if series not in over),
            (*selection.refused, *too_many),
            selection.warnings,
        )

    def remove(self, wanted: Wanted) -> list[Series]:
        """Take away what a wish covers; what was not there does no harm."""
        symbols = {symbol_of(text) for text in wanted.symbols}
        gone = [
            series
            for series in self.series
            if series.symbol in symbols
            and series.type in (wanted.types or EVENT_TYPES)
            and wanted.feed in {"", series.feed}
        ]
        self.discard(gone)
        return gone

    def discard(self, gone: Iterable[Series]) -> None:
        for series in gone:
            self.series.pop(series, None)

    def change(self, principal: Principal, now_ns: int) -> list[Series]:
        """Take the client as it is now; return the series that it may no longer read."""
        self.principal = principal
        gone = [series for series in self.series if not principal.may_read(series, now_ns)]
        self.discard(gone)
        return gone

    def told(self, command_id: CommandId, selection: Selection | None = None) -> Subscribed:
        """Return the whole set, with what came of the last wish."""
        refused, warnings = (selection.refused, selection.warnings) if selection is not None else ((), ())
        return Subscribed(command_id, subscriptions_of(self.series), refused, warnings)
