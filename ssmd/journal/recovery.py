"""What a dead process left in the journal besides frames: connections without an end. They get one."""

from ssmd.codec import raw
from ssmd.journal.journal import Journal
from ssmd.records import Disconnected, Lost, Record

LOOK_BACK_SEGMENTS = 2
"""A live connection gets a heartbeat within a minute, so older segments cannot hide one."""


def end_orphans(journal: Journal) -> list[str]:
    """Note the end of every connection that a dead process left open, behind its last record; return their names.

    So the gap begins where the data ends, whoever captures these symbols from now on.
    """
    orphans = _orphans(journal)
    for last in orphans:
        seq = last.seq + 1
        if journal.torn_bytes:
            journal.append_note(last.conn, seq, Lost("torn_line", journal.torn_bytes))
            seq += 1
        journal.append_note(last.conn, seq, Disconnected("crash", "the process ended", last.recv_ns))
    return [last.conn for last in orphans]


def _orphans(journal: Journal) -> list[Record]:
    """Return the last record of each connection that has no end."""
    last: dict[str, Record] = {}
    for segment in list(journal.segments)[-LOOK_BACK_SEGMENTS:]:
        with (journal.directory / segment.name).open("rb") as file:
            for line in file:
                record = raw.decode_line(line)
                last[record.conn] = record
    return [record for record in last.values() if not isinstance(record.note, Disconnected)]
