"""The environment file: what is captured, how long it is kept, and who may read it."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from ssmd.environment.check import BOOK_DEPTH, BOOK_INTERVAL_MS, MAX_NAME_CHARS, SHARDS
from ssmd.model import EventType
from ssmd.records import Depth, FeedConfig, SymbolSpec

FOREVER_DAYS: Final = -1

NAME: Final = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
CLIENT_ID: Final = r"^[A-Za-z0-9_-]{1,32}$"
FEED: Final = r"^[a-z0-9_-]{1,32}$"
SYMBOL: Final = r"^[A-Z0-9_-]{1,32}$"
SYMBOL_GLOB: Final = r"^[A-Z0-9_*?-]{1,32}$"
VERSION: Final = r"^v[0-9]{1,6}$"
SIZE: Final = r"^[0-9]{1,15}(\.[0-9]{1,6})? ?(B|KB|MB|GB|TB)$"
TIME: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?Z)?$"

PATTERNS: Final = {
    NAME: "a-z, 0-9 and -, at most 32",
    CLIENT_ID: "letters, digits, _ and -, at most 32",
    FEED: "a-z, 0-9, _ and -, at most 32",
    SYMBOL: "A-Z, 0-9, _ and -, at most 32",
    SYMBOL_GLOB: "A-Z, 0-9, _, -, * and ?, at most 32",
    VERSION: "v and a number",
    SIZE: "a number with B, KB, MB, GB or TB",
    TIME: "a date, or a date and time that ends in Z",
}
"""What a pattern lets in, in words."""

Normalizer = Annotated[str, Meta(pattern=VERSION, description="A version of the normalizer, such as v1.")]
FeedName = Annotated[str, Meta(pattern=FEED, description="An exchange.")]


class SymbolEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One captured symbol."""

    name: Annotated[
        str, Meta(min_length=1, max_length=MAX_NAME_CHARS, description="What the exchange calls it: BTC/USD.")
    ]
    internal: Annotated[str, Meta(pattern=SYMBOL, description="What ssmd calls it: BTCUSD.")]
    depth: Annotated[Depth, Meta(description="l1: trades and quotes. l2: books too.")] = "l1"


class FeedEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """What is captured from one exchange."""

    symbols: tuple[SymbolEntry, ...]
    enabled: Annotated[bool, Meta(description="false keeps the feed's definition and captures nothing.")] = True
    book_depth: Annotated[
        int, Meta(ge=BOOK_DEPTH[0], le=BOOK_DEPTH[1], description="Levels per side of a published book.")
    ] = 10
    book_interval_ms: Annotated[
        int,
        Meta(
            ge=BOOK_INTERVAL_MS[0],
            le=BOOK_INTERVAL_MS[1],
            description="At most one book in this time; 0: every update.",
        ),
    ] = 100
    shards: Annotated[
        int, Meta(ge=SHARDS[0], le=SHARDS[1], description="Connections that share the symbols; changes at a restart.")
    ] = 1
    normalizer: Annotated[Normalizer, Meta(description="What makes the published data; changes at a restart.")] = "v1"
    candidate_normalizer: (
        Annotated[Normalizer, Meta(description="A second version that runs beside it, on data of its own.")] | None
    ) = None
    serve_version: (
        Annotated[Normalizer, Meta(description="What readers use; else what the normalizer makes.")] | None
    ) = None

    @property
    def served(self) -> str:
        """The version that readers use."""
        return self.serve_version or self.normalizer

    def config(self) -> FeedConfig:
        """Return what the connector and the normalizer of this feed work with."""
        return FeedConfig(
            symbols=tuple(SymbolSpec(s.name, s.internal, s.depth) for s in self.symbols),
            enabled=self.enabled,
            book_depth=self.book_depth,
            book_interval_ms=self.book_interval_ms,
            normalizer=self.normalizer,
            shards=self.shards,
            serve_version=self.serve_version or "",
            candidate_normalizer=self.candidate_normalizer or "",
        )


class BucketEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """Where something is kept, and how long."""

    bucket: Annotated[str, Meta(min_length=1, description="ssmd-<environment>-raw or ssmd-<environment>-normalized.")]
    retention_days: Annotated[int, Meta(ge=-1, le=36_500, description="-1 keeps forever.")] = FOREVER_DAYS


class StorageEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """The two archives."""

    raw: BucketEntry
    normalized: BucketEntry


class JetStreamEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """How much of the stream is kept for live replay; the archive keeps the rest."""

    retention_hours: Annotated[int, Meta(ge=1, le=8_760)] = 24
    max_bytes: Annotated[str, Meta(pattern=SIZE, description="A size such as 10GB.")] = "10GB"


class EntitlementEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A client, or a further grant to one: the entry with a type defines the client, others only name it."""

    client_id: Annotated[str, Meta(pattern=CLIENT_ID)]
    feeds: tuple[FeedName, ...]
    symbols: Annotated[
        tuple[Annotated[str, Meta(pattern=SYMBOL_GLOB)], ...],
        Meta(description='Symbols or globs such as "BTC*"; "*" is every symbol.'),
    ]
    name: Annotated[str, Meta(max_length=200, description="For people.")] = ""
    type: Literal["display", "non-display", "trading"] | None = None
    data_types: Annotated[tuple[EventType, ...], Meta(description="What may be read; none named means all.")] = ()
    expires_at: Annotated[str, Meta(pattern=TIME, description="UTC: 2027-01-31 or 2027-01-31T12:00Z.")] | None = None
    max_devices: Annotated[int, Meta(ge=1, le=10_000, description="Connections at the same time.")] | None = None


def by_client(entries: Sequence[EntitlementEntry]) -> Iterator[tuple[EntitlementEntry, list[EntitlementEntry]]]:
    """Give the entry that defines each client, with all entries that grant it something."""
    for defining in entries:
        if defining.type is not None:
            yield defining, [each for each in entries if each.client_id == defining.client_id]


class Metadata(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=NAME, description="Equal to the file's name without .yaml.")]


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    """What the environment is made of."""

    feeds: dict[FeedName, FeedEntry]
    storage: StorageEntry
    jetstream: JetStreamEntry = field(default_factory=JetStreamEntry)
    entitlements: tuple[EntitlementEntry, ...] = ()


class Environment(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One environment, whole: what it takes over from another one (`extends`) is filled in."""

    api_version: Literal["ssmd/v1"]
    kind: Literal["Environment"]
    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> str:
        return self.metadata.name
