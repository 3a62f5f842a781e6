"""Show stored objects as JSON lines."""

from collections.abc import Iterator
from typing import Final

import msgspec

from ssmd.codec import blocks, marketdata
from ssmd.errors import ConfigError
from ssmd.model import EVENT_TYPES, EventType, type_of

MAX_OBJECT_BYTES: Final = 1 << 30


def json_lines(path: str, body: bytes) -> Iterator[bytes]:
    """Give an object's content, raw or normalized by its name, as JSON lines (raw ones in blocks).

    Raises ConfigError for a name that does not tell what it is, BadRecord for content that cannot be read.
    """
    if path.endswith(".jsonl.zst"):
        yield from blocks.iter_decompress(body, MAX_OBJECT_BYTES)
        return
    data = blocks.decompress(body, MAX_OBJECT_BYTES)
    for event in marketdata.decode_many(_kind_of(path), data):
        yield msgspec.json.encode({"type": type_of(event), **msgspec.structs.asdict(event)}) + b"\n"


def _kind_of(path: str) -> EventType:
    for part in reversed(path.split("/")):
        if part in EVENT_TYPES:
            return part
    raise ConfigError(f"{path}: the path must hold the type, one of {', '.join(EVENT_TYPES)}, as in the archive")
