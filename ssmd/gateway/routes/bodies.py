"""What administrators send and get, as JSON. Every wrong thing of a body is told with its place."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from ssmd.clock import NS_PER_S
from ssmd.gateway.access import ClientType, Grant
from ssmd.gateway.clients import Client, ClientLimits, KeyRecord, Mark
from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.gateway.reconcile import Wanted
from ssmd.gateway.reports import rfc3339
from ssmd.gateway.sessions import SessionView
from ssmd.model import EventType

T = TypeVar("T")

ClientId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$", description="Letters, digits, _ and -.")]
FeedName = Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,32}$", description="An exchange.")]
SymbolGlob = Annotated[
    str, Meta(pattern=r"^[A-Z0-9_*?-]{1,32}$", description='A symbol, or a glob such as "BTC*"; "*" is every symbol.')
]
Moment = Annotated[
    str, Meta(max_length=40, description="A date, or a date and time with an offset, such as 2027-01-31T12:00Z.")
]
Seconds = Annotated[float, Meta(ge=0, le=3_660 * 86_400)]

MAX_NS: Final = (1 << 63) - 1
"""What a column of SQLite can hold."""


class GrantBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may read of one feed. data_types: none named means all."""

    feed: FeedName
    symbols: Annotated[tuple[SymbolGlob, ...], Meta(min_length=1, max_length=10_000)]
    data_types: tuple[EventType, ...] = ()
    expires_at: Moment | None = None

    def grant(self) -> Grant:
        end_ns = None if self.expires_at is None else moment_ns(self.expires_at)
        return Grant(self.feed, tuple(dict.fromkeys(self.symbols)), self.data_types, end_ns)


class LimitsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What differs from what everybody may."""

    devices: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    subscriptions: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    requests_per_s: Annotated[float, Meta(ge=0.01, le=1e6)] | None = None


class NewClientBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A client to be added. is_in_file: an environment's file has it, which may take it away again."""

    client_id: ClientId
    type: ClientType
    name: Annotated[str, Meta(max_length=200)] = ""
    limits: LimitsBody = LimitsBody()
    is_in_file: bool = False
    key_expires_s: Seconds | None = None

    def client(self) -> Client:
        limits = ClientLimits(self.limits.devices, self.limits.subscriptions, self.limits.requests_per_s)
        return Client(self.client_id, self.type, self.name, limits, origin="file" if self.is_in_file else "gateway")


class RotateBody(Struct, frozen=True, forbid_unknown_fields=True):
    """grace_s: how long the key before goes on to count."""

    grace_s: Seconds = 86_400
    key_expires_s: Seconds | None = None


class WantedBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A client as an environment's file has it."""

    client_id: ClientId
    type: ClientType
    name: Annotated[str, Meta(max_length=200)] = ""
    max_devices: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    grants: tuple[GrantBody, ...] = ()

    def wanted(self) -> Wanted:
        return Wanted(self.client_id, self.type, self.name, self.max_devices, tuple(g.grant() for g in self.grants))


class EnvironmentBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Who may read what, as an environment's file has it, whole."""

    environment: Annotated[str, Meta(max_length=64)]
    clients: tuple[WantedBody, ...]


def read(body: str | bytes, type_: type[T]) -> T:
    """Return a body as what it should be. Raises Problem invalid_parameter with the place of what is wrong."""
    try:
        return msgspec.json.decode(body or b"{}", type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what, _, place = str(error).partition(" - at ")
        raise invalid(ParameterError(place.strip("`") or "body", "", what)) from error


def checked_id(text: str) -> str:
    """Return a client's id out of a path. Raises Problem not_found for what cannot be one."""
    try:
        return msgspec.convert(text, ClientId)
    except msgspec.ValidationError as error:
        raise Problem("not_found", "there is no such client", "ssmd client list shows them") from error


def moment_ns(text: str) -> int:
    """Return a date or time as nanoseconds; without an offset it is UTC. Raises Problem invalid_parameter.

    What lies after 2262 becomes the last moment that can be stored.
    """
    try:
        moment = datetime.fromisoformat(text)
        at_s = int((moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp())
    except (ValueError, OverflowError) as error:
        allowed = "a date, or a date and time such as 2027-01-31T12:00Z"
        raise invalid(ParameterError("expires_at", text, allowed)) from error
    return max(0, min(at_s * NS_PER_S, MAX_NS))


# answers -----------------------------------------------------------------------------------------------------


class GrantView(Struct, frozen=True):
    feed: str
    symbols: tuple[str, ...]
    data_types: tuple[str, ...]
    expires_at: str | None


class ClientView(Struct, frozen=True):
    """A client for people and programs. origin: `file` when an environment's file has it."""

    client_id: str
    type: str
    name: str
    origin: str
    created_at: str
    limits: ClientLimits
    grants: tuple[GrantView, ...]


class KeyView(Struct, frozen=True):
    """What may be told of a key."""

    key_id: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    is_live: bool


class KnownView(Struct, frozen=True):
    """A client with its keys, and the feeds of which a revoke lets no file grant it anything."""

    client: ClientView
    keys: tuple[KeyView, ...]
    revoked: dict[str, str]


class NewKeyView(Struct, frozen=True):
    """A new key: shown this one time."""

    client_id: str
    key_id: str
    key: str


class SessionBody(Struct, frozen=True):
    session_id: str
    client_id: str
    type: Literal["display", "non-display", "trading"]
    connected_at: str
    device_id: str
    ip_address: str


def client_view(client: Client) -> ClientView:
    grants = tuple(GrantView(g.feed, g.symbols, g.data_types, _moment(g.expires_ns)) for g in client.grants)
    created_at = rfc3339(client.created_ns)
    return ClientView(client.client_id, client.type, client.name, client.origin, created_at, client.limits, grants)


def key_view(key: KeyRecord, at_ns: int) -> KeyView:
    return KeyView(
        key.key_id, rfc3339(key.created_ns), _moment(key.expires_ns), _moment(key.last_used_ns), key.is_live(at_ns)
    )


def revoked_view(marks: tuple[Mark, ...]) -> dict[str, str]:
    return {mark.feed: rfc3339(mark.revoked_ns) for mark in marks}


def session_views(sessions: list[SessionView]) -> Iterator[SessionBody]:
    for s in sessions:
        kind: ClientType = "display" if s.type == "display" else "trading" if s.type == "trading" else "non-display"
        yield SessionBody(s.session_id, s.client_id, kind, rfc3339(s.connected_ns), s.device_id, s.ip_address)


def _moment(at_ns: int | None) -> str | None:
    return None if at_ns is None else rfc3339(at_ns)
