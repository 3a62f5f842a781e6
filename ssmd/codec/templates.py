"""Messages by template: the bytes that Cap'n Proto's own writer gives, at a third of its price.

Messages of one shape (same texts, same numbers of levels) differ in a few numbers only. A template is a message of the
real writer, which also shows where each number stands: one field is changed at a time and the bytes are compared.
What does not show clearly is left to the real writer.
"""

import struct
from collections.abc import Sequence
from operator import itemgetter

from msgspec import Struct


class Field(Struct, frozen=True):
    """One thing that differs between events: its format, as of struct, and a message that differs in it alone."""

    format: str
    marked: bytes


class Template:
    """Writes the numbers of one event into a copy of a message."""

    __slots__ = ("_base", "_groups")

    def __init__(self, base: bytes, groups: Sequence[tuple[int, str, slice]]) -> None:
        """groups: where some neighbours stand, their format, and which of the values they are."""
        self._base = base
        self._groups = [(offset, struct.Struct(f"<{kind}").pack_into, itemgetter(of)) for offset, kind, of in groups]

    def write(self, values: tuple[object, ...]) -> bytes:
        """Return the message. Raises struct.error for a number that its field does not hold."""
        message = bytearray(self._base)
        for offset, pack_into, of in self._groups:
            pack_into(message, offset, *of(values))
        return bytes(message)


def make(base: bytes, fields: Sequence[Field]) -> Template | None:
    """Return a template of a message; None if it does not show clearly where a field stands."""
    groups: list[tuple[int, str, slice]] = []
    first = 0
    for field in fields:
        count = len(struct.unpack(f"<{field.format}", bytes(struct.calcsize(f"<{field.format}"))))
        if count:
            offset = _place(base, field)
            if offset is None:
                return None
            _add(groups, (offset, field.format, slice(first, first + count)))
        first += count
    return Template(base, groups)


def _place(base: bytes, field: Field) -> int | None:
    """Return where the messages differ: one run of bytes no longer than the field."""
    if len(base) != len(field.marked):
        return None
    different = [at for at, (one, two) in enumerate(zip(base, field.marked, strict=True)) if one != two]
    if not different or different[-1] - different[0] >= struct.calcsize(f"<{field.format}"):
        return None
    return different[0]


def _add(groups: list[tuple[int, str, slice]], new: tuple[int, str, slice]) -> None:
    """Add a field, to the group before it where it stands right behind."""
    if groups:
        offset, kind, of = groups[-1]
        if new[0] == offset + struct.calcsize(f"<{kind}") and new[2].start == of.stop:
            groups[-1] = (offset, kind + new[1], slice(of.start, new[2].stop))
            return
    groups.append(new)
