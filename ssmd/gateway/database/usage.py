"""Who was connected and what was delivered. Each is called inside of a transaction."""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ssmd.gateway.database.connection import Transaction
from ssmd.gateway.database.policy import note_used
from ssmd.model import EventType


class UsageRow(Struct, frozen=True):
    """What a client got of one series in one minute. display_type: what the client was then."""

    minute_ns: int
    client_id: str
    display_type: str
    feed: str
    symbol: str
    data_type: EventType
    message_count: int


class SessionRow(Struct, frozen=True):
    """One live connection, from begin to end; disconnected_ns: None while it lives."""

    session_id: str
    client_id: str
    display_type: str
    connected_ns: int
    disconnected_ns: int | None
    device_id: str
    ip_address: str


class Batch(Struct, frozen=True):
    """Everything that is written at once. number: counts the batches of a run, so that none is written twice."""

    number: int
    at_ns: int
    usage: tuple[UsageRow, ...]
    sessions: tuple[SessionRow, ...]
    keys_used: tuple[tuple[str, int], ...]


def begin_run(connection: Transaction, at_ns: int) -> int:
    """Begin a run of the gateway and return its number. Sessions of a run that was killed end when it was last seen."""
    connection.execute(
        """UPDATE session SET disconnected_ns = max(connected_ns,
            (SELECT seen_ns FROM gateway_run WHERE gateway_run.run_id = session.run_id))
        WHERE disconnected_ns IS NULL"""
    )
    row = connection.execute("INSERT INTO gateway_run (started_ns, seen_ns) VALUES (?1, ?1) RETURNING run_id", (at_ns,))
    (run_id,) = row.fetchone()
    return int(run_id)


def write_batch(connection: Transaction, run_id: int, batch: Batch) -> None:
    """Store a batch, once: a repeat of one whose end was not heard of changes nothing."""
    moved = connection.execute(
        "UPDATE gateway_run SET batches = ?2, seen_ns = ?3 WHERE run_id = ?1 AND batches = ?2 - 1",
        (run_id, batch.number, batch.at_ns),
    )
    if moved.rowcount == 0:
        return
    connection.executemany(
        """INSERT INTO usage_event
            (minute_ns, client_id, display_type, feed, symbol, data_type, message_count) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET message_count = message_count + excluded.message_count""",
        [
            (row.minute_ns, row.client_id, row.display_type, row.feed, row.symbol, row.data_type, row.message_count)
            for row in batch.usage
        ],
    )
    _write_sessions(connection, run_id, batch.sessions)
    note_used(connection, batch.keys_used)


def _write_sessions(connection: Transaction, run_id: int, sessions: Iterable[SessionRow]) -> None:
    connection.executemany(
        """INSERT INTO session
            (session_id, run_id, client_id, display_type, connected_ns, disconnected_ns, device_id, ip_address)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET disconnected_ns = excluded.disconnected_ns""",
        [
            (s.session_id, run_id, s.client_id, s.display_type, s.connected_ns, s.disconnected_ns, s.device_id, s.ip_address)
            for s in sessions
        ],
    )  # fmt: skip


# reports -----------------------------------------------------------------------------------------------------


class UsageTotal(Struct, frozen=True):
    """What a client got of one series in a period."""

    client_id: str
    feed: str
    symbol: str
    data_type: str
    display_type: str
    message_count: int


class SideTotal(Struct, frozen=True):
    """What one way of use (display or not) got of a feed in a period, and how many clients that were."""

    feed: str
    side: str
    message_count: int
    clients: int


class Stay(Struct, frozen=True):
    """A session as far as peaks need it; to_ns: None while it lives."""

    client_id: str
    display_type: str
    from_ns: int
    to_ns: int | None


Period = tuple[int, int]
"""From and to in nanoseconds, the end excluded."""

_TOTALS: Final = """SELECT client_id, feed, symbol, data_type, display_type, sum(message_count) FROM usage_event
    WHERE minute_ns >= ?1 AND minute_ns < ?2 AND (?3 IS NULL OR feed = ?3) AND (?4 IS NULL OR client_id = ?4)
    GROUP BY client_id, feed, symbol, data_type, display_type
    ORDER BY client_id, feed, symbol, data_type, display_type"""

_SIDES: Final = """SELECT feed, CASE display_type WHEN 'display' THEN 'display' ELSE 'non-display' END AS side,
        sum(message_count), count(DISTINCT client_id)
    FROM usage_event WHERE minute_ns >= ?1 AND minute_ns < ?2 AND (?3 IS NULL OR feed = ?3)
    GROUP BY feed, side ORDER BY feed, side"""


def usage_totals(connection: Transaction, period: Period, feed: str | None, client_id: str | None) -> list[UsageTotal]:
    return [UsageTotal(*row) for row in connection.execute(_TOTALS, (*period, feed, client_id))]


def side_totals(connection: Transaction, period: Period, feed: str | None) -> list[SideTotal]:
    """Return the totals of both sides. Trading is no display."""
    return [SideTotal(*row) for row in connection.execute(_SIDES, (*period, feed))]


def stays(connection: Transaction, period: Period) -> list[Stay]:
    """Return the sessions that lived at some time of a period."""
    rows = connection.execute(
        """SELECT client_id, display_type, connected_ns, disconnected_ns FROM session
        WHERE connected_ns < ?2 AND (disconnected_ns IS NULL OR disconnected_ns > ?1) ORDER BY connected_ns""",
        period,
    )
    return [Stay(*row) for row in rows]
