"""The decoder's state at the start of segments, so that a restart finds its books without reading days of frames."""

from pathlib import Path

from ssmd.journal.files import read_file, replace_file

_SUFFIX = ".state"


class Checkpoints:
    """One file per segment. A checkpoint is saved before the cursor can enter its segment."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, segment: str, state: bytes) -> None:
        replace_file(self._path(segment), state)

    def load(self, segment: str) -> bytes | None:
        return read_file(self._path(segment))

    def prune(self, before_segment: str) -> None:
        """Remove the checkpoints of older segments; they are never read again."""
        for path in self._directory.glob(f"*{_SUFFIX}"):
            if path.name.removesuffix(_SUFFIX) < before_segment:
                path.unlink(missing_ok=True)

    def _path(self, segment: str) -> Path:
        return self._directory / f"{segment}{_SUFFIX}"
