"""How far the archive has been counted: kept on the bus, where archiver and gateway both see it."""

from typing import Final

import msgspec
from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord

BUCKET: Final = "ssmd-archive"
DAYS: Final = 3
"""So many days are looked at, today among them, and all days since the position if that is older."""
DAYS_NS: Final = DAYS * 1440 * NS_PER_MINUTE


class Position(Struct, frozen=True):
    """Every recorded minute in [from_ns, through_ns] is counted, but for those that wait.

    hours: how many records are counted, by start of the hour. waiting: minutes that got a record late. created_ns,
    stream_seq: which stream that was (only to be compared with what the stream says of itself), and the last message
    of the counted minutes.
    """

    from_ns: int
    through_ns: int
    hours: dict[int, int] = {}
    created_ns: int = 0
    stream_seq: int = 0
    waiting: tuple[int, ...] = ()


def position_key(environment: str, version: str, durable: str) -> str:
    return f"{environment}.{version}.{durable}"


def encode_position(position: Position) -> bytes:
    return msgspec.json.encode(position)


def decode_position(text: bytes) -> Position:
    """Return a stored position; BadRecord for anything else."""
    try:
        return msgspec.json.decode(text, type=Position)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"not a position: {error}") from error
