"""What normalizers hand over to the sealer, through the disk: what came of each segment that they have passed."""

from pathlib import Path
from typing import Final

from msgspec import Struct

from ssmd.journal.files import read_file, replace_file
from ssmd.model import is_token

FOLDER: Final = "tallies"
_SUFFIX: Final = ".json"


class TallyName(Struct, frozen=True, order=True):
    """Which segment, and which normalizer version says it."""

    segment: str
    version: str


class Tallies:
    """One small file per segment and version, from the moment its last record was decoded until the sealer filed it.

    A normalizer saves it, durably, before the cursor can enter the next segment. Saving again the same is harmless.
    """

    def __init__(self, journal_directory: Path) -> None:
        self._directory = journal_directory / FOLDER

    def save(self, name: TallyName, content: bytes) -> None:
        """Raises DiskFull; try again later."""
        self._directory.mkdir(exist_ok=True)
        replace_file(self._path(name), content, durable=True)

    def load(self, name: TallyName) -> bytes:
        return read_file(self._path(name)) or b""

    def names(self) -> list[TallyName]:
        """Return what waits, by segment."""
        found = []
        for path in self._directory.glob(f"*{_SUFFIX}"):
            segment, _, version = path.name.removesuffix(_SUFFIX).rpartition(".")
            if segment and is_token(version):
                found.append(TallyName(segment, version))
        return sorted(found)

    def remove(self, name: TallyName) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: TallyName) -> Path:
        return self._directory / f"{name.segment}.{name.version}{_SUFFIX}"
