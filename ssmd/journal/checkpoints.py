"""The decoder's state at the start of segments, so that a restart finds its books without reading days of frames."""

from pathlib import Path

from ssmd.journal.files import read_file, replace_file

_SUFFIX = ".state"


class Checkpoints:
    """One file per segment. A checkpoint is saved, durably, before the cursor can enter its segment."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, segment: str, state: bytes) -> None:
        replace_file(self._path(segment), state, durable=True)

    def load(self, segment: str) -> bytes | None:
        return read_file(self._path(segment))

    def segments(self, up_to: str) -> list[str]:
        """Return the segments that have a checkpoint, up to and including one, newest first."""
        names = (path.name.removesuffix(_SUFFIX) for path in self._directory.glob(f"*{_SUFFIX}"))
        return sorted((name for name in names if name <= up_to), reverse=True)

    def prune(self, before_segment: str) -> None:
        """Remove the checkpoints of older segments but the newest: it is there in case a later one is damaged."""
        older = [name for name in self.segments(before_segment) if name < before_segment]
        for name in older[1:]:
            self.remove(name)

    def remove(self, segment: str) -> None:
        self._path(segment).unlink(missing_ok=True)

    def _path(self, segment: str) -> Path:
        return self._directory / f"{segment}{_SUFFIX}"
