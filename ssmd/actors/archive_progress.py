"""What a batcher has done, for the stocktaker that counts after it. Belongs to the tree: it outlives a crash of either."""

from collections import Counter
from typing import Final

from ssmd.model import EventType

MINUTES_KEPT: Final = 4_320
"""Of three days. Whoever counts reads the archive where nothing is remembered."""


class ArchiveProgress:
    """passed_s: whatever the stream had at this moment (trio's clock) is archived."""

    def __init__(self) -> None:
        self.passed_s = float("-inf")
        self._stored: dict[int, Counter[EventType]] = {}
        self._asked: tuple[float, int] | None = None

    def add(self, minute_ns: int, kind: EventType, events: int) -> None:
        """Events of a minute were stored that had not been stored before."""
        self._stored.setdefault(minute_ns, Counter())[kind] += events
        while len(self._stored) > MINUTES_KEPT:
            del self._stored[min(self._stored)]

    def stored(self, minute_ns: int) -> Counter[EventType]:
        """Return how many events of a minute were stored by this process."""
        return self._stored.get(minute_ns, Counter())

    def forget(self, minute_ns: int) -> None:
        self._stored.pop(minute_ns, None)

    # how far the stream is archived --------------------------------------------------------------------------

    @property
    def wants_to_know(self) -> bool:
        """Whether somebody should look how far the stream goes now."""
        return self._asked is None

    def stream_ends(self, asked_s: float, last_seq: int) -> None:
        """At this moment the stream went that far."""
        self._asked = (asked_s, last_seq)

    def acknowledged(self, stream_seq: int) -> None:
        """Everything up to this message is archived."""
        if self._asked is not None and stream_seq >= self._asked[1]:
            self._pass(self._asked[0])

    def nothing_left(self, since_s: float) -> None:
        """Nothing was waiting at this moment, and everything that was read is archived."""
        self._pass(since_s)

    def _pass(self, at_s: float) -> None:
        self.passed_s = max(self.passed_s, at_s)
        if self._asked is not None and self._asked[0] <= self.passed_s:
            self._asked = None
