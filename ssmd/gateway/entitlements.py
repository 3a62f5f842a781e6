"""The entitlements service: policy, sessions and audit over one database, opened together."""

from pathlib import Path
from typing import NamedTuple

from ssmd.blocking import Blocking, in_thread
from ssmd.clock import NowNs, now_ns
from ssmd.errors import ConfigError
from ssmd.gateway.administration import Administration
from ssmd.gateway.audit import AuditLog, AuditWriter
from ssmd.gateway.database import Database, fresh, open_database
from ssmd.gateway.doorkeeper import AddressLimits, PolicyDoorkeeper, PolicyWatcher
from ssmd.gateway.keys import Pepper, admin_key, make_pepper, read_pepper, sync_folder, write_whole
from ssmd.gateway.reports import Reports
from ssmd.settings import ADMIN_KEY_FILE
from ssmd.supervisor import ChildSpec


class Entitlements(NamedTuple):
    """What the gateway is made of, as far as clients are concerned. It belongs to the tree; children only work on it."""

    database: Database
    audit: AuditLog
    doorkeeper: PolicyDoorkeeper
    administration: Administration
    reports: Reports

    def children(self) -> list[ChildSpec]:
        """Return the actors, the one that writes last first: it drains when nothing counts any more."""
        return [
            ChildSpec("audit-writer", lambda: AuditWriter(self.audit)),
            ChildSpec("policy-watcher", lambda: PolicyWatcher(self.doorkeeper)),
        ]

    def trouble(self) -> str:
        """Return what is wrong with the database now, nothing when it can be read and written."""
        if not self.doorkeeper.is_up:
            return "does not answer"
        return "" if self.audit.is_written else "cannot be written"

    async def close(self) -> None:
        await self.database.close()


class Place(NamedTuple):
    """Where the service keeps what, and whom it serves."""

    database: Path
    environment: str

    @property
    def pepper(self) -> Path:
        return self.database.with_name(f"{self.database.name}.pepper")

    @property
    def staged(self) -> Path:
        """A new database that has not got its name yet."""
        return self.database.with_name(f"{self.database.name}.new")

    @property
    def admin_key(self) -> Path:
        return self.database.with_name(ADMIN_KEY_FILE)


async def open_entitlements(
    place: Place,
    now: NowNs = now_ns,
    blocking: Blocking = in_thread,
    limits: AddressLimits = AddressLimits(),  # noqa: B008  # frozen
) -> Entitlements:
    """Open everything; at the first start make the database, the pepper and the administrator's key.

    Raises ConfigError when part of it is missing or unreadable, DatabaseDown when the database is damaged or locked.
    """
    pepper = await blocking(_pepper, place)
    database = await open_database(place.database, blocking=blocking)
    key = await blocking(admin_key, place.admin_key)
    audit = AuditLog(database, now)
    doorkeeper = PolicyDoorkeeper(database, audit, (pepper, key), now, limits)
    await doorkeeper.check()
    administration = Administration(database, doorkeeper, pepper, place.environment, now)
    return Entitlements(database, audit, doorkeeper, administration, Reports(database, audit, now))


def _pepper(place: Place) -> Pepper:
    """Return the pepper; at the first start make it and the database. One without the other is never made up for."""
    pepper, is_there = read_pepper(place.pepper), place.database.exists()
    if pepper is None and is_there:
        raise ConfigError(
            f"{place.pepper} is missing: without it no key of {place.database.name} is valid; put it back, "
            f"or move {place.database.name} away too and begin anew with new keys"
        )
    if pepper is not None and is_there:
        return pepper
    if pepper is not None and not place.staged.exists():
        raise ConfigError(
            f"database {place.database} is missing, but {place.pepper.name} is there: copy your last backup back "
            f"(a new database would forget every revoke), or delete {place.pepper.name} and begin anew with new keys"
        )
    return _first_start(place, pepper)


def _first_start(place: Place, pepper: Pepper | None) -> Pepper:
    """Make both files. The database is whole before there is a pepper, and gets its name last.

    So a start that was ended in the middle, by a full disk or a kill, is gone on with by the next one.
    """
    try:
        place.database.parent.mkdir(parents=True, exist_ok=True)
        if pepper is None:
            place.staged.unlink(missing_ok=True)
            write_whole(place.staged, fresh())
            pepper = make_pepper(place.pepper)
        place.staged.rename(place.database)
        sync_folder(place.database.parent)
    except OSError as error:
        raise ConfigError(f"database {place.database} cannot be made: {error.strerror}") from error
    return pepper
