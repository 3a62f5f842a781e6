"""How far the publisher has come. It moves only after the bus has acknowledged what came of a record."""

from pathlib import Path

import msgspec

from ssmd.journal.files import read_file, replace_file
from ssmd.journal.segments import Position

FILE_NAME = "cursor.json"


class Cursor:
    """A position in memory and on disk. A position on disk may lag; repeating from there is harmless."""

    def __init__(self, directory: Path) -> None:
        self._path = self.path(directory)
        self._position = self._load()
        self._saved = self._position

    @staticmethod
    def path(directory: Path) -> Path:
        """Return where it is kept; written whenever it has moved, half a second later at most."""
        return directory / FILE_NAME

    @property
    def position(self) -> Position | None:
        """None: nothing of this journal was published yet."""
        return self._position

    @property
    def saved(self) -> Position | None:
        """Where a restart of the process begins: what lies before it is never read again."""
        return self._saved

    def advance(self, position: Position) -> None:
        """Move forward; an older position is ignored, so a repeated batch cannot move the cursor back."""
        if self._position is None or position > self._position:
            self._position = position

    def save(self) -> None:
        if self._position is not None and self._position != self._saved:
            replace_file(self._path, msgspec.json.encode(self._position))
            self._saved = self._position

    def _load(self) -> Position | None:
        content = read_file(self._path)
        if content is None:
            return None
        try:
            return msgspec.json.decode(content, type=Position)
        except msgspec.MsgspecError:
            # A cursor that cannot be read costs a replay with the same identities, never data.
            return None
