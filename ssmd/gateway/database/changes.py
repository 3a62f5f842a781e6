"""What administrators did: who, what, the state before and after; each row carries a hash of all before it."""

import hashlib
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.gateway.database.connection import Transaction

FIRST: Final = "0" * 64


class Action(Struct, frozen=True):
    """What is about to be done, and by whom."""

    actor: str
    action: str
    at_ns: int


class ChangeRow(Struct, frozen=True):
    """One change, as it is on record. before, after: the hash of the state as JSON; digest: chains it to the row before."""

    n: int
    at_ns: int
    actor: str
    action: str
    subject: str
    before: str
    after: str
    digest: str


def record(connection: Transaction, action: Action, subject: str, states: tuple[object, object]) -> None:
    """Append a change, in the transaction that makes it."""
    last = connection.execute("SELECT n, digest FROM audit ORDER BY n DESC LIMIT 1").fetchone() or (0, FIRST)
    before, after = (_hash(msgspec.json.encode(state)) for state in states)
    row = ChangeRow(last[0] + 1, action.at_ns, action.actor, action.action, subject, before, after, "")
    connection.execute(
        "INSERT INTO audit (n, at_ns, actor, action, subject, before, after, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (row.n, row.at_ns, row.actor, row.action, row.subject, before, after, _chained(last[1], row)),
    )


def changes(connection: Transaction, limit: int) -> list[ChangeRow]:
    """Return the newest changes, oldest first."""
    rows = connection.execute(
        "SELECT n, at_ns, actor, action, subject, before, after, digest FROM audit ORDER BY n DESC LIMIT ?", (limit,)
    )
    return [ChangeRow(*row) for row in rows][::-1]


def first_broken(connection: Transaction) -> int | None:
    """Return the number of the first row that is not what was written there; None when the chain is whole.

    A chain whose end was cut off looks whole: compare its last digest with a copy that is kept elsewhere.
    """
    digest, expected = FIRST, 1
    for row in connection.execute(
        "SELECT n, at_ns, actor, action, subject, before, after, digest FROM audit ORDER BY n"
    ):
        change = ChangeRow(*row)
        if change.n != expected or change.digest != _chained(digest, change):
            return expected
        digest, expected = change.digest, expected + 1
    return None


def _chained(previous: str, row: ChangeRow) -> str:
    fields = (row.n, row.at_ns, row.actor, row.action, row.subject, row.before, row.after)
    return _hash(msgspec.json.encode((previous, *fields)))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
