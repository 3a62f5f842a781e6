"""What comes over a subscription: events, and what is said about them. Unknown types and members are skipped."""

from typing import Final, Literal

import msgspec
from msgspec import Struct

from ssmd.client.errors import Problem, SsmdError
from ssmd.client.rows import Book, EventType, Quote, Trade


class Gap(Struct, frozen=True, tag_field="type", tag="gap"):
    """Between these times of receiving, messages may be missing. feed: empty for all that is subscribed.

    reason `resume_expired`: this client was away for longer than the stream is kept. end: None where nobody knows it.
    """

    symbols: tuple[str, ...]
    start: str | None
    end: str | None
    reason: str
    feed: str = ""
    data_type: EventType | None = None
    frames: int | None = None


class Lag(Struct, frozen=True, tag_field="type", tag="lag"):
    """This client was too slow: quotes and books between two places were left out. Trades were not."""

    dropped: int
    after_pos: int
    next_pos: int


class Series(Struct, frozen=True):
    feed: str
    data_type: EventType
    symbols: tuple[str, ...]


class Revoked(Struct, frozen=True, tag_field="type", tag="revoked"):
    """This key may no longer read some of what was subscribed; the rest goes on."""

    subscriptions: tuple[Series, ...]


class Refused(Struct, frozen=True, tag_field="type", tag="refused"):
    """One symbol cannot be had; the others come."""

    symbol: str
    code: str
    suggestions: tuple[str, ...] = ()


class Connection(Struct, frozen=True, tag_field="type", tag="connection"):
    """The connection was lost, or is there again: what came meanwhile follows, or a gap says that it is missing."""

    state: Literal["lost", "resumed"]
    detail: str = ""


Message = Trade | Quote | Book | Gap | Lag | Revoked | Refused | Connection


class Welcome(Struct, frozen=True, tag_field="type", tag="welcome"):
    """stream: names what `pos` counts in; empty while the gateway itself does not know."""

    stream: str
    pos: int


class RefusedSymbol(Struct, frozen=True):
    symbol: str
    code: str
    suggestions: tuple[str, ...] = ()


class Subscribed(Struct, frozen=True, tag_field="type", tag="subscribed"):
    subscriptions: tuple[Series, ...]
    refused: tuple[RefusedSymbol, ...] = ()


class Heartbeat(Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """pos: everything up to it was sent; None while the session catches up."""

    pos: int | None


class ReplayStarted(Struct, frozen=True, tag_field="type", tag="replay_started"):
    """start, end: as times, whatever they were asked for as."""

    start: str
    end: str


class ReplayEnded(Struct, frozen=True, tag_field="type", tag="replay_ended"):
    """complete: everything of the period was sent."""

    complete: bool


class Told(Problem, frozen=True, tag_field="type", tag="error"):
    """A problem as a message."""


Heard = (
    Trade | Quote | Book | Gap | Lag | Revoked | Welcome | Subscribed | Heartbeat | Told | ReplayStarted | ReplayEnded
)


class _Typed(Struct, frozen=True):
    type: str


_DECODER: Final = msgspec.json.Decoder(Heard)
_KNOWN: Final = frozenset(
    str(kind.__struct_config__.tag)
    for kind in (
        Trade,
        Quote,
        Book,
        Gap,
        Lag,
        Revoked,
        Welcome,
        Subscribed,
        Heartbeat,
        Told,
        ReplayStarted,
        ReplayEnded,
    )
)


def parse(text: str | bytes) -> Heard | None:
    """Return a message, None for one of a type that came after this version. Raises SsmdError for what is none."""
    try:
        heard: Heard = _DECODER.decode(text)
    except msgspec.MsgspecError as error:
        if _type_of(text) in _KNOWN:
            raise SsmdError(f"a message that cannot be understood: {error}") from error
        return None
    return heard


def _type_of(text: str | bytes) -> str:
    try:
        return msgspec.json.decode(text, type=_Typed).type
    except msgspec.MsgspecError as error:
        raise SsmdError(f"what answers is no gateway of this version: {error}") from error
