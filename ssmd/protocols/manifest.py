"""What lies beside each raw object: a statement of what it holds, linked to the one before it."""

from msgspec import Struct

from ssmd.protocols.coverage import Gap


class RecordName(Struct, frozen=True):
    conn: str
    seq: int
    recv_ns: int


class Manifest(Struct, frozen=True):
    """What a raw object holds, provable without reading another one: the chain links each to the one before."""

    key: str
    feed: str
    writer: str
    """Whose chain this is: one name for each journal directory that ever was."""
    minute: int
    """Start of the minute, nanoseconds UTC."""
    frames: int
    events: int
    raw_bytes: int
    stored_bytes: int
    sha256: str
    previous_sha256: str | None
    """Of the manifest before, as stored."""
    first: RecordName | None
    last: RecordName | None
    gaps: tuple[Gap, ...]
    wanted: tuple[str, ...] | None = None
    """The symbols that were to be captured when the object ended; None in manifests of earlier releases."""
