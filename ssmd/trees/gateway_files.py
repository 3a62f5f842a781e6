"""What of a gateway a backup keeps: its clients, grants and usage, and the pepper without which no key is valid."""

import os
from collections.abc import Mapping
from pathlib import Path

from ssmd.errors import DatabaseDown
from ssmd.gateway.database.snapshot import snapshot
from ssmd.gateway.entitlements import Place
from ssmd.settings import Settings, gateway_database


def gateway_files(settings: Settings, data_dir: Path) -> tuple[Mapping[str, bytes], str]:
    """Return the files by name, both or none, and what to say of them. Blocks."""
    place = _place(settings, data_dir)
    if not place.database.exists():
        return {}, "none"
    try:
        content = {place.database.name: snapshot(place.database), place.pepper.name: place.pepper.read_bytes()}
    except (DatabaseDown, OSError) as error:
        return {}, f"not backed up: {error}"
    return content, f"{place.database.name} with its clients, and the pepper of their keys"


def restore_gateway_files(files: Mapping[str, bytes], settings: Settings, data_dir: Path, *, is_dry: bool) -> list[str]:
    """Write them where there is no gateway's database yet, never over one. Return what was done, for people."""
    place = _place(settings, data_dir)
    if not files:
        return []
    if place.database.exists() or place.pepper.exists():
        return [f"{place.database} is there already and was left as it is"]
    if is_dry:
        return [f"{place.database} and its pepper would be written"]
    place.database.parent.mkdir(parents=True, exist_ok=True)
    for path, body in zip((place.pepper, place.database), (_of(files, ".pepper"), _of(files, ".db")), strict=True):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
    return [f"{place.database} and its pepper written: clients and their keys are valid again"]


def _place(settings: Settings, data_dir: Path) -> Place:
    return Place(gateway_database(settings, data_dir), "")


def _of(files: Mapping[str, bytes], suffix: str) -> bytes:
    return next(body for name, body in files.items() if name.endswith(suffix))
