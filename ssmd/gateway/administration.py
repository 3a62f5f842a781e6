"""What administrators do: clients, grants, keys, sessions, and bringing all of it to an environment's file.

Each change is one transaction together with its record. Afterwards every live session that is concerned has been told.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from ssmd.clock import NS_PER_S, NowNs, now_ns
from ssmd.gateway.access import Grant
from ssmd.gateway.clients import EVERY_FEED, Client, KeyRecord, Mark, Policy, atoms, grants_of
from ssmd.gateway.database import Database, policy
from ssmd.gateway.database.changes import Action, ChangeRow, changes, first_broken, record
from ssmd.gateway.database.connection import Transaction
from ssmd.gateway.doorkeeper import PolicyDoorkeeper
from ssmd.gateway.keys import NewKey, Pepper, mint
from ssmd.gateway.problems import Problem
from ssmd.gateway.reconcile import Plan, Wanted, plan
from ssmd.gateway.sessions import SessionView

T = TypeVar("T")

LIVE_KEYS: Final = 2
"""Of one client: the new one, and the one that it replaces while its grace lasts."""


class KeyTerms(Struct, frozen=True):
    """grace_s: how long the key before goes on to count. expires_s: how long the new one counts; None: for ever."""

    grace_s: float = 0.0
    expires_s: float | None = None


class Known(Struct, frozen=True):
    """Everything that is known of a client."""

    client: Client
    keys: tuple[KeyRecord, ...]
    marks: tuple[Mark, ...]


class Record(Struct, frozen=True):
    """The newest changes. broken_at: the first one that is not as it was written; None when all are."""

    changes: tuple[ChangeRow, ...]
    broken_at: int | None


class Administration:
    def __init__(
        self,
        database: Database,
        doorkeeper: PolicyDoorkeeper,
        pepper: Pepper,
        environment: str,
        now: NowNs = now_ns,
    ) -> None:
        self._database = database
        self._doorkeeper = doorkeeper
        self._pepper = pepper
        self._environment = environment
        self._now = now

    # looking -------------------------------------------------------------------------------------------------

    async def policy(self) -> Policy:
        return await self._database.read(policy.load)

    async def show(self, client_id: str) -> Known:
        """Raises Problem not_found."""
        now = await self.policy()
        keys = tuple(key for key in now.keys if key.client_id == client_id)
        marks = tuple(mark for mark in now.marks if mark.client_id == client_id)
        return Known(_known(now, client_id), keys, marks)

    def sessions(self) -> list[SessionView]:
        return list(self._doorkeeper.tracker.views())

    async def record(self, limit: int) -> Record:
        """Return what administrators did, and whether the record is whole."""
        return await self._database.read(
            lambda connection: Record(tuple(changes(connection, limit)), first_broken(connection))
        )

    # changing ------------------------------------------------------------------------------------------------

    async def add(self, actor: str, client: Client, expires_s: float | None = None) -> NewKey:
        """Add a client with its first key. Raises Problem conflict when it exists."""
        action, key = self._action(actor, "add"), mint()
        new = replace(client, created_ns=action.at_ns)

        def work(connection: Transaction) -> None:
            if policy.load(connection).client(client.client_id) is not None:
                raise Problem(
                    "conflict",
                    f"client {client.client_id} exists already",
                    f"ssmd client rotate {client.client_id} makes it a new key",
                )
            policy.delete_keys(connection, client.client_id)  # of one whom a file took away
            policy.put_client(connection, new)
            policy.add_key(connection, self._key_record(key, new, action.at_ns, expires_s))
            record(connection, action, client.client_id, (None, new))

        await self._change(work)
        return key

    async def entitle(self, actor: str, client_id: str, grant: Grant) -> Client:
        """Let a client read something more. What a revoke forbids files to grant, this grants."""

        def entitled(client: Client) -> Client:
            return replace(client, grants=grants_of(atoms((*client.grants, grant))))

        return await self._edit(self._action(actor, "entitle"), client_id, entitled)

    async def revoke(self, actor: str, client_id: str, feed: str) -> Client:
        """Let a client read nothing more of a feed, and leave a mark: no file brings it back."""
        action = self._action(actor, "revoke")

        def revoked(client: Client) -> Client:
            return replace(client, grants=tuple(grant for grant in client.grants if grant.feed != feed))

        return await self._edit(action, client_id, revoked, Mark(client_id, feed, action.at_ns))

    async def remove(self, actor: str, client_id: str) -> None:
        """Remove a client, its keys and its grants, and leave a mark."""
        action = self._action(actor, "remove")

        def work(connection: Transaction) -> None:
            before = _known(policy.load(connection), client_id)
            policy.put_away(connection, client_id)
            policy.delete_keys(connection, client_id)
            policy.put_mark(connection, Mark(client_id, EVERY_FEED, action.at_ns))
            record(connection, action, client_id, (before, None))

        await self._change(work)

    async def rotate(self, actor: str, client_id: str, terms: KeyTerms) -> NewKey:
        """Give a client a new key. The one before goes on to count for its grace; older ones end at once."""
        action, key = self._action(actor, "rotate"), mint()

        def work(connection: Transaction) -> None:
            now = policy.load(connection)
            client = _known(now, client_id)
            live = [each for each in now.keys if each.client_id == client_id and each.is_live(action.at_ns)]
            kept = live[-(LIVE_KEYS - 1) :] if terms.grace_s > 0 else []
            for old in live:
                grace_s = terms.grace_s if old in kept else 0
                policy.end_key(connection, old.key_id, action.at_ns + round(grace_s * NS_PER_S))
            policy.add_key(connection, self._key_record(key, client, action.at_ns, terms.expires_s))
            record(connection, action, client_id, ([old.key_id for old in live], key.key_id))

        await self._change(work)
        return key

    async def kick(self, actor: str, session_id: str) -> None:
        """End a live session; its client may connect again. Raises Problem not_found."""
        session = self._doorkeeper.tracker.find(session_id)
        if session is None:
            raise Problem("not_found", f"there is no live session {session_id}", "ssmd client sessions lists them")
        session.close("kicked")
        action = self._action(actor, "kick")
        await self._database.write(lambda connection: record(connection, action, session_id, (session.row, None)))

    async def reconcile(self, actor: str, environment: str, wanted: Sequence[Wanted], *, dry_run: bool) -> Plan:
        """Bring clients and grants to what a file says; with dry_run only tell what that would change.

        Raises Problem conflict when the file is of another environment.
        """
        if environment != self._environment:
            raise Problem(
                "conflict",
                f"this gateway serves {self._environment}, the file is of {environment}",
                "name the gateway of that environment: --gateway URL",
            )
        action = self._action(actor, "reconcile")
        if dry_run:
            return plan(await self.policy(), wanted, action.at_ns)
        return await self._change(lambda connection: _bring_to(connection, wanted, action))

    async def take_over(self, wanted: Sequence[Wanted]) -> Plan:
        """Begin with what the file says, where nobody has ever changed anything; else change nothing.

        That is on record, so it happens once: whatever is revoked or added later, no start of the gateway undoes it.
        Clients have no key until somebody makes them one.
        """
        if not await self._database.read(policy.is_untouched):
            return Plan()
        action = self._action("first start", "take over")

        def work(connection: Transaction) -> Plan:
            if not policy.is_untouched(connection):
                return Plan()
            record(connection, action, self._environment, (None, wanted))
            return _bring_to(connection, wanted, action)

        return await self._change(work)

    # -----------------------------------------------------------------------------------------------------------

    async def _edit(
        self, action: Action, client_id: str, edit: Callable[[Client], Client], mark: Mark | None = None
    ) -> Client:
        def work(connection: Transaction) -> Client:
            before = _known(policy.load(connection), client_id)
            after = edit(before)
            policy.put_client(connection, after)
            if mark is not None:
                policy.put_mark(connection, mark)
            record(connection, action, client_id, (before, after))
            return after

        return await self._change(work)

    async def _change(self, work: Callable[[Transaction], T]) -> T:
        """Store a change and have every live session hear of it before it is answered."""
        result = await self._database.write(work)
        await self._doorkeeper.check()
        return result

    def _action(self, actor: str, action: str) -> Action:
        return Action(actor, action, self._now())

    def _key_record(self, key: NewKey, client: Client, at_ns: int, expires_s: float | None) -> KeyRecord:
        expires_ns = None if expires_s is None else at_ns + round(expires_s * NS_PER_S)
        return KeyRecord(key.key_id, client.client_id, self._pepper.digest(key.text), at_ns, at_ns, expires_ns)


def _bring_to(connection: Transaction, wanted: Sequence[Wanted], action: Action) -> Plan:
    now = policy.load(connection)
    made = plan(now, wanted, action.at_ns)
    for step in made.steps:
        if step.after is None:
            policy.put_away(connection, step.client_id)
        else:
            policy.put_client(connection, step.after)
        record(connection, action, step.client_id, (now.client(step.client_id), step.after))
    return made


def _known(now: Policy, client_id: str) -> Client:
    client = now.client(client_id)
    if client is None:
        raise Problem("not_found", f"there is no client {client_id}", f"ssmd client add {client_id} --type … makes one")
    return client
