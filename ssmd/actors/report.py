"""What a connector says of itself on the bus: which configuration it runs, and how its symbols stand.

Key `<env>.connectors.<feed>.<instance>` in the bucket `ssmd-status`, renewed every HEARTBEAT_S. A connector that
drains takes its report away; one that was killed leaves it, and readers tell by the age.
"""

import re
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ssmd.bus.base import BucketSpec
from ssmd.clock import NS_PER_S
from ssmd.protocols.text import shorten
from ssmd.records import FeedConfig

BUCKET: Final = BucketSpec("ssmd-status", max_age_s=3600.0, in_memory=True)
"""In memory: everybody tells again within seconds. An hour: long enough to see that somebody has fallen silent."""

HEARTBEAT_S: Final = 5.0
SILENT_AFTER_S: Final = 15.0

_HEAD_CHARS: Final = 12
_TAIL_CHARS: Final = 12
_HASH_BYTES: Final = 3
_REASON_CHARS: Final = 80


class RefusedSymbol(Struct, frozen=True):
    """The exchange refuses a symbol, at least one of its channels."""

    symbol: str
    reason: str


class RefusedConfig(Struct, frozen=True):
    """A live copy that cannot be used. digest: of its very bytes, since a bucket made again counts from 1."""

    revision: int
    reason: str
    refused_ns: int
    digest: str


class ConnectorReport(Struct, frozen=True):
    """One connector at one moment.

    revision: what every session of the feed has applied, as the bus counts; 0 is still the environment file.
    digest: of that configuration, see `digest_of`; together they name it even when the bucket was made again.
    enabled: false also when the configuration in force says so, and then nothing is connected.
    live, pending, refused: our symbols, each in one of them. Pending: not (yet) acknowledged by the exchange.
    leaving: what is not wanted any more, while the exchange has not confirmed the end of it.
    refused_config: the newest live copy if it was refused; gone as soon as a good one was taken.
    """

    feed: str
    instance: str
    pid: int
    started_ns: int
    version: str
    reported_ns: int
    revision: int
    digest: str
    enabled: bool = True
    live: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    refused: tuple[RefusedSymbol, ...] = ()
    leaving: tuple[str, ...] = ()
    refused_config: RefusedConfig | None = None

    def is_silent(self, now_ns: int) -> bool:
        """Tell whether it is so old that its connector is dead, hangs, or has no way to the bus."""
        return now_ns - self.reported_ns > SILENT_AFTER_S * NS_PER_S


class Identity(Struct, frozen=True):
    """Who reports: what does not change as long as the process lives."""

    environment: str
    feed: str
    instance: str
    pid: int
    started_ns: int
    version: str

    @property
    def key(self) -> str:
        return f"{self.environment}.connectors.{self.feed}.{self.instance}"


def reports_of(environment: str, feed: str = "*") -> str:
    """Return the pattern of the keys of a feed's connectors, or of every feed's."""
    return f"{environment}.connectors.{feed}.*"


def instance_name(hostname: str, data_dir: Path) -> str:
    """Return a token for one data directory on one machine, the same at each start.

    A long name, of a pod for example, keeps its head, which says what it is, and its tail, which says which one.
    """
    host = re.sub(r"[^A-Za-z0-9-]", "-", hostname) or "host"
    if len(host) > _HEAD_CHARS + 1 + _TAIL_CHARS:
        host = f"{host[:_HEAD_CHARS]}_{host[-_TAIL_CHARS:]}"
    return f"{host}-{_digest(f'{hostname}:{data_dir.resolve()}'.encode(), _HASH_BYTES)}"


def encode_config(config: FeedConfig) -> bytes:
    """Return a configuration as its live copy holds it: the revision is the bus's to give."""
    return msgspec.json.encode(replace(config, revision=0))


def digest_of(config: FeedConfig) -> str:
    """Return a short name of what a configuration says, whatever its revision."""
    return value_digest(encode_config(config))


def value_digest(value: bytes | None) -> str:
    return _digest(value or b"", 8)


def _digest(content: bytes, size: int) -> str:
    return blake2b(content, digest_size=size).hexdigest()


def refused_symbol(symbol: str, reason: str) -> RefusedSymbol:
    """Return a refusal in the exchange's words, cut so that a report of the most symbols fits into one message."""
    return RefusedSymbol(symbol, for_people(reason)[:_REASON_CHARS])


def for_people(text: str) -> str:
    """Return foreign text as one short line."""
    return shorten("".join(char if char.isprintable() else " " for char in text))
