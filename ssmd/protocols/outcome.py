"""What a decoder gives back: events, and what went wrong on the way to them."""

from typing import Final, Protocol

import msgspec
from msgspec import Struct, field

from ssmd.model import Event
from ssmd.protocols.connection import Connection
from ssmd.records import FrameLine, Record


class Reject(Struct, frozen=True):
    """A frame, or its part about one name, that could not be used. It stays in the raw data."""

    conn: str
    seq: int
    reason: str
    detail: str


class Desync(Struct, frozen=True):
    """A book lost its proof: nothing is published from it until a new snapshot is verified, so ask for one.

    from_ns: receive time of its last verified state, where the gap begins.
    """

    conn: str
    symbol: str
    name: str
    reason: str
    from_ns: int


class Decoded(Struct, frozen=True, gc=False):
    """What came of one record."""

    events: tuple[Event, ...] = ()
    rejects: tuple[Reject, ...] = ()
    desyncs: tuple[Desync, ...] = ()


EMPTY: Final = Decoded()


class Draft(Struct, gc=False):
    """What has become of one record so far."""

    record: Record | FrameLine[object]
    connection: Connection
    events: list[Event] = []  # a struct copies its default for each instance
    rejects: list[Reject] = []
    desyncs: list[Desync] = []

    def finished(self) -> Decoded:
        if self.events or self.rejects or self.desyncs:
            return Decoded(tuple(self.events), tuple(self.rejects), tuple(self.desyncs))
        return EMPTY


class Counts(Struct):
    """Running totals since the decoder began, kept across checkpoints."""

    frames: int = 0
    trades: int = 0
    quotes: int = 0
    books_published: int = 0
    checksums_verified: int = 0
    checksums_failed: int = 0
    desyncs: int = 0
    duplicates: int = 0
    """Trades dropped because their id was seen before."""
    trade_id_gaps: int = 0
    """Jumps between integer trade ids of a symbol."""
    unknown_symbols: int = 0
    """Entries about names that are not mapped."""
    unawaited_changes: int = 0
    """Entries ignored because the book waits for a snapshot, or the symbol (or its book) is not wanted any more."""
    unknown_deletes: int = 0
    """Deletes of levels that were not there; normal on some exchanges."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Rejects by reason."""
    messages: dict[str, int] = field(default_factory=dict)
    """Entries about each symbol, whatever came of them."""

    def copy(self) -> "Counts":
        """Return totals that do not move when these do."""
        return msgspec.structs.replace(self, rejected=dict(self.rejected), messages=dict(self.messages))


class Decoder(Protocol):
    """What turns the records of a feed, in journal order, into events; see `ssmd.protocols.decoder`."""

    @property
    def counts(self) -> Counts:
        """Running totals; the same object as long as the decoder lives."""
        ...

    def feed(self, record: Record) -> Decoded:
        """Return what comes of the next record. Never raises for bad input."""
        ...

    def state(self) -> bytes:
        """Return everything the future depends on."""
        ...
