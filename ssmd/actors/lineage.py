"""Names of connections, and which one came before; kept by the tree, so that it survives a session's crash."""

import string
from typing import Final

from ssmd.records import Predecessor

_DIGITS: Final = string.digits + string.ascii_lowercase


class Link:
    """One connection's place in the record: its name and its counters. The session counts here, not in itself."""

    def __init__(self, conn: str, after: Predecessor | None) -> None:
        self.conn = conn
        self.after = after
        self.next_seq = 0
        self.last_ns = 0
        self.was_connected = False
        self.is_again = False
        """The slot had a connection before."""
        self.missing: frozenset[str] = frozenset()
        """The raw data says that these are wanted of the slot, and that nothing comes since this one ended."""

    def take_seq(self) -> int:
        seq = self.next_seq
        self.next_seq = seq + 1
        return seq


class Lineage:
    """Connection names of one connector: `<boot>-<slot>-<count>`, unique over restarts of the process."""

    def __init__(self, boot_ns: int) -> None:
        self._boot = _base36(boot_ns // 1_000_000)
        self._count = 0
        self._links: dict[int, Link] = {}

    def begin(self, slot: int) -> Link:
        """Start the next connection of a slot and tell it which one came before."""
        self._count += 1
        last = self._links.get(slot)
        link = Link(f"{self._boot}-{slot}-{self._count}", self._predecessor(slot))
        link.is_again = last is not None and (last.is_again or last.was_connected)
        self._links[slot] = link
        return link

    def missing(self, slot: int) -> frozenset[str]:
        """Return what is missing of a slot as far as the raw data tells already."""
        return self._links[slot].missing if slot in self._links else frozenset()

    def _predecessor(self, slot: int) -> Predecessor | None:
        last = self._links.get(slot)
        if last is None:
            return None
        if last.next_seq == 0:
            return last.after  # it never got as far as a record
        return Predecessor(last.conn, last.next_seq - 1, last.last_ns)


def slot_of(conn: str) -> int:
    """Return the slot from a connection's name."""
    return int(conn.split("-")[1])


def _base36(number: int) -> str:
    digits = []
    while number:
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits)) or "0"
