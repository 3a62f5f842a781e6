"""The live sessions: who is connected, from where, and how to reach them."""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from ssmd import metrics
from ssmd.clock import NowNs
from ssmd.gateway.access import CLIENT_TYPES, CloseReason, Device, Principal
from ssmd.gateway.audit import AuditLog
from ssmd.gateway.database.usage import SessionRow


class TrackedSession:
    """One connection. What it is told is told at once, with no await in between."""

    def __init__(
        self,
        principal: Principal,
        row: SessionRow,
        on_change: Callable[[Principal], None],
        on_close: Callable[[CloseReason], None],
    ) -> None:
        self.session_id = row.session_id
        self.row = row
        self.is_closing = False
        self._principal = principal
        self._on_change = on_change
        self._on_close = on_close

    @property
    def principal(self) -> Principal:
        return self._principal

    def change(self, principal: Principal) -> None:
        self._principal = principal
        if not self.is_closing:
            self._on_change(principal)

    def close(self, reason: CloseReason) -> None:
        """Ask for the end, once: it is over when its owner has left."""
        if not self.is_closing:
            self.is_closing = True
            self._on_close(reason)


class SessionView(Struct, frozen=True):
    """A live session for people."""

    session_id: str
    client_id: str
    type: str
    connected_ns: int
    device_id: str
    ip_address: str


class SessionTracker:
    """Knows every live session and tells the audit log of begins and ends."""

    def __init__(self, audit: AuditLog, now: NowNs) -> None:
        self._audit = audit
        self._now = now
        self._sessions: dict[str, TrackedSession] = {}
        self._types: Counter[str] = Counter()

    def open(
        self,
        principal: Principal,
        device: Device,
        on_change: Callable[[Principal], None],
        on_close: Callable[[CloseReason], None],
    ) -> TrackedSession:
        row = SessionRow(
            f"s-{secrets.token_hex(6)}",
            principal.client_id,
            principal.type,
            self._now(),
            None,
            device.device_id,
            device.ip_address,
        )
        session = TrackedSession(principal, row, on_change, on_close)
        self._sessions[row.session_id] = session
        self._audit.note_session(row)
        self._count(row.display_type, +1)
        return session

    def leave(self, session: TrackedSession) -> None:
        del self._sessions[session.session_id]
        ended_ns = max(session.row.connected_ns, self._now())
        self._audit.note_session(replace(session.row, disconnected_ns=ended_ns))
        self._count(session.row.display_type, -1)

    def find(self, session_id: str) -> TrackedSession | None:
        return self._sessions.get(session_id)

    def of(self, client_id: str) -> Sequence[TrackedSession]:
        """Return the sessions of a client that are to stay, oldest first."""
        return [s for s in self._sessions.values() if s.row.client_id == client_id and not s.is_closing]

    def all(self) -> Sequence[TrackedSession]:
        return tuple(self._sessions.values())

    def views(self) -> Iterator[SessionView]:
        for session in self._sessions.values():
            row = session.row
            yield SessionView(
                row.session_id, row.client_id, row.display_type, row.connected_ns, row.device_id, row.ip_address
            )

    def _count(self, display_type: str, change: int) -> None:
        self._types[display_type] += change
        for name in CLIENT_TYPES:
            metrics.CLIENTS_CONNECTED.labels(name).set(self._types[name])
