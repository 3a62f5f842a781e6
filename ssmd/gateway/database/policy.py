"""Clients, keys, entitlements and marks: reads and the smallest changes. Each is called inside of a transaction."""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ssmd.gateway.access import Grant
from ssmd.gateway.clients import Client, ClientLimits, KeyRecord, Mark, Policy
from ssmd.gateway.database.connection import Transaction
from ssmd.model import EventType

_CLIENT: Final = """SELECT client_id, type, name, max_devices, max_subscriptions, requests_per_s, origin, created_ns
    FROM client WHERE is_active"""
_GRANT: Final = "SELECT client_id, feed, symbols, data_types, expires_ns FROM entitlement ORDER BY entitlement_id"
_KEY: Final = "SELECT key_id, client_id, digest, created_ns, not_before_ns, expires_ns, last_used_ns FROM api_key"
_Symbols: Final = msgspec.json.Decoder(tuple[str, ...])
_Types: Final = msgspec.json.Decoder(tuple[EventType, ...])


def version(connection: Transaction) -> int:
    """Return a number that rises with each change of the policy, whoever makes it."""
    return int(connection.execute("SELECT version FROM policy_version").fetchone()[0])


def load(connection: Transaction) -> Policy:
    """Return everything that decides who may read what. Keys of clients that a file took away are not among it."""
    grants: dict[str, list[Grant]] = {}
    for client_id, feed, symbols, data_types, expires_ns in connection.execute(_GRANT):
        grant = Grant(feed, _Symbols.decode(symbols), _Types.decode(data_types), expires_ns)
        grants.setdefault(client_id, []).append(grant)
    clients = tuple(_clients(connection, grants))
    known = {client.client_id for client in clients}
    keys = (KeyRecord(*row) for row in connection.execute(f"{_KEY} ORDER BY rowid"))
    marks = connection.execute("SELECT client_id, feed, revoked_ns FROM revocation ORDER BY client_id, feed")
    return Policy(clients, tuple(key for key in keys if key.client_id in known), tuple(Mark(*row) for row in marks))


def _clients(connection: Transaction, grants: dict[str, list[Grant]]) -> Iterator[Client]:
    for client_id, kind, name, devices, subscriptions, per_s, origin, created_ns in connection.execute(
        f"{_CLIENT} ORDER BY client_id"
    ):
        limits = ClientLimits(devices, subscriptions, per_s)
        yield Client(client_id, kind, name, limits, tuple(grants.get(client_id, ())), origin, created_ns)


def is_untouched(connection: Transaction) -> bool:
    """Tell whether nobody has ever changed anything here: no client, no revoke, no change on record."""
    (found,) = connection.execute(
        """SELECT EXISTS (SELECT 1 FROM client) OR EXISTS (SELECT 1 FROM revocation)
            OR EXISTS (SELECT 1 FROM api_key) OR EXISTS (SELECT 1 FROM audit)"""
    ).fetchone()
    return not found


def put_client(connection: Transaction, client: Client) -> None:
    """Store a client as it is given, new or known, with its grants. One that was away is back with its keys."""
    limits = client.limits
    connection.execute(
        """INSERT INTO client
            (client_id, type, name, max_devices, max_subscriptions, requests_per_s, origin, created_ns, is_active)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)
        ON CONFLICT (client_id) DO UPDATE SET type = excluded.type, name = excluded.name,
            max_devices = excluded.max_devices, max_subscriptions = excluded.max_subscriptions,
            requests_per_s = excluded.requests_per_s, origin = excluded.origin,
            created_ns = excluded.created_ns, is_active = 1""",
        (
            client.client_id, client.type, client.name, limits.devices, limits.subscriptions, limits.requests_per_s,
            client.origin, client.created_ns,
        ),
    )  # fmt: skip
    _put_grants(connection, client)


def _put_grants(connection: Transaction, client: Client) -> None:
    connection.execute("DELETE FROM entitlement WHERE client_id = ?", (client.client_id,))
    connection.executemany(
        "INSERT INTO entitlement (client_id, feed, symbols, data_types, expires_ns) VALUES (?, ?, ?, ?, ?)",
        [
            (client.client_id, grant.feed, _text(grant.symbols), _text(grant.data_types), grant.expires_ns)
            for grant in client.grants
        ],
    )


def put_away(connection: Transaction, client_id: str) -> None:
    """Take away a client that its file no longer has. Its keys stay, and count again when the file has it again."""
    connection.execute("DELETE FROM entitlement WHERE client_id = ?", (client_id,))
    connection.execute("UPDATE client SET is_active = 0 WHERE client_id = ?", (client_id,))


def delete_keys(connection: Transaction, client_id: str) -> None:
    connection.execute("DELETE FROM api_key WHERE client_id = ?", (client_id,))


def add_key(connection: Transaction, key: KeyRecord) -> None:
    connection.execute(
        "INSERT INTO api_key (key_id, client_id, digest, created_ns, not_before_ns, expires_ns) VALUES (?, ?, ?, ?, ?, ?)",
        (key.key_id, key.client_id, key.digest, key.created_ns, key.not_before_ns, key.expires_ns),
    )


def end_key(connection: Transaction, key_id: str, expires_ns: int) -> None:
    """Let a key end then, or earlier if it does anyway."""
    connection.execute(
        "UPDATE api_key SET expires_ns = min(coalesce(expires_ns, ?1), ?1) WHERE key_id = ?2", (expires_ns, key_id)
    )


def put_mark(connection: Transaction, mark: Mark) -> None:
    connection.execute(
        """INSERT INTO revocation (client_id, feed, revoked_ns) VALUES (?, ?, ?)
        ON CONFLICT DO UPDATE SET revoked_ns = excluded.revoked_ns""",
        (mark.client_id, mark.feed, mark.revoked_ns),
    )


def note_used(connection: Transaction, used: Iterable[tuple[str, int]]) -> None:
    """Store when keys were last used."""
    connection.executemany(
        "UPDATE api_key SET last_used_ns = ?2 WHERE key_id = ?1 AND ?2 > coalesce(last_used_ns, 0)", list(used)
    )


def _text(names: Iterable[str]) -> str:
    return msgspec.json.encode(list(names)).decode()
