"""How far the archive has been counted: kept on the bus, where archiver and gateway both see it."""

from typing import Final

import msgspec
from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord

BUCKET: Final = "ssmd-archive"
DAYS: Final = 3
"""So many days are looked at, today among them: a record of an older minute is not expected any more."""
DAYS_NS: Final = DAYS * 1440 * NS_PER_MINUTE


class Position(Struct, frozen=True):
    """through_ns: every recorded minute up to this one is counted. days: how many records that are, by start of day."""

    through_ns: int
    days: dict[int, int] = {}


def position_key(environment: str, version: str, feed: str) -> str:
    return f"{environment}.{version}.{feed}"


def encode_position(position: Position) -> bytes:
    return msgspec.json.encode(position)


def decode_position(text: bytes) -> Position:
    """Return a stored position; BadRecord for anything else."""
    try:
        return msgspec.json.decode(text, type=Position)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"not a position: {error}") from error
