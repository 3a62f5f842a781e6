"""What can be made to go wrong: one table, and the words `NAME@SECONDS[:ARGUMENT]` that ask for it.

An argument is a symbol (it holds a slash), numbers, or both: `silence@30:BTC/USD:5`, `refuse_connects@10:20:503`.
Without a symbol a fault concerns every symbol; a fault on frames takes the next frame that fits, on each connection.
"""

import math
from typing import Final

from msgspec import Struct

from ssmd.errors import ConfigError

FOREVER: Final = math.inf


class Number(Struct, frozen=True):
    """One number that a fault takes, in the order of the table."""

    meaning: str
    default: float
    lowest: float = 0
    highest: float = 86_400

    def allows(self, number: float) -> bool:
        return self.lowest <= number <= self.highest


class FaultKind(Struct, frozen=True):
    client_sees: str
    numbers: tuple[Number, ...] = ()


FAULTS: Final[dict[str, FaultKind]] = {
    # connections
    "drop": FaultKind("the TCP connection is reset without a close frame"),
    "close": FaultKind("a close frame, then end of stream", (Number("close code", 1001, 1000, 4999),)),
    "stall": FaultKind(
        "half-open: no frame, no pong, no TCP error; then everything that was queued", (Number("seconds", 10),)
    ),
    "refuse_connects": FaultKind(
        "new handshakes are answered with the status and Retry-After; open connections stay",
        (Number("seconds", 10), Number("status", 429, 400, 599)),
    ),
    "maintenance": FaultKind(
        "status with upcoming_maintenance; a moment later system maintenance and no data, a close frame, 503; then online",
        (Number("seconds refused", 10), Number("seconds of warning", 1)),
    ),
    # the feed
    "silence": FaultKind(
        "the subscriptions send nothing, heartbeats go on; ends by time or when subscribed again",
        (Number("seconds", FOREVER, 0, FOREVER),),
    ),
    "pause": FaultKind(
        "a quiet market: nothing happens, nothing is withheld, heartbeats go on", (Number("seconds", 10),)
    ),
    "burst": FaultKind(
        "the rate rises for a while", (Number("frames per second", 20_000, 0.001, 10_000_000), Number("seconds", 1))
    ),
    "checksum": FaultKind("one book update with a wrong checksum"),
    "flip": FaultKind("one book update with an altered qty in the top ten; its checksum is that of the true book"),
    "duplicate": FaultKind("one data frame comes twice"),
    "missing": FaultKind("one update that deletes in the top ten is not sent; the next checksum does not match"),
    "reorder": FaultKind("one book update comes after its successor"),
    "unknown_field": FaultKind("one book update carries a field that nobody knows; all else is right"),
    "wrong_type": FaultKind("one trade frame with trade ids as texts"),
    "absurd_price": FaultKind("an ask of 886110000000 enters the end of the book; the checksum is right"),
    # frames out of nowhere
    "garbage": FaultKind("a text frame that is not JSON"),
    "bad_utf8": FaultKind("a text frame that is not UTF-8: a WebSocket library closes with 1007"),
    "nan": FaultKind("a trade frame with the price NaN"),
    "deep_json": FaultKind("a frame of 100,000 nested arrays"),
    "huge_int": FaultKind("a trade frame whose trade_id has 5,000 digits"),
    "unknown_channel": FaultKind("a frame of a channel that does not exist"),
    "unknown_symbol": FaultKind("a trade frame of a symbol that was never subscribed"),
    "oversize": FaultKind(
        "one text frame of this size: valid JSON, unknown channel", (Number("bytes", 17_000_000, 100, 100_000_000),)
    ),
    # answers
    "no_ack": FaultKind("the next subscribe is not answered, and its data does not come", (Number("requests", 1),)),
    "refuse": FaultKind(
        "subscribing is refused as if the pair did not exist", (Number("seconds", FOREVER, 0, FOREVER),)
    ),
    "already": FaultKind("the next subscribe is answered `Already subscribed`; no data", (Number("requests", 1),)),
    "rate_limit": FaultKind("the next request is lost and answered `Exceeded msg rate`", (Number("requests", 1),)),
}


CONNECTION_FAULTS: Final = ("drop", "close", "stall", "refuse_connects", "maintenance")
"""Those that need no synthetic feed."""


class Fault(Struct, frozen=True):
    name: str
    at_s: float = 0.0
    """Seconds after the server is ready."""
    symbol: str | None = None
    numbers: tuple[float, ...] = ()

    def number(self, index: int = 0) -> float:
        """Return the number asked for, else the table's default."""
        return self.numbers[index] if index < len(self.numbers) else FAULTS[self.name].numbers[index].default

    def concerns(self, symbol: str) -> bool:
        return self.symbol is None or self.symbol == symbol


def parse_fault(text: str) -> Fault:
    """Return the fault of `NAME@SECONDS[:ARGUMENT]`. Raises ConfigError, with the legal names."""
    head, _, argument = text.partition(":")
    name, at, when = head.partition("@")
    at_s = _number(when)
    if not at or at_s is None or not 0 <= at_s < math.inf:
        raise ConfigError(f"fault {text!r} has no time; write NAME@SECONDS[:ARGUMENT], such as {name or 'drop'}@5")
    return _fault(name, at_s, argument)


def parse_injection(text: str) -> Fault:
    """Return the fault of `NAME[:ARGUMENT]`, to happen now. Raises ConfigError, with the legal names."""
    name, _, argument = text.partition(":")
    return _fault(name, 0.0, argument)


def describe_faults() -> str:
    """Return the table for people: name, what the client sees, numbers with their defaults."""
    return "\n".join(f"{name:<17}{kind.client_sees}{_numbers_shown(kind)}" for name, kind in FAULTS.items())


def _numbers_shown(kind: FaultKind) -> str:
    shown = ", ".join(f"{number.meaning} = {number.default:.10g}" for number in kind.numbers)
    return f" ({shown})" if shown else ""


def _fault(name: str, at_s: float, argument: str) -> Fault:
    if name not in FAULTS:
        raise ConfigError(f"there is no fault {name!r}; legal names: {', '.join(FAULTS)}")
    words = [word for word in argument.split(":") if word]
    symbols = [word for word in words if "/" in word]
    numbers = [number for word in words if "/" not in word and (number := _number(word)) is not None]
    legal = FAULTS[name].numbers
    understood = len(symbols) + len(numbers) == len(words) and len(symbols) <= 1 and len(numbers) <= len(legal)
    if not understood or not all(kind.allows(number) for kind, number in zip(legal, numbers, strict=False)):
        allowed = [f"{kind.meaning} from {kind.lowest:.10g} to {kind.highest:.10g}" for kind in legal]
        raise ConfigError(
            f"fault {name} does not understand {argument!r}; it takes {', '.join(['a symbol', *allowed])}"
        )
    return Fault(name, at_s, symbols[0] if symbols else None, tuple(numbers))


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number
