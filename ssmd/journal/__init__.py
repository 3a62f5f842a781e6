"""The journal: every received frame on its way to disk before anything interprets it.

One directory per connector holds one plain JSONL segment per minute (and part), the publisher's cursor, the
decoder's checkpoints, what came of each segment, and what the sealer has stored. Sessions append, the raw writer
writes, readers follow.
"""

from ssmd.journal.borrowed import BorrowedCheckpoints, candidate_directory
from ssmd.journal.checkpoints import Checkpoints
from ssmd.journal.cursor import Cursor
from ssmd.journal.follower import JournalFollower
from ssmd.journal.journal import Journal, JournalLimits
from ssmd.journal.last_config import LastConfig
from ssmd.journal.reader import JournalReader, Readable
from ssmd.journal.segments import Position, Segment, whole_bytes
from ssmd.journal.tail import Entry
from ssmd.journal.tallies import Tallies, TallyName

__all__ = [
    "BorrowedCheckpoints",
    "Checkpoints",
    "Cursor",
    "Entry",
    "Journal",
    "JournalFollower",
    "JournalLimits",
    "JournalReader",
    "LastConfig",
    "Position",
    "Readable",
    "Segment",
    "Tallies",
    "TallyName",
    "candidate_directory",
    "whole_bytes",
]
