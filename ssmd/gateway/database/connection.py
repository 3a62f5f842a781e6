"""One writer, readers beside it, in threads. Every error of SQLite becomes DatabaseDown; only bugs stay what they are."""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import trio

from ssmd.blocking import Blocking, in_thread
from ssmd.errors import ConfigError, DatabaseDown
from ssmd.gateway.database.migrations import MIGRATIONS, Migration

T = TypeVar("T")
Transaction = sqlite3.Connection
Work = Callable[[Transaction], T]

BUSY_MS: Final = 300
"""Another process may hold the file locked so long; a write behind one that waits is answered within a second, too."""
READERS: Final = 2
VOLUME_ERRORS: Final = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY}
)
TRIED_BYTES: Final = 128 * 1024
"""SQLite lays out 32 kB beside the database before it writes anything."""
FIXES: Final = {
    errno.ENOSPC: ", free some space",
    errno.EDQUOT: ", free some space or raise the quota",
    errno.EROFS: ", mount it writable",
}
POLICY_TABLES: Final = ("client", "api_key", "entitlement", "revocation")

PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",  # readers go on while something is written
    "PRAGMA synchronous = FULL",  # a revoke that was answered survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",  # a file made by somebody else runs no functions
    "PRAGMA cell_size_check = ON",  # damage is an error, not a wrong answer
    f"PRAGMA busy_timeout = {BUSY_MS}",
)


File = tuple[int, int]
"""Device and inode: which file a path meant when it was opened."""


class Database:
    """The open file. After an error its connections are made anew; a file that is gone is never made anew."""

    def __init__(self, path: Path, blocking: Blocking = in_thread) -> None:
        self.path = path
        self._blocking = blocking
        self._writing = trio.Lock()
        self._reading = trio.Semaphore(READERS)
        self._writers: list[_Open] = []
        self._readers: list[_Open] = []

    async def write(self, work: Work[T]) -> T:
        """Run work in a transaction: all of it is stored, or nothing. Raises DatabaseDown."""
        async with self._writing:
            return await self._blocking(self._run, self._writers, "BEGIN IMMEDIATE", work)

    async def read(self, work: Work[T]) -> T:
        """Run work that sees one state of the database. Raises DatabaseDown."""
        async with self._reading:
            return await self._blocking(self._run, self._readers, "BEGIN", work)

    async def close(self) -> None:
        """Close what is idle; what is still at work ends with its own call."""
        await self._blocking(self._close)

    # in a thread ---------------------------------------------------------------------------------------------

    def _run(self, idle: "list[_Open]", begin: str, work: Work[T]) -> T:
        """Run work on an idle connection, or a new one, and leave it idle. After an error it is closed."""
        try:
            opened = self._take(idle)
            try:
                result = _in_transaction(opened.connection, begin, work)
            except BaseException:
                opened.connection.close()
                raise
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):  # a bug of ours
            raise
        except sqlite3.Error as error:
            raise DatabaseDown(f"{self.path.name}: {error}{_cause(self.path, error)}") from error
        idle.append(opened)
        return result

    def _take(self, idle: "list[_Open]") -> "_Open":
        """Return a connection to the file that the path means now: an open one would not notice that its own is gone."""
        file = self._file()
        while idle:
            opened = idle.pop()
            if opened.file == file:
                return opened
            opened.connection.close()
        return _Open(_connect(self.path), file)

    def _file(self) -> File:
        try:
            status = self.path.stat()
        except OSError as error:
            raise DatabaseDown(f"{self.path.name} cannot be found: {error.strerror}") from error
        return status.st_dev, status.st_ino

    def _close(self) -> None:
        while self._readers or self._writers:
            (self._readers or self._writers).pop().connection.close()


def _cause(path: Path, error: sqlite3.Error) -> str:
    """Return what the volume says of an error, tried out: SQLite has the same few words for all of it."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF not in VOLUME_ERRORS:  # absent where it is no error of SQLite's own
        return ""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(bytes(TRIED_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as refused:
        fix = FIXES.get(refused.errno or 0, "")
        return f"; {path.parent} cannot be written: {refused.strerror}{fix}"
    return "" if os.access(path, os.W_OK) else f"; this user may not write {path}"


class _Open(NamedTuple):
    """A connection, and the file that it was opened on."""

    connection: sqlite3.Connection
    file: File


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        for pragma in PRAGMAS:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _in_transaction(connection: sqlite3.Connection, begin: str, work: Work[T]) -> T:
    connection.execute(begin)
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise
    return result


# opening -----------------------------------------------------------------------------------------------------


def fresh(migrations: Sequence[Migration] = MIGRATIONS) -> bytes:
    """Return a database's file with its tables and nothing in them."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _in_transaction(connection, "BEGIN", lambda new: _make_tables(new, migrations, 0))
        return connection.serialize()


async def open_database(
    path: Path, *, blocking: Blocking = in_thread, migrations: Sequence[Migration] = MIGRATIONS
) -> Database:
    """Open the database, bring its tables up to date, and look through what decides who may read what.

    Raises DatabaseDown when it is damaged or locked, ConfigError when a newer ssmd made it or when it is empty.
    """
    database = Database(path, blocking)
    try:
        await database.write(lambda connection: _migrate(path, connection, migrations))
        await database.read(look_through)
    except BaseException:
        await database.close()
        raise
    return database


def _migrate(path: Path, connection: Transaction, migrations: Sequence[Migration]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise ConfigError(
            f"database {path} has version {version}, this ssmd knows {len(migrations)}: run the ssmd that made it, "
            f"or put back the copy that it made ({path.name}.v{len(migrations)})"
        )
    if version == 0:
        raise ConfigError(
            f"database {path} is empty: copy your last backup over it (without one it would have forgotten every revoke)"
        )
    if version < len(migrations):
        _copy(path, version)
        _make_tables(connection, migrations, version)


def _make_tables(connection: Transaction, migrations: Sequence[Migration], version: int) -> None:
    for migration in migrations[version:]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(migrations)}")


def _copy(path: Path, version: int) -> None:
    """Keep the database as it is before its tables change: <database>.v<version>."""
    target = path.with_name(f"{path.name}.v{version}")
    with suppress(FileNotFoundError):
        target.unlink()
    source = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        source.execute("VACUUM INTO ?", (str(target),))
    finally:
        source.close()


def look_through(connection: Transaction) -> None:
    """Raise what SQLite raises when the tables that decide who may read what are damaged."""
    for table in POLICY_TABLES:
        found = [text for (text,) in connection.execute(f"PRAGMA quick_check('{table}')")]
        if found != ["ok"]:
            raise DatabaseDown(f"table {table} is damaged: {found[0]}")
