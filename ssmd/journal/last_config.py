"""The live configuration that was taken last, so that a restart while the bus is away captures what it captured before."""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.journal.files import read_file, replace_file
from ssmd.records import FeedConfig

FILE: Final = "live-config.json"


class _Taken(Struct, frozen=True):
    """defined: what the environment's file said at that time; taken: the live configuration that took its place."""

    defined: FeedConfig
    taken: FeedConfig


class LastConfig:
    """Counts only as long as the file says what it said then: a changed file is newer than what was live before."""

    def __init__(self, directory: Path, defined: FeedConfig) -> None:
        self._path = directory / FILE
        self._defined = defined

    def load(self) -> FeedConfig:
        """Return the configuration to begin with; the file's own when there is none, or none that can be read."""
        try:
            saved = msgspec.json.decode(read_file(self._path) or b"", type=_Taken)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._defined
        return saved.taken if saved.defined == self._defined else self._defined

    def save(self, taken: FeedConfig) -> None:
        replace_file(self._path, msgspec.json.encode(_Taken(self._defined, taken)), durable=True)
