"""How the events of one series and minute become one object: the archiver and a reprocess pack by this same code."""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from ssmd.codec import blocks, marketdata
from ssmd.errors import BadRecord
from ssmd.model import Event, EventType

MAX_OBJECT_BYTES: Final = 256 << 20
"""Of a normalized object, decompressed."""

Identity = tuple[str, int, int]
"""(conn, seq, n); the feed is known."""


_HEAD: Final = struct.Struct("<II")
"""Number of segments less one, words of the first."""


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


class Series(Struct, frozen=True, order=True):
    """What one object is about."""

    type: EventType
    symbol: str


def once(items: Sequence[Item]) -> list[Item]:
    """Drop repeated identities; equal ones are neighbours because they are equal in every part of the order."""
    kept: list[Item] = []
    conn, seq, n = "", -1, -1
    for item in items:
        if item.n != n or item.seq != seq or item.conn != conn:  # the most different first; no tuples are made
            conn, seq, n = item.conn, item.seq, item.n
            kept.append(item)
    return kept


def pack(items: Iterable[Item]) -> bytes:
    """Return the object of these messages; they are in order and each is there once."""
    return blocks.compress(b"".join([item.payload for item in items]))


def unpack(kind: EventType, body: bytes) -> list[Event]:
    """Return the events of an object. Raises BadRecord for one that is cut off, damaged or too large."""
    return list(marketdata.decode_many(kind, blocks.decompress(body, MAX_OBJECT_BYTES)))


def identities(kind: EventType, body: bytes) -> set[Identity]:
    return {(event.conn, event.seq, event.n) for event in unpack(kind, body)}


def messages(data: bytes) -> list[bytes]:
    """Cut concatenated messages apart without reading them. Raises BadRecord when the last one is cut off."""
    ends = message_ends(data)
    return [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def message_ends(data: bytes) -> list[int]:
    """Return where each of some concatenated messages ends. Raises BadRecord when the last one is cut off."""
    ends: list[int] = []
    at, size, head = 0, len(data), _HEAD.unpack_from
    while at + _HEAD.size <= size:
        more, words = head(data, at)
        at += 8 + 8 * words if more == 0 else _long_bytes(data, at, more + 1)
        ends.append(at)
    if at != size:
        raise BadRecord(f"message {len(ends)} of an object is cut off at byte {size}")
    return ends


def _long_bytes(data: bytes, at: int, segments: int) -> int:
    """Return the length of a message of several segments: a table of their sizes in words, then the segments."""
    table = 4 * (segments + 1)
    if table > len(data) - at:
        return len(data) - at + 1  # cut off, or no such message
    words: int = sum(struct.unpack_from(f"<{segments}I", data, at + 4))
    return (table + 7) // 8 * 8 + 8 * words
