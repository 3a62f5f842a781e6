"""What an earlier process left in the journal besides frames: connections that a new one follows."""

from itertools import islice

from ssmd.codec import raw
from ssmd.journal.journal import Journal
from ssmd.records import Connected, Predecessor, Record

LOOK_BACK_SEGMENTS = 2
"""A live connection writes at least a heartbeat a minute, so older segments cannot hide one."""


def orphans(journal: Journal) -> list[Predecessor]:
    """Return the last record of each connection that no later one names as its predecessor."""
    last: dict[str, Record] = {}
    superseded: set[str] = set()
    for segment in reversed(list(islice(reversed(journal.segments), LOOK_BACK_SEGMENTS))):
        with (journal.directory / segment.name).open("rb") as file:
            for line in file:
                record = raw.decode_line(line)
                last[record.conn] = record
                if isinstance(record.note, Connected) and record.note.after is not None:
                    superseded.add(record.note.after.conn)
    return [Predecessor(conn, end.seq, end.recv_ns) for conn, end in last.items() if conn not in superseded]
