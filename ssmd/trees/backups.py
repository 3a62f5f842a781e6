"""Where backups go: the store that an address means; and what of a journal no backup has yet."""

from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit

import msgspec

from ssmd.actors.sealer import STATE_FILE, Sealed
from ssmd.environment.spec import Environment
from ssmd.errors import BadRecord, ConfigError
from ssmd.journal.files import read_file
from ssmd.journal.segments import list_segments
from ssmd.settings import Settings, backup_server
from ssmd.store.base import Store
from ssmd.store.key_rules import check_folder
from ssmd.store.memory import MemoryStore
from ssmd.store.objects import local_store
from ssmd.store.prefixed import PrefixedStore
from ssmd.store.s3 import s3_store
from ssmd.store.s3_access import s3_access

Place: TypeAlias = Store
"""Where backups are, and where their objects come from: the command line asks for both here."""

WRITE_ONE: Final = "write a directory, file:///directory or s3://bucket/prefix"


def backup_place(
    address: str, settings: Settings, source: tuple[Environment, Path] | None = None, *, makes: bool = False
) -> Store:
    """Return the store of an address. Raises ConfigError for one that can hold no backups, or, unless `makes`, holds none.

    source: what is backed up there, which must be somewhere else.
    """
    if address.startswith("s3://"):
        return _bucket(address, settings, source)
    folder = _folder(address)
    if source is not None and not settings.storage.endpoint:
        _need_apart(folder, source[1])
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"backup address {folder} is no directory")
    if not folder.exists() and not makes:
        raise ConfigError(f"there is no backup in {folder}: no such directory")
    return local_store(folder)


def empty_place() -> Store:
    """Return what stands for a directory that is not there yet and must not be made."""
    return MemoryStore()


def is_missing(address: str) -> bool:
    """Tell whether an address is a directory that is not there yet."""
    return not address.startswith("s3://") and not _folder(address).exists()


def _folder(address: str) -> Path:
    if not address.strip():
        raise ConfigError(f"backup address is empty; {WRITE_ONE}")
    if "://" not in address:
        return Path(address)
    parts = urlsplit(address)
    if parts.scheme != "file":
        raise ConfigError(f"backup address begins with {parts.scheme}://; {WRITE_ONE}")
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise ConfigError("backup address: a file address has three slashes, such as file:///mnt/backup")
    return Path(unquote(parts.path))


def _need_apart(folder: Path, data_dir: Path) -> None:
    one, other = folder.resolve(), data_dir.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise ConfigError(
            f"backup address {folder} and data directory {data_dir} lie in one another; give another place"
        )


def _bucket(address: str, settings: Settings, source: tuple[Environment, Path] | None) -> Store:
    parts = urlsplit(address)
    if "@" in parts.netloc or ":" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            "backup address has more than bucket and prefix; endpoint and keys stand in the settings, "
            "[backup] endpoint, region, access_key_id and secret_access_key_file"
        )
    server = backup_server(settings)
    if not server.endpoint:
        raise ConfigError("backup address is in S3, but neither [backup] endpoint nor [storage] endpoint is set")
    access = s3_access(server, "backup" if settings.backup.endpoint else "storage")
    if source is not None and server.endpoint == settings.storage.endpoint:
        storage = source[0].spec.storage
        if parts.netloc in {storage.raw.bucket, storage.normalized.bucket}:
            raise ConfigError(f"bucket {parts.netloc} is what is to be backed up; give another one")
    prefix = parts.path.strip("/")
    store = s3_store(access, parts.netloc)
    try:
        return PrefixedStore(store, f"{prefix}/") if check_folder(f"{prefix}/" if prefix else "") else store
    except ValueError as error:
        raise ConfigError(f"backup address: {error}") from error


def unsealed(data_dir: Path) -> dict[str, int]:
    """Return how many journal segments of each feed are in no raw object yet; a running system always has one."""
    found: dict[str, int] = {}
    for directory in sorted((data_dir / "journal").glob("*/")):
        try:
            content = read_file(directory / STATE_FILE)
            sealed = Sealed() if content is None else msgspec.json.decode(content, type=Sealed)
            names = [each.name for each in list_segments(directory) if (directory / each.name).stat().st_size]
        except (msgspec.MsgspecError, BadRecord, OSError):
            continue
        if count := sum(name > sealed.segment for name in names):
            found[directory.name] = count
    return found
