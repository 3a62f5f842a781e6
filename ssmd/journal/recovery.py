"""What a dead process left in the journal besides frames: connections without an end. They get one."""

from ssmd.codec import raw
from ssmd.journal.journal import Journal
from ssmd.records import Disconnected, Lost, Record


def end_orphans(journal: Journal) -> list[str]:
    """Note the end of every connection that a dead process left open, behind its last record; return their names.

    So the gap begins where the data ends, whoever captures these symbols from now on.
    """
    orphans = _Connections(journal)
    for last in orphans.unended():
        seq = last.seq + 1
        if journal.torn_bytes:
            journal.append_note(last.conn, seq, Lost("torn_line", journal.torn_bytes))
            seq += 1
        journal.append_note(last.conn, seq, Disconnected("crash", "the process ended", orphans.data_ends_ns(last)))
    return [last.conn for last in orphans.unended()]


class _Connections:
    """The last record of each connection, and where its data ends (an earlier recovery may have noted more)."""

    def __init__(self, journal: Journal) -> None:
        self._last: dict[str, Record] = {}
        self._data_ends_ns: dict[str, int] = {}
        for segment in journal.recent_segments():
            with (journal.directory / segment.name).open("rb") as file:
                for line in file:
                    self._take(raw.read_line(line))

    def _take(self, record: Record) -> None:
        if record.conn == raw.UNREADABLE:
            return
        self._last[record.conn] = record
        if not isinstance(record.note, Lost):
            self._data_ends_ns[record.conn] = record.recv_ns

    def unended(self) -> list[Record]:
        return [record for record in self._last.values() if not isinstance(record.note, Disconnected)]

    def data_ends_ns(self, last: Record) -> int:
        return self._data_ends_ns.get(last.conn, last.recv_ns)
