"""What is read from where. Pure."""

from typing import Final

from msgspec import Struct

from ssmd.gateway.access import Series
from ssmd.model import Event

Key = tuple[int, str, int, int]
"""(recv_ns, conn, seq, n): the order of the archive, and within a feed the identity of an event."""

FIRST_KEY: Final[Key] = (0, "", -1, -1)


def key_of(event: Event) -> Key:
    return (event.recv_ns, event.conn, event.seq, event.n)


class Span(Struct, frozen=True):
    """Receive times in [from_ns, to_ns)."""

    from_ns: int
    to_ns: int

    def __contains__(self, at_ns: int) -> bool:
        return self.from_ns <= at_ns < self.to_ns


class Doubt(Struct, frozen=True):
    """Minutes of which something may be lost unseen: from one on, and single ones before it."""

    from_ns: int
    minutes: frozenset[int]

    def __contains__(self, minute_ns: int) -> bool:
        return minute_ns >= self.from_ns or minute_ns in self.minutes


class Source(Struct, frozen=True):
    """Where one feed's events are: a version of the archive, and behind it the stream.

    durable: the consumer that archives the stream into this version; None when another version is live, so that the
    archive alone has this one.
    """

    feed: str
    version: str
    durable: str | None


class Plan(Struct, frozen=True):
    """What is read. Every series is of one of the sources.

    after: by feed, only what comes behind this event. newest_first: minute by minute backwards; within a minute the
    order stays.
    """

    sources: tuple[Source, ...]
    series: frozenset[Series]
    span: Span
    after: dict[str, Key] = {}
    newest_first: bool = False

    def of(self, feed: str) -> frozenset[Series]:
        return frozenset(one for one in self.series if one.feed == feed)
