"""What a batcher has done, for the stocktaker that counts after it. Belongs to the tree: it outlives a crash of either."""

from collections import Counter
from typing import Final

from msgspec import Struct

from ssmd.model import EventType

MINUTES_KEPT: Final = 4_320
"""Of three days. Whoever counts reads the archive where nothing is remembered."""


class _Asked(Struct, frozen=True):
    """At this moment (trio's clock) the stream went that far."""

    at_s: float
    last_seq: int


class ArchiveProgress:
    """passed_s: whatever the stream had at this moment is archived. created_ns: which stream that is; see `StreamUsage`."""

    def __init__(self) -> None:
        self.passed_s = float("-inf")
        self.created_ns = 0
        self._stored: dict[int, Counter[EventType]] = {}
        self._ends: dict[int, int] = {}
        self._asked: _Asked | None = None

    # by minute -----------------------------------------------------------------------------------------------

    def add(self, minute_ns: int, kind: EventType, events: int) -> None:
        """Events of a minute were stored that had not been stored before."""
        self._stored.setdefault(minute_ns, Counter())[kind] += events
        while len(self._stored) > MINUTES_KEPT:
            del self._stored[min(self._stored)]

    def ends(self, minute_ns: int, stream_seq: int) -> None:
        """The last message of a minute so far is this one."""
        self._ends[minute_ns] = max(stream_seq, self._ends.get(minute_ns, 0))
        while len(self._ends) > MINUTES_KEPT:
            del self._ends[min(self._ends)]

    def stored(self, minute_ns: int) -> Counter[EventType]:
        """Return how many events of a minute were stored by this process."""
        return self._stored.get(minute_ns, Counter())

    def take(self, minute_ns: int) -> int:
        """Forget a minute, and return its last message; 0 where this process has seen none."""
        self._stored.pop(minute_ns, None)
        return self._ends.pop(minute_ns, 0)

    # how far the stream is archived --------------------------------------------------------------------------

    def begin(self) -> None:
        """A new reader begins, perhaps with a stream that was made anew."""
        self._asked = None

    def stream_ends(self, at_s: float, last_seq: int, created_ns: int) -> None:
        """At this moment the stream went that far. An older question that is not answered stays, for the same stream."""
        if created_ns != self.created_ns:
            self.created_ns, self._asked = created_ns, None
            self._ends.clear()
        if self._asked is None or last_seq < self._asked.last_seq:
            self._asked = _Asked(at_s, last_seq)

    def acknowledged(self, stream_seq: int) -> None:
        """Everything up to this message is archived."""
        if self._asked is not None and stream_seq >= self._asked.last_seq:
            self.nothing_left(self._asked.at_s)

    def nothing_left(self, at_s: float) -> None:
        """At this moment nothing of the stream was left to be archived."""
        self.passed_s = max(self.passed_s, at_s)
        if self._asked is not None and self._asked.at_s <= at_s:
            self._asked = None
