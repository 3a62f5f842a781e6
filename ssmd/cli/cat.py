"""`ssmd cat FILE`: archived objects as JSON lines, for people and pipes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ssmd.codec import blocks, marketdata
from ssmd.errors import BadRecord, ConfigError
from ssmd.model import EVENT_TYPES, EventType, type_of

MAX_OBJECT_BYTES = 1 << 30


def cat(*files: Path) -> int:
    """Print raw or normalized objects, one JSON object per line; reads .jsonl.zst and .capnp.zst.

    Example: ssmd cat ssmd-data/normalized/v1/kraken/trade/BTCUSD/2025/12/06/14-00.capnp.zst
    """
    if not files:
        raise ConfigError("name at least one object; they lie below <data-dir>/raw and <data-dir>/normalized")
    for file in files:
        try:
            for line in _lines(file):
                sys.stdout.buffer.write(line)
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
        except BadRecord as error:
            sys.stderr.write(f"error: {file}: {error}\n")
            return 1
    return 0


def _lines(file: Path) -> Iterator[bytes]:
    if file.name.endswith(".jsonl.zst"):
        yield from blocks.iter_decompress(file.read_bytes(), MAX_OBJECT_BYTES)
        return
    kind = _kind_of(file)
    data = blocks.decompress(file.read_bytes(), MAX_OBJECT_BYTES)
    for event in marketdata.decode_many(kind, data):
        yield msgspec.json.encode({"type": type_of(event), **msgspec.structs.asdict(event)}) + b"\n"


def _kind_of(file: Path) -> EventType:
    kind = next((part for part in reversed(file.parts) if part in EVENT_TYPES), None)
    if kind is None:
        raise ConfigError(f"{file}: the path must hold the type, one of {', '.join(EVENT_TYPES)}, as in the archive")
    return kind
