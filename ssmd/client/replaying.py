"""How far a replay of the archive has come, over any number of connections: what the next one asks for.

Pure, as `course`. The archive gives the same messages in the same order, by the time of receiving. So after a lost
connection the rest is asked for from the time of the last message, and those of that very moment are left out.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.client.course import Again, Over, refusal
from ssmd.client.errors import Problem, told_error
from ssmd.client.messages import (
    Connection,
    Gap,
    Heard,
    Message,
    Refused,
    RefusedSymbol,
    ReplayEnded,
    ReplayStarted,
    Revoked,
    Told,
)
from ssmd.client.rows import Book, Event, Quote, Trade

UNKNOWN: Final = "unknown_symbol"


class Period(Struct, frozen=True):
    """What is replayed. types: none means all that the key allows. speed: 1x, 10x, … or max."""

    symbols: tuple[str, ...]
    start: str
    end: str
    types: tuple[str, ...] = ()
    feed: str = ""
    speed: str = "1x"


class Replay:
    """What a connection is told and what the reader gets of it, as `Course` is for what is live."""

    def __init__(self, period: Period) -> None:
        self.has_begun = False
        """On any connection."""
        self._period = period
        self._is_running = False
        self._is_lost = False
        self._refused: list[RefusedSymbol] = []
        self._problem: Told | None = None
        self._moment: set[str] = set()
        """Ids of what was handed on of the last moment, which is where the period begins now."""

        self._gaps: set[tuple[tuple[str, ...], str | None, str]] = set()

    # asking --------------------------------------------------------------------------------------------------

    def query(self) -> dict[str, str]:
        """Return the parameters of the next connection: none, it is told by a command."""
        self._is_running, self._refused, self._problem = False, [], None
        return {}

    def command(self) -> str:
        """Return what to send first."""
        period = {name: value for name, value in msgspec.structs.asdict(self._period).items() if value}
        return msgspec.json.encode({"op": "replay", "id": "replay"} | period).decode()

    def lose(self, why: str) -> Iterator[Message]:
        """Give what is to be said when a connection ends."""
        if self.has_begun and not self._is_lost:
            self._is_lost = True
            yield Connection("lost", why)

    # hearing -------------------------------------------------------------------------------------------------

    def take(self, heard: Heard) -> Iterator[Message]:
        """Give what the reader is to have of a message. Raises Over at the end, Again, or SsmdError when no other connection helps."""
        match heard:
            case ReplayStarted():
                yield from self._begin(heard)
            case Told():
                self._told(heard)
            case ReplayEnded():
                self._end(heard)
            case Revoked():
                yield heard
            case Gap() if (heard.symbols, heard.end, heard.reason) not in self._gaps:
                self._gaps.add((heard.symbols, heard.end, heard.reason))  # the next connection tells it again
                yield heard
            case Trade() | Quote() | Book() if heard.id not in self._moment:
                yield heard
                self._pass(heard)

    def _begin(self, started: ReplayStarted) -> Iterator[Message]:
        refused = tuple(self._refused)
        if {one.symbol for one in refused} >= set(self._period.symbols):
            raise refusal(refused)
        if self._is_lost:
            self._is_lost = False
            yield Connection("resumed")
        if not self.has_begun:
            yield from (Refused(one.symbol, one.code, one.suggestions) for one in refused)
            # from now on it is the same period, however long it takes
            self._period = msgspec.structs.replace(self._period, start=started.start, end=started.end)
        self.has_begun = self._is_running = True

    def _told(self, told: Told) -> None:
        if told.code == UNKNOWN and not self._is_running:
            self._refused.append(RefusedSymbol(told.detail, told.code, told.suggestions))
        elif self._is_running:
            self._problem = told  # the end follows
        elif told.code in {"unavailable", "rate_limited"}:
            raise Again(told.detail, told.retry_after_s, told_error(told))
        else:
            raise told_error(told)

    def _end(self, ended: ReplayEnded) -> None:
        if not ended.complete:
            problem = self._problem or Problem("unavailable", "the replay was ended")
            raise Again(problem.detail, problem.retry_after_s, told_error(problem))
        raise Over

    def _pass(self, event: Event) -> None:
        if event.received_at != self._period.start:
            self._period = msgspec.structs.replace(self._period, start=event.received_at)
            self._moment = set()
        self._moment.add(event.id)
