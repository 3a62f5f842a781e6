"""What the journal and the raw archive hold: frames as received, and the session's own notes between them.

A record is one raw line. `seq` rises by one within a connection, notes included; `recv_ns` never falls.
"""

from typing import Annotated, Generic, Literal, TypeVar

from msgspec import Meta, Struct

Depth = Literal["l1", "l2"]
"""l1: trades and quotes. l2: books too."""


class SymbolSpec(Struct, frozen=True):
    """One captured symbol: the exchange's name, our symbol, and how deep."""

    name: str
    symbol: str
    depth: Depth = "l1"


class FeedConfig(Struct, frozen=True):
    """Everything that the capture and the normalizer of one feed depend on."""

    symbols: tuple[SymbolSpec, ...]
    revision: int = 0
    enabled: bool = True
    book_depth: int = 10
    book_interval_ms: int = 100
    normalizer: str = "v1"
    shards: int = 1
    serve_version: str = ""
    """What readers of the archive use; empty: the normalizer's own. It changes nothing of capture."""
    candidate_normalizer: str = ""
    """What runs beside the normalizer, on data of its own; empty: nothing. It changes nothing of capture."""


class Predecessor(Struct, frozen=True):
    """The connection before this one, as far as the journal knows it."""

    conn: str
    seq: int
    recv_ns: int


class Connected(Struct, frozen=True, tag_field="event", tag="connected"):
    url: str
    after: Predecessor | None = None


class Unconnected(Struct, frozen=True, tag_field="event", tag="unconnected"):
    """An attempt that never became a connection. The configuration behind it says what is wanted, its end says why."""

    url: str
    after: Predecessor | None = None


class Configured(Struct, frozen=True, tag_field="event", tag="config"):
    """The symbol map and settings in force from here on; written at connect and at each change."""

    config: FeedConfig


class Live(Struct, frozen=True, tag_field="event", tag="live"):
    """Every subscription of these symbols is acknowledged on this connection."""

    symbols: tuple[str, ...]


class Refused(Struct, frozen=True, tag_field="event", tag="refused"):
    """The exchange refuses one subscription of a symbol; the others go on."""

    symbol: str
    channel: str
    reason: str


class Resync(Struct, frozen=True, tag_field="event", tag="resync"):
    """The book of a symbol is not trusted since `from_ns`; a new snapshot was asked for."""

    symbol: str
    reason: str
    from_ns: int


class Disconnected(Struct, frozen=True, tag_field="event", tag="disconnected"):
    reason: str
    detail: str = ""
    last_frame_ns: int = 0


class Lost(Struct, frozen=True, tag_field="event", tag="lost"):
    """Something was received but could not be kept, for example bytes cut off by a crash."""

    reason: str
    bytes: int = 0


class Missed(Struct, frozen=True, tag_field="event", tag="missed"):
    """Known too late to be mended: between these times something of the symbol is missing or was not usable."""

    symbol: str
    reason: str
    from_ns: int
    to_ns: int


Note = Connected | Unconnected | Configured | Live | Refused | Resync | Disconnected | Lost | Missed


class Record(Struct, frozen=True, gc=False):
    """One raw line. Exactly one of `frame`, `text`, `note`, `data` is set.

    frame: the exact text received, one line of JSON. text: any other text received. note: our own.
    data: a binary message that is no text.
    """

    recv_ns: int
    conn: str
    seq: int
    frame: str | None = None
    text: str | None = None
    note: Note | None = None
    data: bytes | None = None


F = TypeVar("F")
Count = Annotated[int, Meta(ge=0)]


class FrameLine(Struct, Generic[F], gc=False, forbid_unknown_fields=True):
    """A raw line that was read at once together with its frame; the frame's text is not kept."""

    recv_ns: Count
    conn: str
    seq: Count
    frame: F
