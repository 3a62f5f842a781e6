"""What raw data says of a slot without a connection: since when something is wanted and missing, or that nothing is."""

from typing import Final

from ssmd.actors.lineage import Link
from ssmd.journal import Journal
from ssmd.records import Configured, Disconnected, FeedConfig, Unconnected

NOT_WANTED: Final = "not_wanted"
UNREACHABLE: Final = "unreachable"


def note_absence(journal: Journal, link: Link, url: str, config: FeedConfig, end: Disconnected) -> None:
    """Append the three records of an attempt that never became a connection, with no await in between.

    From here on `config` is what is wanted: a gap begins for all of it that has none open, and ends for what is not in
    it. That holds until the next connection, so further attempts need no records until something else is wanted.
    """
    link.last_ns = journal.append_note(link.conn, link.take_seq(), Unconnected(url, link.after))
    for note in (Configured(config), end):
        journal.append_note(link.conn, link.take_seq(), note)
    link.missing = symbols_of(config)


def symbols_of(config: FeedConfig) -> frozenset[str]:
    return frozenset(entry.symbol for entry in config.symbols)
