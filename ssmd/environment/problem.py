"""What is wrong with an environment file, and where."""

import difflib
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

ALIKE: Final = 0.7
VERY_ALIKE: Final = 0.8
"""For names of pairs: the half that all have in common makes XYZ/USD and XRP/USD look alike."""

MANY_WORDS: Final = 100
"""Comparing letters is slow: among more words than this, only those with the same first letter are looked at."""


class Mark(Struct, frozen=True, order=True):
    """A span of a file. Lines and columns count from 1; `start` and `end` are offsets in its text.

    end_line 0: only the beginning is known.
    """

    file: str
    line: int
    column: int
    end_line: int = 0
    end_column: int = 0
    start: int = 0
    end: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Problem(Struct, frozen=True):
    """One error. message: what is wrong, with the value seen. allowed: what would be right. hint: what to do.

    code: one word for machines. path: where in the structure, such as `spec.feeds.<feed>.symbols[0].name`.
    """

    code: str
    message: str
    mark: Mark
    allowed: str = ""
    hint: str = ""
    path: str = ""

    def line(self) -> str:
        """Return everything in one line, for an error message."""
        more = "; ".join(filter(None, (f"allowed: {self.allowed}" if self.allowed else "", self.hint)))
        return f"{self.mark}: {self.message}" + (f" ({more})" if more else "")


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "", alike: float = ALIKE) -> str:
    """Return a hint that names the nearest known word, else `otherwise`."""
    words = list(known)
    if len(words) > MANY_WORDS:
        words = [each for each in words if each[:1] == word[:1]]
    close = difflib.get_close_matches(word, words, n=1, cutoff=alike)
    return f"did you mean '{close[0]}'?" if close else otherwise


def dotted(path: Iterable[str | int]) -> str:
    """Return `spec.feeds.<feed>.symbols[0].name`."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")
