"""Where the next page begins, as an opaque text. It is made from identities, so new rows never shift a page."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

MAX_CHARS: Final = 4_096

Token = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]
Ns = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Number = Annotated[int, Meta(ge=-1)]
Position = tuple[
    Ns,
    Annotated[str, Meta(max_length=64)],
    Number,
    Number,
]


class Cursor(Struct, frozen=True):
    """query: the digest of the request it belongs to. from_ns: everything before it was looked through.

    after: by feed, the last event that was handed out. versions: by feed, so that a walk stays within one.
    exchange: the range by the exchange's time, if it is one.
    """

    query: str
    from_ns: Ns
    to_ns: Ns
    after: Annotated[dict[Token, Position], Meta(max_length=100)]
    versions: Annotated[dict[Token, Annotated[str, Meta(pattern=r"^v[0-9]{1,6}\Z")]], Meta(max_length=100)]
    exchange: tuple[Ns, Ns] | None = None


def encode_cursor(cursor: Cursor) -> str:
    return urlsafe_b64encode(msgspec.json.encode(cursor)).rstrip(b"=").decode()


def decode_cursor(text: str) -> Cursor:
    """Return what a cursor says. It comes from outside: its parts are checked. Raises ValueError for any other text."""
    try:
        packed = urlsafe_b64decode(text[:MAX_CHARS].encode("ascii") + b"=" * (-len(text) % 4))
        return msgspec.json.decode(packed, type=Cursor)
    except (binascii.Error, UnicodeError, msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise ValueError("not a cursor of an earlier answer") from error
