"""The tables, version by version. A migration that was released is never changed; a further one is appended.

Times are nanoseconds, UTC. Lists are JSON. Clients in sessions and usage are text, no references: what was delivered
stays on record when the client is gone.
"""

from typing import Final

Migration = tuple[str, ...]

_DECIDING: Final = {
    "client": "UPDATE",
    "api_key": "UPDATE OF client_id, digest, not_before_ns, expires_ns",  # last_used_ns decides nothing
    "entitlement": "UPDATE",
    "revocation": "UPDATE",
}
"""The tables that decide who may read what, and which of their changes count."""


def _trigger(table: str, event: str) -> str:
    raises = "BEGIN UPDATE policy_version SET version = version + 1; END"
    return f"CREATE TRIGGER {table}_{event[:6].lower()} AFTER {event} ON {table} {raises}"


_POLICY_VERSION: Final[Migration] = (
    "CREATE TABLE policy_version (version INTEGER NOT NULL) STRICT",
    "INSERT INTO policy_version VALUES (1)",
    *(_trigger(table, event) for table, update in _DECIDING.items() for event in ("INSERT", update, "DELETE")),
)
"""Tells whether there is anything to read again, whoever has changed it."""

_V1: Final[Migration] = (
    """CREATE TABLE client (
        client_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        type TEXT NOT NULL CHECK (type IN ('display', 'non-display', 'trading')),
        origin TEXT NOT NULL CHECK (origin IN ('file', 'gateway')),
        max_devices INTEGER CHECK (max_devices > 0),
        max_subscriptions INTEGER CHECK (max_subscriptions > 0),
        requests_per_s REAL CHECK (requests_per_s > 0),
        created_ns INTEGER NOT NULL,
        is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1))
    ) STRICT""",
    """CREATE TABLE api_key (
        key_id TEXT PRIMARY KEY,
        client_id TEXT NOT NULL REFERENCES client,
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        created_ns INTEGER NOT NULL,
        not_before_ns INTEGER NOT NULL,
        expires_ns INTEGER,
        last_used_ns INTEGER
    ) STRICT""",
    "CREATE INDEX api_key_of_client ON api_key (client_id)",
    """CREATE TABLE entitlement (
        entitlement_id INTEGER PRIMARY KEY,
        client_id TEXT NOT NULL REFERENCES client,
        feed TEXT NOT NULL,
        symbols TEXT NOT NULL,
        data_types TEXT NOT NULL,
        expires_ns INTEGER
    ) STRICT""",
    "CREATE INDEX entitlement_of_client ON entitlement (client_id)",
    """CREATE TABLE revocation (
        client_id TEXT NOT NULL,
        feed TEXT NOT NULL,
        revoked_ns INTEGER NOT NULL,
        PRIMARY KEY (client_id, feed)
    ) STRICT""",
    """CREATE TABLE gateway_run (
        run_id INTEGER PRIMARY KEY AUTOINCREMENT,
        started_ns INTEGER NOT NULL,
        seen_ns INTEGER NOT NULL,
        batches INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    """CREATE TABLE session (
        session_id TEXT PRIMARY KEY,
        run_id INTEGER NOT NULL REFERENCES gateway_run,
        client_id TEXT NOT NULL,
        display_type TEXT NOT NULL,
        connected_ns INTEGER NOT NULL,
        disconnected_ns INTEGER,
        device_id TEXT NOT NULL,
        ip_address TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX session_by_time ON session (connected_ns)",
    "CREATE INDEX session_open ON session (run_id) WHERE disconnected_ns IS NULL",
    """CREATE TABLE usage_event (
        minute_ns INTEGER NOT NULL,
        client_id TEXT NOT NULL,
        display_type TEXT NOT NULL,
        feed TEXT NOT NULL,
        symbol TEXT NOT NULL,
        data_type TEXT NOT NULL,
        message_count INTEGER NOT NULL CHECK (message_count > 0),
        PRIMARY KEY (minute_ns, client_id, display_type, feed, symbol, data_type)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE audit (
        n INTEGER PRIMARY KEY,
        at_ns INTEGER NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        before TEXT NOT NULL,
        after TEXT NOT NULL,
        digest TEXT NOT NULL
    ) STRICT""",
    *_POLICY_VERSION,
)

MIGRATIONS: Final[tuple[Migration, ...]] = (_V1,)
