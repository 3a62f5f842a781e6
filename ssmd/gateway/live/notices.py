"""What the gateway itself says over a WebSocket: answers to commands, and notices about the data."""

from collections.abc import Collection, Iterable
from itertools import groupby
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.gateway.access import Series
from ssmd.gateway.live.frames import text_frame
from ssmd.gateway.problems import ParameterError, Problem
from ssmd.model import EventType

CommandId = int | str | None
"""What a client calls its command; every answer carries it."""


class SessionLimits(Struct, frozen=True):
    subscriptions: int
    commands_per_s: float
    message_bytes: int


class Welcome(Struct, frozen=True, tag_field="type", tag="welcome"):
    """stream: names what `pos` counts in; a resume may give it, as `pos:N@STREAM`."""

    session: str
    client: str
    heartbeat_s: float
    stream: str
    pos: int
    limits: SessionLimits


class Subscription(Struct, frozen=True):
    feed: str
    data_type: EventType
    symbols: tuple[str, ...]


class RefusedSymbol(Struct, frozen=True):
    symbol: str
    code: str
    suggestions: tuple[str, ...] = ()


class Subscribed(Struct, frozen=True, tag_field="type", tag="subscribed"):
    """The whole set, after each change of it and for `list`."""

    id: CommandId
    subscriptions: tuple[Subscription, ...]
    refused: tuple[RefusedSymbol, ...] = ()
    warnings: tuple[str, ...] = ()


class Revoked(Struct, frozen=True, tag_field="type", tag="revoked"):
    """This key may no longer read some of what was subscribed; the rest goes on."""

    subscriptions: tuple[Subscription, ...]


class ReplayEnded(Struct, frozen=True, tag_field="type", tag="replay_ended"):
    id: CommandId
    messages: int
    complete: bool


class ReplayStarted(Struct, frozen=True, tag_field="type", tag="replay_started"):
    id: CommandId
    start: str
    end: str


class Pong(Struct, frozen=True, tag_field="type", tag="pong"):
    id: CommandId


class Gap(Struct, frozen=True, tag_field="type", tag="gap"):
    """Between these times of receiving, messages may be missing. frames: how many; null when nobody can tell.

    id: of the replay that it belongs to; null for what is live.
    """

    feed: str
    data_type: EventType
    symbols: tuple[str, ...]
    start: str
    end: str
    reason: str
    frames: int | None = None
    id: CommandId = None


class Lag(Struct, frozen=True, tag_field="type", tag="lag"):
    """This client was too slow: quotes and books between two numbers were left out. Trades were not."""

    dropped: int
    after_pos: int
    next_pos: int


class Heartbeat(Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """Nothing else came for a while. live: false while the bus is away.

    pos: everything up to it was sent; null while the session catches up, and then that cannot be said.
    """

    at: str
    pos: int | None
    live: bool


class Refusal(Struct, frozen=True, tag_field="type", tag="error", omit_defaults=True):
    """One problem, with the members that its code has."""

    code: str
    detail: str
    id: CommandId | msgspec.UnsetType = msgspec.UNSET
    hint: str = ""
    suggestions: tuple[str, ...] = ()
    errors: tuple[ParameterError, ...] = ()
    retry_after_s: int | None = None
    oldest_pos: int | None = None


Notice = Welcome | Subscribed | Revoked | ReplayStarted | ReplayEnded | Pong | Gap | Lag | Heartbeat | Refusal

_encode: Final = msgspec.json.Encoder().encode


def as_frame(notice: Notice) -> bytes:
    return text_frame(_encode(notice))


def refusal(problem: Problem, command_id: CommandId = None) -> Refusal:
    """Return a problem as a message."""
    suggestions, oldest = problem.more.get("suggestions", ()), problem.more.get("oldest_pos")
    return Refusal(
        problem.code,
        problem.detail,
        command_id,
        problem.hint,
        tuple(suggestions) if isinstance(suggestions, (tuple, list)) else (),
        problem.errors,
        problem.retry_after_s,
        oldest if isinstance(oldest, int) else None,
    )


def subscriptions_of(series: Collection[Series]) -> tuple[Subscription, ...]:
    """Return the series by feed and type."""
    return tuple(
        Subscription(feed, kind, tuple(one.symbol for one in group))
        for (feed, kind), group in groupby(_sorted(series), lambda one: (one.feed, one.type))
    )


def _sorted(series: Iterable[Series]) -> list[Series]:
    return sorted(series, key=lambda one: (one.feed, one.type, one.symbol))
