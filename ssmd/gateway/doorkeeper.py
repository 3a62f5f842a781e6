"""Who is let in, and how long: the clients as the database has them, and every session that must hear of a change.

What a client may read is decided in memory, so that a decision costs microseconds. The copy counts only while the
database answers: without it nobody new is let in, and live sessions go on with what they have, until it expires.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd import metrics
from ssmd.clock import NS_PER_S, NowNs, now_ns
from ssmd.errors import DatabaseDown
from ssmd.gateway.access import CloseReason, Device, Grant, Limits, Principal
from ssmd.gateway.audit import AuditLog
from ssmd.gateway.clients import ADMIN_ID, Client, KeyRecord, Policy
from ssmd.gateway.database import Database
from ssmd.gateway.database.connection import Transaction, look_through
from ssmd.gateway.database.policy import load, version
from ssmd.gateway.keys import KeyRing, Pepper, id_of
from ssmd.gateway.limits import Buckets, Rate, host_of
from ssmd.gateway.problems import Problem
from ssmd.gateway.sessions import SessionTracker, TrackedSession
from ssmd.log import get_logger

CHECK_S: Final = 0.5
"""Between two looks at the database: what another process has changed there is in force within a second."""
FRESH_S: Final = 3.0
"""After so long without an answer of the database its copy does not count for anybody new."""
SWEEP_S: Final = 10.0
"""Everything is read again, whatever the database says of itself."""
RETRY_AFTER_S: Final = 5


class AddressLimits(Struct, frozen=True):
    """What one address may do, whoever it says it is."""

    wrong_keys: Rate = Rate(1.0, 20)
    sessions: Rate = Rate(20.0, 200)


class PolicyDoorkeeper:
    """Implements Doorkeeper. Belongs to the tree; PolicyWatcher keeps it up to date."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        keys: tuple[Pepper, str],
        now: NowNs = now_ns,
        limits: AddressLimits = AddressLimits(),  # noqa: B008  # frozen
    ) -> None:
        """keys: the pepper, and the administrator's key."""
        self._database = database
        self._audit = audit
        self._pepper, admin_key = keys
        self._admin = KeyRecord(id_of(admin_key), ADMIN_ID, self._pepper.digest(admin_key), 0, 0)
        self._now = now
        self._limits = limits
        self.tracker = SessionTracker(audit, now)
        self._revisions = count(1)
        self._clients: dict[str, Client] = {}
        self._principals: dict[str, Principal] = {}
        self._keys = KeyRing(self._pepper)
        self._version: int | None = None
        self._read_s = float("-inf")
        self._answered_s = float("-inf")
        self._is_down = False
        self._checking = trio.Lock()
        self._wrong_keys: Buckets[str] = Buckets()
        self._handshakes: Buckets[str] = Buckets()
        self._log = get_logger(actor="doorkeeper")

    # deciding ------------------------------------------------------------------------------------------------

    async def authenticate(self, key: str, ip_address: str) -> Principal:
        """Return whose key this is. Raises Problem: invalid_key, rate_limited, unavailable."""
        await self._answer_of_today()
        record = self._keys.find(key, self._now())
        if record is None:
            raise self._refusal(ip_address)
        self._audit.note_key_used(record.key_id, self._now())
        return self._principal(record)

    def _refusal(self, ip_address: str) -> Problem:
        """Return the one answer to every key that does not count; too many from an address have another one."""
        metrics.KEYS_REFUSED.inc()
        wait_s = self._wrong_keys.take(host_of(ip_address), self._limits.wrong_keys, trio.current_time())
        if wait_s:
            return _limited("too many wrong keys from this address", wait_s)
        return Problem("invalid_key", "this key is not valid", "ssmd client rotate ID makes a new one")

    async def _answer_of_today(self) -> None:
        """Ask the database when it has not answered lately. Raises Problem unavailable."""
        if not self.is_up:
            await self._check_unless(lambda: self.is_up)
        if not self.is_up:
            problem = Problem("unavailable", "the database of clients (db) does not answer", "try again soon")
            problem.retry_after_s = RETRY_AFTER_S
            raise problem

    def _principal(self, record: KeyRecord) -> Principal:
        if record.client_id == ADMIN_ID:
            return Principal(ADMIN_ID, "non-display", name="administrator", is_admin=True, key_id=record.key_id)
        return replace(self._principals[record.client_id], key_id=record.key_id)

    @asynccontextmanager
    async def session(
        self,
        principal: Principal,
        device: Device,
        on_change: Callable[[Principal], None],
        on_close: Callable[[CloseReason], None],
    ) -> AsyncIterator[TrackedSession]:
        """Register a live session for the length of the context. Raises Problem: rate_limited, invalid_key."""
        now = self._admit(principal, device)
        live = self.tracker.open(now, device, on_change, on_close)
        try:
            yield live
        finally:
            self.tracker.leave(live)

    def _admit(self, principal: Principal, device: Device) -> Principal:
        """Return the client as it is now: since it was authenticated, it may have been revoked."""
        wait_s = self._handshakes.take(host_of(device.ip_address), self._limits.sessions, trio.current_time())
        if wait_s:
            raise _limited("too many new connections from this address", wait_s)
        record = self._keys.by_id(principal.key_id)
        if record is None or not record.is_live(self._now()):
            raise Problem("invalid_key", "this key is not valid any more", "ssmd client rotate ID makes a new one")
        now = self._principal(record)
        live = len(self.tracker.of(now.client_id))
        if live >= now.limits.devices:
            hint = "close one of them, or ask for more: ssmd client add --devices N"
            raise Problem("rate_limited", f"{live} connections are open, {now.limits.devices} are allowed", hint)
        return now

    # keeping up to date --------------------------------------------------------------------------------------

    async def check(self) -> None:
        """See whether the database answers and has changed; bring sessions up to date. Never raises for its absence."""
        await self._check_unless(lambda: False)

    async def _check_unless(self, is_done: Callable[[], bool]) -> None:
        async with self._checking:
            if is_done():  # by another one, meanwhile
                return
            try:
                await self._look()
            except DatabaseDown as error:
                self._note_down(error)
            self._end_what_is_over()

    async def _look(self) -> None:
        is_due = trio.current_time() - self._read_s >= SWEEP_S
        known = None if is_due else self._version
        version, policy = await self._database.read(lambda connection: _read_if_new(connection, known))
        self._answered_s = trio.current_time()
        self._note_up()
        if policy is not None:
            self._version, self._read_s = version, self._answered_s
            self._take(policy)

    def _take(self, policy: Policy) -> None:
        """Put a new policy in force, all of it at once."""
        self._keys = KeyRing(self._pepper, (*policy.keys, self._admin))
        before, self._clients = self._clients, {client.client_id: client for client in policy.clients}
        for client_id in {**before, **self._clients}:
            if self._clients.get(client_id) != before.get(client_id) or self._is_stale(client_id):
                self._change(client_id)
        self._close_dead_keys()

    def _change(self, client_id: str) -> None:
        """Make the principal of a client anew and tell its sessions. One with nothing left to read is ended."""
        before, client = self._principals.pop(client_id, None), self._clients.get(client_id)
        sessions = self.tracker.of(client_id)
        if client is None:
            for session in sessions:
                session.change(replace(session.principal, grants=(), revision=next(self._revisions)))
                session.close("revoked")
            return
        now = _principal_of(client, self._now(), next(self._revisions))
        self._principals[client_id] = now
        had_something = before is not None and bool(before.grants)
        for session in sessions:
            session.change(replace(now, key_id=session.principal.key_id))
            if had_something and not now.grants:
                session.close("revoked")
        for session in self.tracker.of(client_id)[now.limits.devices :]:
            session.close("devices")

    def _is_stale(self, client_id: str) -> bool:
        """Tell whether time alone has changed what a client may read; a clock may also have been set back."""
        live = _live_grants(self._clients[client_id], self._now())
        return client_id not in self._principals or self._principals[client_id].grants != live

    def _close_dead_keys(self) -> None:
        at_ns = self._now()
        for session in self.tracker.all():
            record = self._keys.by_id(session.principal.key_id)
            if record is None or not record.is_live(at_ns):
                session.close("key")

    def _end_what_is_over(self) -> None:
        """Tell sessions of grants and keys that have expired since the last look."""
        for client_id in [name for name in self._clients if self._is_stale(name)]:
            self._change(client_id)
        self._close_dead_keys()

    def next_expiry_s(self) -> float:
        """Return after how many seconds the next grant expires, at most CHECK_S."""
        at_ns = self._now()
        ends = [end for p in self._principals.values() if (end := p.next_expiry_ns(at_ns)) is not None]
        return min([CHECK_S, *((end - at_ns) / NS_PER_S for end in ends)])

    @property
    def is_up(self) -> bool:
        """Tell whether the database answered lately."""
        return trio.current_time() - self._answered_s <= FRESH_S

    def _note_up(self) -> None:
        if self._is_down:
            self._log.info("database_up")
        self._is_down = False
        metrics.DATABASE_UP.set(1)

    def _note_down(self, error: DatabaseDown) -> None:
        if not self._is_down:
            name = self._database.path.name
            self._log.error(
                "database_down",
                error=str(error),
                effect="nobody new is let in; live sessions go on until their grants expire",
                restore=f"free the lock or the disk; if it is damaged: stop the gateway, move {name}* away, "
                f"copy your last backup to {name}, start the gateway",
            )
        self._is_down = True
        metrics.DATABASE_UP.set(0)


class PolicyWatcher:
    """Has the doorkeeper look at the database again and again, and at every expiry."""

    def __init__(self, doorkeeper: PolicyDoorkeeper) -> None:
        self._doorkeeper = doorkeeper
        self._draining = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while not self._draining.is_set():
            await self._doorkeeper.check()
            with trio.move_on_after(self._doorkeeper.next_expiry_s()):
                await self._draining.wait()

    def drain(self) -> None:
        self._draining.set()


def _principal_of(client: Client, at_ns: int, revision: int) -> Principal:
    limits = client.limits.over(Limits())
    return Principal(client.client_id, client.type, _live_grants(client, at_ns), limits, client.name, revision)


def _live_grants(client: Client, at_ns: int) -> tuple[Grant, ...]:
    return tuple(g for g in client.grants if g.symbols and (g.expires_ns is None or at_ns < g.expires_ns))


def _read_if_new(connection: Transaction, known: int | None) -> tuple[int, Policy | None]:
    """Return the version of the policy, and the policy itself unless that version is known."""
    found = version(connection)
    if found == known:
        return found, None
    look_through(connection)
    return found, load(connection)


def _limited(detail: str, wait_s: float) -> Problem:
    problem = Problem("rate_limited", detail, "wait as long as Retry-After says")
    problem.retry_after_s = max(1, int(min(wait_s, 3600)) + (wait_s % 1 > 0))
    return problem
