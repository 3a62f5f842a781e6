"""What the archiver holds of one receive minute until the minute is over."""

from collections.abc import Iterator, Sequence
from typing import Final

from ssmd.codec.marketdata import Header
from ssmd.codec.packing import Item, Series, once

NEVER_NS: Final = 1 << 63


class Minute:
    """The messages of one minute by series, and which place in the stream they keep from being acknowledged."""

    def __init__(self, first_stream_seq: int, held_until_s: float = float("-inf"), *, is_ahead: bool = False) -> None:
        self.first_stream_seq = self.last_stream_seq = first_stream_seq
        self.is_ahead = is_ahead
        """It is of a wrong clock: it neither closes others nor is waited for."""
        self.held_until_s = held_until_s
        """It is not stored before this time (trio's clock)."""
        self.oldest_ns = NEVER_NS
        """The smallest receive time of its messages."""
        self._items: dict[Series, list[Item]] = {}

    def add(self, series: Series, header: Header, payload: bytes) -> None:
        self.oldest_ns = min(self.oldest_ns, header.recv_ns)
        item = Item(header.recv_ns, header.conn, header.seq, header.n, payload)
        self._items.setdefault(series, []).append(item)

    def series(self) -> Iterator[tuple[Series, Sequence[Item]]]:
        """Give each series with its messages in order, each identity once."""
        for series in sorted(self._items):
            yield series, once(sorted(self._items[series]))
