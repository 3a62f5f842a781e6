"""The `id` of a message as a client gives it back, and which of two messages of a feed came first."""

import re
from typing import Final, NamedTuple, Self

from msgspec import Struct

from ssmd.model import is_token

ID_FORM: Final = "id:FEED/CONNECTION/SEQ/N, the `id` of a message"
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_NAME: Final = re.compile(r"([0-9a-z]{1,12})-(0|[1-9][0-9]{0,8})-([1-9][0-9]{0,8})")


class Name(NamedTuple):
    """What a connection's name says: `<boot>-<slot>-<nth>`, see actors/lineage.py. boot: milliseconds since 1970."""

    boot: int
    slot: int
    nth: int


class Identity(Struct, frozen=True):
    feed: str
    conn: str
    seq: int
    n: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return what `<feed>/<conn>/<seq>/<n>` names; None unless it is exactly so, character by character."""
        match text.split("/"):
            case [feed, conn, seq, n] if is_token(feed) and is_token(conn) and _is_number(seq) and _is_number(n):
                return cls(feed, conn, int(seq), int(n))
        return None

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands within its connection."""
        return self.seq, self.n

    def side_of(self, other: "Identity") -> int | None:
        """Return -1 for a message that came before this one, 1 for one behind it, 0 for itself.

        None where names alone do not tell: the connections of two slots run side by side.
        """
        if other.feed != self.feed:
            return None
        if other.conn == self.conn:
            return _side(other.place, self.place)
        theirs, own = _name(other.conn), _name(self.conn)
        if theirs is None or own is None or (theirs.boot == own.boot and theirs.slot != own.slot):
            return None
        return _side((theirs.boot, theirs.nth), (own.boot, own.nth))


def _side(other: tuple[int, int], own: tuple[int, int]) -> int:
    return (other > own) - (other < own)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _name(conn: str) -> Name | None:
    found = _NAME.fullmatch(conn)
    return None if found is None else Name(int(found[1], 36), int(found[2]), int(found[3]))
