"""How far a subscription has come, over any number of connections: where the next one begins, and what it means.

Pure: messages go in, what the reader gets comes out. An event is passed on once, and the next connection begins behind
the last one that was.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from ssmd.client.errors import NotFound, Problem, SsmdError, told_error
from ssmd.client.messages import (
    Connection,
    Gap,
    Heard,
    Heartbeat,
    Lag,
    Message,
    Refused,
    RefusedSymbol,
    ReplayEnded,
    ReplayStarted,
    Revoked,
    Subscribed,
    Told,
    Welcome,
)
from ssmd.client.rows import Book, Quote

PATIENT_WITH_REFUSALS: Final = 5
"""A gateway that has just started may not know yet what it knew before: so often a symbol is asked for again."""


class Wish(Struct, frozen=True):
    """What is subscribed. types: none means all that the key allows. start: now, pos:N, id:ID, a time or -5m.

    snapshot: begin with the last quote and book of each symbol; only where start is now.
    """

    symbols: tuple[str, ...]
    types: tuple[str, ...] = ()
    feed: str = ""
    start: str = "now"
    slow: str = "skip"
    snapshot: bool = False


class Again(Exception):
    """This connection is of no use; another one may be. retry_after_s: what the gateway asks for.

    error: what it is when no other one comes of it either.
    """

    def __init__(self, why: str, retry_after_s: float | None = None, error: SsmdError | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s
        self.error = error


class Over(Exception):
    """All that was asked for has come."""


class Course:
    def __init__(self, wish: Wish) -> None:
        self.is_subscribed = False
        """On this connection."""
        self.has_begun = False
        """On any."""
        self._wish = wish
        self._stream = ""
        self._pos: int | None = None
        self._received_at: str | None = None
        self._accepted: set[str] = set()
        self._refusals = 0
        self._began_now = False
        self._is_lost = False

    # asking --------------------------------------------------------------------------------------------------

    def query(self) -> dict[str, str]:
        """Return the parameters of the next connection."""
        wish, start = self._wish, self._start()
        self.is_subscribed = False
        self._began_now = start == "now"
        snapshot = "true" if wish.snapshot and self._began_now else ""
        given = {
            "types": ",".join(wish.types),
            "feed": wish.feed,
            "slow": wish.slow,
            "from": start,
            "snapshot": snapshot,
        }
        return {"symbols": ",".join(wish.symbols)} | {name: value for name, value in given.items() if value}

    def _start(self) -> str:
        if self._pos is None:
            return self._wish.start
        return f"pos:{self._pos}@{self._stream}" if self._stream else f"pos:{self._pos}"

    def command(self) -> str:
        """Return what to send first: nothing, the parameters say all."""
        return ""

    def lose(self, why: str) -> Iterator[Message]:
        """Give what is to be said when a connection ends."""
        if self.has_begun and not self._is_lost:
            self._is_lost = True
            yield Connection("lost", why)

    # hearing -------------------------------------------------------------------------------------------------

    def take(self, heard: Heard) -> Iterator[Message]:
        """Give what the reader is to have of a message. Raises Again, or SsmdError when no other connection helps."""
        match heard:
            case Welcome():
                self._welcome(heard)
            case Subscribed():
                yield from self._subscribed(heard)
            case Told():
                yield from self._told(heard)
            case Heartbeat():
                if heard.pos is not None:
                    self._pos = heard.pos
            case Gap() | Lag() | Revoked() | Quote(snapshot=True) | Book(snapshot=True):
                yield heard  # a snapshot is older than the place where the subscription began
            case ReplayStarted() | ReplayEnded():
                pass  # nobody has asked for it
            case _:
                yield heard
                self._pos, self._received_at = heard.pos, heard.received_at

    def _welcome(self, welcome: Welcome) -> None:
        if self._began_now and welcome.stream:
            self._pos = welcome.pos
        if welcome.stream and (self._began_now or not self._stream):
            self._stream = welcome.stream

    def _subscribed(self, answer: Subscribed) -> Iterator[Message]:
        accepted = {symbol for series in answer.subscriptions for symbol in series.symbols}
        lost = [one for one in answer.refused if one.symbol in self._accepted]
        if lost and self._refusals < PATIENT_WITH_REFUSALS:
            self._refusals += 1
            raise Again(f"{lost[0].symbol} is refused that was not before")
        if not accepted:
            raise refusal(answer.refused)
        if self._is_lost:
            self._is_lost = False
            yield Connection("resumed")
        told = answer.refused if not self.has_begun else lost
        yield from (Refused(one.symbol, one.code, one.suggestions) for one in told)
        self._accepted.update(one for one in self._wish.symbols if one not in {each.symbol for each in answer.refused})
        self._refusals = 0
        self.is_subscribed = self.has_begun = True

    def _told(self, told: Told) -> Iterator[Message]:
        """An error before `subscribed` is about all of it; one behind is about a symbol, or the connection ends with it."""
        if self.is_subscribed:
            return
        if told.code == "resume_expired" and self.has_begun and told.oldest_pos is not None:
            yield Gap(self._wish.symbols, self._received_at, None, "resume_expired")
            self._pos, self._stream = told.oldest_pos - 1, ""
            raise Again(told.detail, 0.0)
        if told.code in {"unavailable", "rate_limited"}:
            raise Again(told.detail, told.retry_after_s, told_error(told))
        if told.code != "unknown_symbol":
            raise told_error(told)


def refusal(refused: tuple[RefusedSymbol, ...]) -> SsmdError:
    """Return the error that it is when nothing is left."""
    names = ", ".join(one.symbol for one in refused)
    suggestions = tuple(dict.fromkeys(name for one in refused for name in one.suggestions))
    problem = Problem("unknown_symbol", f"no such symbol: {names}", "GET /api/v1/symbols lists what this key may read")
    if any(one.code == "rate_limited" for one in refused):
        return told_error(Problem("rate_limited", f"too many series at once: {names}", "subscribe to fewer"))
    return NotFound(Problem(problem.code, problem.detail, problem.hint, suggestions=suggestions))
