"""Who may read what. Pure: the time is given, nothing is asked of anybody."""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from fnmatch import fnmatchcase
from typing import Final, Literal, Protocol

from msgspec import Struct

from ssmd.model import EVENT_TYPES, EventType

ClientType = Literal["display", "non-display", "trading"]
CLIENT_TYPES: Final[tuple[ClientType, ...]] = ("display", "non-display", "trading")


class Series(Struct, frozen=True, order=True, cache_hash=True):
    """What one subscription is about."""

    feed: str
    type: EventType
    symbol: str


class Grant(Struct, frozen=True):
    """One entitlement. symbols: names or globs; * is every one. data_types: none named means all.

    expires_ns: from then on it grants nothing; None never.
    """

    feed: str
    symbols: tuple[str, ...]
    data_types: tuple[EventType, ...] = ()
    expires_ns: int | None = None

    def covers(self, series: Series, at_ns: int) -> bool:
        return (
            self.feed == series.feed
            and (self.expires_ns is None or at_ns < self.expires_ns)
            and series.type in (self.data_types or EVENT_TYPES)
            and any(fnmatchcase(series.symbol, glob) for glob in self.symbols)
        )


class Limits(Struct, frozen=True):
    """What one client may use at the same time, and how fast."""

    devices: int = 10
    """Live connections."""
    subscriptions: int = 1_000
    """Series on one connection."""
    requests_per_s: float = 20.0
    requests_burst: int = 100
    commands_per_s: float = 20.0
    """Messages that a client sends over one WebSocket."""


class Principal(Struct, frozen=True):
    """A client as it is now. revision rises at each change of it, so that a session can tell whether it has seen one.

    key_id: the public part of the key that it came with.
    """

    client_id: str
    type: ClientType
    grants: tuple[Grant, ...] = ()
    limits: Limits = Limits()
    name: str = ""
    revision: int = 0
    is_admin: bool = False
    key_id: str = ""

    def may_read(self, series: Series, at_ns: int) -> bool:
        return any(grant.covers(series, at_ns) for grant in self.grants)

    def readable(self, among: Iterable[Series], at_ns: int) -> list[Series]:
        """Return those that it may read, in their order."""
        return [series for series in among if self.may_read(series, at_ns)]

    def next_expiry_ns(self, at_ns: int) -> int | None:
        """Return when the next of its grants ends; None when none does."""
        return min(
            (g.expires_ns for g in self.grants if g.expires_ns is not None and g.expires_ns > at_ns), default=None
        )


class Device(Struct, frozen=True):
    """Where a session comes from. device_id: as the client says, or made of the address and the user agent."""

    ip_address: str
    device_id: str


CloseReason = Literal["key", "revoked", "kicked", "devices", "restart"]
"""Why a session is ended from this side; the WebSocket has a close code for each."""


class SessionHandle(Protocol):
    """A live session, as the one who owns it sees it."""

    session_id: str

    @property
    def principal(self) -> Principal:
        """The client as it is now."""
        ...


class Doorkeeper(Protocol):
    """Knows the clients. All methods may be called by any number of sessions at the same time."""

    async def authenticate(self, key: str, ip_address: str) -> Principal:
        """Return whose key this is.

        Raises Problem: invalid_key for any key that does not count (unknown, expired, revoked: one answer for all),
        rate_limited for an address that tries too often, unavailable without a database.
        """
        ...

    def session(
        self,
        principal: Principal,
        device: Device,
        on_change: Callable[[Principal], None],
        on_close: Callable[[CloseReason], None],
    ) -> AbstractAsyncContextManager[SessionHandle]:
        """Register a live session for the length of the context. Raises Problem rate_limited above the device limit.

        on_change is called, without any await in between, when the client's grants or limits have changed or one has
        expired; on_close when the session must end. Both within a second of the change.
        """
        ...


class Meter(Protocol):
    """Counts what was delivered. Never waits: called for each batch of messages after it was handed to the socket."""

    def count(self, principal: Principal, series: Series, messages: int) -> None: ...
