"""The database as one file at one moment, while the gateway goes on writing it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from ssmd.errors import DatabaseDown


def snapshot(path: Path) -> bytes:
    """Return the content of a whole copy. Blocks. Raises DatabaseDown when it is damaged or cannot be read."""
    try:
        with closing(_reading(path)) as source, closing(sqlite3.connect(":memory:")) as copy:
            source.backup(copy)
            (state,) = copy.execute("PRAGMA quick_check").fetchone()
            if state != "ok":
                raise DatabaseDown(f"{path.name} is damaged: {state}")
            return copy.serialize()
    except sqlite3.Error as error:
        raise DatabaseDown(f"{path.name}: {error}") from error


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
