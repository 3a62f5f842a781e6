"""Show stored objects as JSON lines."""

from collections.abc import Iterator
from typing import Final

import msgspec

from ssmd.codec import blocks, marketdata
from ssmd.errors import ConfigError
from ssmd.model import EVENT_TYPES, Event, EventType, type_of

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
        yield json_line(event)


def json_line(event: Event) -> bytes:
    """Return one event as a line of JSON: its type first, then the fields by their names."""
    return msgspec.json.encode({"type": type_of(event), **msgspec.structs.asdict(event)}) + b"\n"


def message_line(subject: str, payload: bytes) -> bytes:
    """Return one message of the stream as a line of JSON. Raises BadRecord, ConfigError for what is no event."""
    return json_line(marketdata.decode(_kind_of(subject.replace(".", "/")), payload))


def _kind_of(path: str) -> EventType:
    for part in reversed(path.split("/")):
        if part in EVENT_TYPES:
            return part
    raise ConfigError(f"{path}: the path must hold the type, one of {', '.join(EVENT_TYPES)}, as in the archive")
