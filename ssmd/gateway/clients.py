"""Who the clients are and what is known of them. Pure."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final, Literal

from msgspec import Struct

from ssmd.gateway.access import ClientType, Grant, Limits
from ssmd.model import EVENT_TYPES, EventType

ADMIN_ID: Final = "@admin"
"""No client can have this name: @ is not allowed in one."""

EVERY_FEED: Final = "*"

Origin = Literal["file", "gateway"]
"""Whose record a client is: of an environment's file, which may take it away again, or of this gateway alone."""


class ClientLimits(Struct, frozen=True):
    """What differs from the limits that everybody has; None: as everybody."""

    devices: int | None = None
    subscriptions: int | None = None
    requests_per_s: float | None = None

    def over(self, usual: Limits) -> Limits:
        """Return the limits in force. A burst is five seconds' worth, as it is by default."""
        per_s = usual.requests_per_s if self.requests_per_s is None else self.requests_per_s
        burst = usual.requests_burst if self.requests_per_s is None else max(1, int(per_s * 5))
        return Limits(
            devices=self.devices or usual.devices,
            subscriptions=self.subscriptions or usual.subscriptions,
            requests_per_s=per_s,
            requests_burst=burst,
            commands_per_s=usual.commands_per_s,
        )


class Client(Struct, frozen=True):
    """A client that may use the gateway."""

    client_id: str
    type: ClientType
    name: str = ""
    limits: ClientLimits = ClientLimits()
    grants: tuple[Grant, ...] = ()
    origin: Origin = "gateway"
    created_ns: int = 0


class KeyRecord(Struct, frozen=True):
    """What is kept of an API key: never the key. expires_ns: from then on it does not count; None: never."""

    key_id: str
    client_id: str
    digest: bytes
    created_ns: int
    not_before_ns: int
    expires_ns: int | None = None
    last_used_ns: int | None = None

    def __repr__(self) -> str:
        return f"KeyRecord({self.key_id!r}, {self.client_id!r})"

    def is_live(self, at_ns: int) -> bool:
        return self.not_before_ns <= at_ns and (self.expires_ns is None or at_ns < self.expires_ns)


class Mark(Struct, frozen=True):
    """What a revoke leaves: of this feed (* is each) only a person can grant the client anything again, no file."""

    client_id: str
    feed: str
    revoked_ns: int


class Policy(Struct, frozen=True):
    """Everything that decides who may read what."""

    clients: tuple[Client, ...] = ()
    keys: tuple[KeyRecord, ...] = ()
    marks: tuple[Mark, ...] = ()

    def client(self, client_id: str) -> Client | None:
        return next((client for client in self.clients if client.client_id == client_id), None)


# grants ------------------------------------------------------------------------------------------------------

Atom = tuple[str, str, EventType]
"""Feed, symbol or glob, type: the smallest thing that is granted."""


def atoms(grants: Iterable[Grant]) -> dict[Atom, int | None]:
    """Return what grants mean together, each with its end: two that say the same in other words are equal here."""
    found: dict[Atom, int | None] = {}
    for grant in grants:
        for symbol in grant.symbols:
            for data_type in grant.data_types or EVENT_TYPES:
                atom = (grant.feed, symbol, data_type)
                found[atom] = _later(found[atom], grant.expires_ns) if atom in found else grant.expires_ns
    return found


def grants_of(found: Mapping[Atom, int | None]) -> tuple[Grant, ...]:
    """Return few grants that mean these atoms, in the order in which they come."""
    types: dict[tuple[str, str, int | None], list[EventType]] = {}
    for (feed, symbol, data_type), expires_ns in found.items():
        types.setdefault((feed, symbol, expires_ns), []).append(data_type)
    symbols: dict[tuple[str, tuple[EventType, ...], int | None], list[str]] = {}
    for (feed, symbol, expires_ns), of_symbol in types.items():
        named = tuple(t for t in EVENT_TYPES if t in of_symbol)
        symbols.setdefault((feed, () if named == EVENT_TYPES else named, expires_ns), []).append(symbol)
    return tuple(Grant(feed, tuple(names), named, end) for (feed, named, end), names in symbols.items())


def narrowed(wanted: Mapping[Atom, int | None], held: Mapping[Atom, int | None]) -> dict[Atom, int | None]:
    """Return what is wanted as far as it is held already: nothing new, and nothing for longer."""
    found: dict[Atom, int | None] = {}
    for atom, wanted_ns in wanted.items():
        ends = [end for other, end in held.items() if _includes(other, atom)]
        if ends:
            held_ns = None if None in ends else max(end for end in ends if end is not None)
            found[atom] = _sooner(wanted_ns, held_ns)
    return found


def _includes(held: Atom, wanted: Atom) -> bool:
    (feed, glob, data_type), (wanted_feed, name, wanted_type) = held, wanted
    is_glob = "*" in name or "?" in name
    return (feed, data_type) == (wanted_feed, wanted_type) and (
        glob in {name, "*"} or (not is_glob and fnmatchcase(name, glob))
    )


def _later(left: int | None, right: int | None) -> int | None:
    return None if left is None or right is None else max(left, right)


def _sooner(left: int | None, right: int | None) -> int | None:
    return min((end for end in (left, right) if end is not None), default=None)
