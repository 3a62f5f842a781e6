"""How an export is divided into files, and what is written down of them, so that it can go on another day.

A folder gets `<type>/<SYMBOL>/<YYYY-MM-DD>.<suffix>`, a file for each UTC day of the range, and `export.json`: what was
asked for, with its times fixed at the beginning, and each file that is whole.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from ssmd.client import Quality
from ssmd.client.download import Downloaded, WholeFile
from ssmd.client.ends import Format
from ssmd.client.times import NS_PER_S, ns_of, text_of
from ssmd.errors import ConfigError

MANIFEST: Final = "export.json"
NS_PER_DAY: Final = 86_400 * NS_PER_S
SUFFIXES: Final[dict[str, Format]] = {
    ".parquet": "parquet",
    ".arrows": "arrow",
    ".arrow": "arrow",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
"""What a file is by its name. Arrow is the streaming format of IPC."""
SUFFIX_OF: Final[dict[Format, str]] = {form: suffix for suffix, form in reversed(SUFFIXES.items())}


class Asked(Struct, frozen=True):
    """What is exported, as it was written."""

    symbols: tuple[str, ...]
    types: tuple[str, ...]
    format: Format
    start: str
    end: str
    feed: str = ""
    version: str = ""


class Kept(Struct, frozen=True):
    """A file that is whole."""

    size_bytes: int
    rows: int | None
    quality: Quality | None
    request_id: str


class Manifest(Struct, frozen=True):
    """symbols, from_time, to_time: what the gateway made of the names and times when the export began."""

    asked: Asked
    gateway: str
    symbols: tuple[str, ...]
    from_time: str
    to_time: str
    files: dict[str, Kept] = field(default_factory=dict)


class Part(Struct, frozen=True):
    """One file to fetch. name: below the folder."""

    name: str
    data_type: str
    symbols: tuple[str, ...]
    from_ns: int
    to_ns: int

    @property
    def span_s(self) -> int:
        return max(1, (self.to_ns - self.from_ns) // NS_PER_S)


def parts_of(manifest: Manifest) -> Iterator[Part]:
    """Give every file of an export into a folder, day by day."""
    asked = manifest.asked
    span = (ns_of(manifest.from_time), ns_of(manifest.to_time))
    for data_type in asked.types:
        for symbol in manifest.symbols:
            for from_ns, to_ns in days(*span):
                name = f"{data_type}/{symbol}/{text_of(from_ns)[:10]}{SUFFIX_OF[asked.format]}"
                yield Part(name, data_type, (symbol,), from_ns, to_ns)


def days(from_ns: int, to_ns: int) -> Iterator[tuple[int, int]]:
    """Give the range cut at each midnight, UTC."""
    while from_ns < to_ns:
        midnight_ns = (from_ns // NS_PER_DAY + 1) * NS_PER_DAY
        yield from_ns, min(midnight_ns, to_ns)
        from_ns = midnight_ns


def format_of(to: Path, form: Format | None) -> Format:
    """Return the format: as it is asked for, else as the name says, else Parquet. Raises ConfigError when they differ."""
    named = SUFFIXES.get(to.suffix)
    if form is not None and named is not None and form != named:
        raise ConfigError(f"--to {to} looks like {named}, --format is {form}; change one of them")
    return form or named or "parquet"


def is_one_file(to: Path) -> bool:
    return to.suffix in SUFFIXES and not to.is_dir()


def read_manifest(folder: Path) -> Manifest | None:
    """Return what is written down of an export. Raises ConfigError for what is none."""
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"{path} cannot be read: {error}; export into another folder") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    with WholeFile(folder / MANIFEST) as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
        file.keep()


def kept(done: Downloaded) -> Kept:
    return Kept(done.size_bytes, done.rows, done.quality, done.request_id)


def missing(folder: Path, manifest: Manifest, parts: Sequence[Part]) -> list[Part]:
    """Return the files that are not there, or not as they were written."""
    return [part for part in parts if not _is_there(folder / part.name, manifest.files.get(part.name))]


def _is_there(path: Path, file: Kept | None) -> bool:
    return file is not None and path.is_file() and path.stat().st_size == file.size_bytes
