"""The environment file: what is captured, how long it is kept, and who may read it."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from ssmd.environment.check import BOOK_DEPTH, BOOK_INTERVAL_MS, MAX_NAME_CHARS, SHARDS
from ssmd.records import Depth, FeedConfig, SymbolSpec

BucketName = Annotated[str, Meta(pattern=r"^ssmd-[a-z0-9-]{1,40}-(raw|normalized)$")]
FOREVER_DAYS = -1


class SymbolEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """name: what the exchange calls it. internal: our symbol. l1: trades and quotes, l2: books too."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    internal: Annotated[str, Meta(pattern=r"^[A-Z0-9_-]{1,32}$")]
    depth: Depth = "l1"


class FeedEntry(Struct, frozen=True, forbid_unknown_fields=True):
    symbols: tuple[SymbolEntry, ...]
    enabled: bool = True
    book_depth: Annotated[int, Meta(ge=BOOK_DEPTH[0], le=BOOK_DEPTH[1])] = 10
    book_interval_ms: Annotated[int, Meta(ge=BOOK_INTERVAL_MS[0], le=BOOK_INTERVAL_MS[1])] = 100
    shards: Annotated[int, Meta(ge=SHARDS[0], le=SHARDS[1])] = 1
    normalizer: Annotated[str, Meta(pattern=r"^v[0-9]{1,6}$")] = "v1"
    candidate_normalizer: Annotated[str, Meta(pattern=r"^v[0-9]{1,6}$")] | None = None

    def config(self) -> FeedConfig:
        """Return what the connector and the normalizer of this feed work with."""
        return FeedConfig(
            symbols=tuple(SymbolSpec(s.name, s.internal, s.depth) for s in self.symbols),
            enabled=self.enabled,
            book_depth=self.book_depth,
            book_interval_ms=self.book_interval_ms,
            normalizer=self.normalizer,
            shards=self.shards,
        )


class BucketEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """retention_days: -1 keeps forever."""

    bucket: BucketName
    retention_days: Annotated[int, Meta(ge=-1)] = FOREVER_DAYS


class StorageEntry(Struct, frozen=True, forbid_unknown_fields=True):
    raw: BucketEntry
    normalized: BucketEntry


class JetStreamEntry(Struct, frozen=True, forbid_unknown_fields=True):
    retention_hours: Annotated[int, Meta(ge=1)] = 24
    max_bytes: str = "10GB"


class EntitlementEntry(Struct, frozen=True, forbid_unknown_fields=True):
    client_id: str
    name: str
    type: Literal["display", "non-display", "trading"]
    feeds: tuple[str, ...]
    symbols: tuple[str, ...]


class Metadata(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]


class Spec(Struct, frozen=True, forbid_unknown_fields=True):
    feeds: dict[str, FeedEntry]
    storage: StorageEntry
    jetstream: JetStreamEntry = JetStreamEntry()
    entitlements: tuple[EntitlementEntry, ...] = ()


class Environment(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    api_version: Literal["ssmd/v1"]
    kind: Literal["Environment"]
    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> str:
        return self.metadata.name
