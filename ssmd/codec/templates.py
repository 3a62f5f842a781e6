"""Messages by template: the bytes that Cap'n Proto's own writer gives, at a third of its price.

Messages of one shape (same texts, same numbers of levels) differ in a few numbers only. A template is a message of the
real writer, which also shows where each number stands: one field is changed at a time and the bytes are compared.
What does not show clearly is left to the real writer.
"""

import struct
from collections.abc import Sequence
from itertools import pairwise
from operator import itemgetter

from msgspec import Struct


class Field(Struct, frozen=True):
    """One thing that differs between events: its format, as of struct, and a message that differs in it alone."""

    format: str
    marked: bytes


class Template:
    """Writes the values of one event between the bytes that all messages of the shape have in common."""

    __slots__ = ("_constants", "_order", "_pack")

    def __init__(self, base: bytes, places: Sequence[tuple[int, str, int]]) -> None:
        """places: where each field stands, its format, and which of the values it takes; in order of place."""
        constants: list[bytes] = []
        formats, order, at = "<", [], 0
        values = 1 + max(index for _, _, index in places)
        for offset, kind, index in places:
            formats += f"{offset - at}s{kind}"
            order += [values + len(constants), index]
            constants.append(base[at:offset])
            at = offset + struct.calcsize(f"<{kind}")
        self._constants = (*constants, base[at:])
        self._order = itemgetter(*order, values + len(constants))
        self._pack = struct.Struct(f"{formats}{len(base) - at}s").pack

    def write(self, values: tuple[object, ...]) -> bytes:
        """Return the message. Raises struct.error for a number that its field does not hold."""
        return self._pack(*self._order(values + self._constants))


def make(base: bytes, fields: Sequence[Field]) -> Template | None:
    """Return a template of a message; None if it does not show clearly where a field stands."""
    places: list[tuple[int, str, int]] = []
    for index, field in enumerate(fields):
        if struct.calcsize(f"<{field.format}"):
            offset = _place(base, field)
            if offset is None:
                return None
            places.append((offset, field.format, index))
    places.sort()
    return None if _overlap(places) else Template(base, places)


def _place(base: bytes, field: Field) -> int | None:
    """Return where the messages differ: one run of bytes no longer than the field."""
    if len(base) != len(field.marked):
        return None
    different = [at for at, (one, two) in enumerate(zip(base, field.marked, strict=True)) if one != two]
    if not different or different[-1] - different[0] >= struct.calcsize(f"<{field.format}"):
        return None
    return different[0]


def _overlap(places: Sequence[tuple[int, str, int]]) -> bool:
    return any(offset + struct.calcsize(f"<{kind}") > after for (offset, kind, _), (after, _, _) in pairwise(places))
