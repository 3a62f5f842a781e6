"""What the archiver holds of one receive minute until the minute is over."""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from ssmd.codec.marketdata import Header
from ssmd.model import EventType

NEVER_NS: Final = 1 << 63

Identity = tuple[str, int, int]
"""(conn, seq, n); the feed is the batcher's."""


class Item(Struct, frozen=True, gc=False, order=True):
    """One message, ordered as in an object."""

    recv_ns: int
    conn: str
    seq: int
    n: int
    payload: bytes

    @property
    def identity(self) -> Identity:
        return (self.conn, self.seq, self.n)


class Series(Struct, frozen=True):
    """What one object is about."""

    type: EventType
    symbol: str


class Minute:
    """The messages of one minute by series, and which place in the stream they keep from being acknowledged."""

    def __init__(self, first_stream_seq: int) -> None:
        self.first_stream_seq = first_stream_seq
        self.oldest_ns = NEVER_NS
        """The smallest receive time of its messages."""
        self._items: dict[Series, list[Item]] = {}

    def add(self, series: Series, header: Header, payload: bytes) -> None:
        self.oldest_ns = min(self.oldest_ns, header.recv_ns)
        item = Item(header.recv_ns, header.conn, header.seq, header.n, payload)
        self._items.setdefault(series, []).append(item)

    def series(self) -> Iterator[tuple[Series, Sequence[Item]]]:
        """Give each series with its messages in order, each identity once."""
        for series in sorted(self._items, key=lambda s: (s.type, s.symbol)):
            yield series, once(sorted(self._items[series]))


def once(items: Sequence[Item]) -> list[Item]:
    """Drop repeated identities; equal ones are neighbours because they are equal in every part of the order."""
    kept: list[Item] = []
    for item in items:
        if not kept or kept[-1].identity != item.identity:
            kept.append(item)
    return kept
