"""The newest records in memory, so that a reader who keeps up never touches the disk."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ssmd.journal.segments import Position
from ssmd.records import Record

ENTRY_OVERHEAD_BYTES: Final = 400
"""What one entry costs in memory beside its text; measured, rounded up."""


class Entry(Struct, frozen=True, gc=False):
    """One record and the place right behind it."""

    record: Record
    segment: str
    end: int

    @property
    def position(self) -> Position:
        return Position(self.segment, self.end)


class Tail:
    """Entries counted by ordinal. The oldest are forgotten when the budget is used up; they are on disk by then."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        self._sizes: list[int] = []
        self._bytes = 0
        self.first = 0
        """The ordinal of the oldest entry still here."""
        self.visible = 0
        """Entries below this ordinal are written; only those may be read."""

    @property
    def next(self) -> int:
        return self.first + len(self._entries)

    @property
    def bytes(self) -> int:
        return self._bytes

    def append(self, entry: Entry, line_bytes: int) -> None:
        size = line_bytes + ENTRY_OVERHEAD_BYTES
        self._entries.append(entry)
        self._sizes.append(size)
        self._bytes += size

    def show(self, ordinal: int) -> None:
        """Make everything below the ordinal readable, then forget the oldest above the budget."""
        self.visible = ordinal
        if self._bytes > self._max_bytes:
            self._forget()

    def slice(self, ordinal: int, limit: int) -> Sequence[Entry]:
        """Return up to `limit` readable entries from the ordinal on, which must not lie below `first`."""
        start = ordinal - self.first
        stop = min(start + limit, self.visible - self.first)
        return self._entries[start:stop]

    def find(self, position: Position) -> int | None:
        """Return the ordinal of the first entry behind the position; None when it is on disk only."""
        if not self._entries or self._start_of_first() > position:
            return None
        low, high = 0, len(self._entries)
        while low < high:
            middle = (low + high) // 2
            if self._entries[middle].position <= position:
                low = middle + 1
            else:
                high = middle
        return self.first + low

    def _start_of_first(self) -> Position:
        entry = self._entries[0]
        line_bytes = self._sizes[0] - ENTRY_OVERHEAD_BYTES
        return Position(entry.segment, entry.end - line_bytes)

    def _forget(self) -> None:
        # In one stroke down to half of the budget: cutting a list's head costs its whole length.
        count, freed = 0, 0
        excess = self._bytes - self._max_bytes // 2
        while freed < excess and self.first + count < self.visible:
            freed += self._sizes[count]
            count += 1
        del self._entries[:count], self._sizes[:count]
        self.first += count
        self._bytes -= freed
