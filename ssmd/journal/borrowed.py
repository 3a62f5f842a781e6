"""Checkpoints of one decoder that begins where another one stands."""

from collections.abc import Callable
from pathlib import Path

from ssmd.journal.checkpoints import Checkpoints

Adapt = Callable[[bytes], bytes]


class BorrowedCheckpoints(Checkpoints):
    """Its own ones, and for a segment without any the lender's, adapted. The lender's are only read."""

    def __init__(self, directory: Path, lender: Checkpoints, adapt: Adapt) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory)
        self._lender = lender
        self._adapt = adapt

    def load(self, segment: str) -> bytes | None:
        own = super().load(segment)
        if own is not None:
            return own
        lent = self._lender.load(segment)
        return None if lent is None else self._adapt(lent)

    def segments(self, up_to: str) -> list[str]:
        return sorted({*super().segments(up_to), *self._lender.segments(up_to)}, reverse=True)

    def prune(self, before_segment: str) -> None:
        """Remove its own ones of older segments."""
        for name in super().segments(before_segment):
            if name < before_segment:
                self.remove(name)


def candidate_directory(journal_directory: Path, version: str) -> Path:
    """Return where a candidate that reads this journal keeps its own cursor and checkpoints."""
    return journal_directory / "candidate" / version
