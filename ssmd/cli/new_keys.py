"""A new API key is shown once: on the terminal, or in a file that only its owner can read."""

import os
from pathlib import Path

from ssmd.cli.gateway import NewKey
from ssmd.cli.options import Format
from ssmd.cli.output import say, show_record
from ssmd.errors import ConfigError


class KeyPlace:
    """Where a new key goes: into a file, if one is named, else to stdout."""

    def __init__(self, file: Path | None, output: Format = "table") -> None:
        self._file = file
        self._output = output

    def check(self) -> None:
        """Raise ConfigError now for a file that the key could not be written to: afterwards it would be lost."""
        if self._file is None:
            return
        if self._file.exists():
            raise ConfigError(f"{self._file} exists already; give another --key-file")
        if not os.access(self._file.absolute().parent, os.W_OK):
            raise ConfigError(f"{self._file} cannot be written; give another --key-file")

    def take(self, key: NewKey) -> None:
        """Write the key into its file at once, whatever fails later."""
        if self._file is None:
            return
        fd = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(key.key + "\n")

    def show(self, key: NewKey) -> None:
        if self._file is not None:
            say(f"key {key.key_id} is in {self._file} (only you can read it)")
            return
        show_record(key, self._output)
        say("note: the key is shown this one time; it goes into the header X-API-Key, never into a URL")
