"""What `ssmd export` does: files of a range, each whole or not there."""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from ssmd.cli.export_plan import (
    MANIFEST,
    Asked,
    Kept,
    Manifest,
    Part,
    format_of,
    is_one_file,
    kept,
    missing,
    parts_of,
    read_manifest,
    write_manifest,
)
from ssmd.cli.live_view import size
from ssmd.cli.options import Format, Reading, parse_names
from ssmd.cli.output import say, show_record, show_rows
from ssmd.cli.progress import Progress, progress
from ssmd.cli.reading import reader
from ssmd.cli.stopping import unless_stopped
from ssmd.client import AsyncClient
from ssmd.client.asking import Question, RowOptions, Span, events
from ssmd.client.download import download
from ssmd.client.ends import Format as FileFormat
from ssmd.client.rows import Book, EventType, Quote, Trade, worst
from ssmd.client.times import ns_of, text_of
from ssmd.errors import ConfigError
from ssmd.model import EVENT_TYPES
from ssmd.reprocess.run import Plan

KINDS: Final[dict[str, type[Struct]]] = {"trade": Trade, "quote": Quote, "book": Book}


class Export(NamedTuple):
    symbols: tuple[str, ...]
    types: str
    start: str
    end: str
    feed: str
    version: str


class Ways(NamedTuple):
    """to: a folder or a file."""

    to: Path
    format: FileFormat | None
    estimate: bool
    resume: bool


class EstimateRow(Struct, frozen=True):
    type: EventType
    rows: int
    stored_bytes: int
    ndjson_bytes: int
    objects: int


class Exported(Struct, frozen=True):
    """What came of it. quality: the worst of all files."""

    to: str
    files: int
    fetched: int
    rows: int | None
    bytes: int
    quality: str
    start: str
    end: str


async def export_range(export: Export, ways: Ways, reading: Reading, output: Format) -> int:
    asked = _asked(export, ways)
    async with reader(reading) as client:
        if ways.estimate:
            show_rows(await _estimates(client, asked), output)
            return 0
        if is_one_file(ways.to):
            return await _into_file(client, asked, ways, output)
        return await _into_folder(client, asked, ways, output)


def _asked(export: Export, ways: Ways) -> Asked:
    types = parse_names(export.types)
    wrong = [name for name in types if name not in EVENT_TYPES]
    if wrong or not types:
        raise ConfigError(f"--types is {export.types!r}; some of {', '.join(EVENT_TYPES)}")
    if not export.symbols:
        raise ConfigError("name at least one symbol: ssmd export BTCUSD …")
    form = format_of(ways.to, ways.format)
    return Asked(export.symbols, types, form, export.start, export.end, export.feed, export.version)


async def _estimates(client: AsyncClient, asked: Asked) -> list[EstimateRow]:
    rows = []
    for kind in EVENT_TYPES:
        if kind in asked.types:
            found = await client.estimate(kind, asked.symbols, asked.start, asked.end or None, asked.feed)
            rows.append(EstimateRow(kind, found.rows, found.stored_bytes, found.ndjson_bytes, found.objects))
    return rows


async def _begun(client: AsyncClient, asked: Asked) -> Manifest:
    """Return a new manifest. The gateway says what the times mean, so that each try is about the same range."""
    kind: EventType = next(one for one in EVENT_TYPES if one in asked.types)
    found = await client.estimate(kind, asked.symbols, asked.start, asked.end or None, asked.feed)
    listed = await client.symbols(feed=asked.feed)
    ours = {row.name: row.symbol for row in listed.rows}
    symbols = tuple(dict.fromkeys(ours.get(name, name.upper().replace("/", "")) for name in asked.symbols))
    return Manifest(asked, client.http.url, symbols, found.start, found.end)


# one file ----------------------------------------------------------------------------------------------------


async def _into_file(client: AsyncClient, asked: Asked, ways: Ways, output: Format) -> int:
    if len(asked.types) != 1:
        raise ConfigError(f"rows of {' and '.join(asked.types)} do not fit into one file; give a folder as --to")
    if ways.to.exists():
        if ways.resume:
            say(f"{ways.to} is there, so it is whole: nothing to do")
            return 0
        raise ConfigError(f"{ways.to} exists already; nothing was written")
    manifest = await _begun(client, asked)
    span = (ns_of(manifest.from_time), ns_of(manifest.to_time))
    part = Part(ways.to.name, asked.types[0], manifest.symbols, *span)
    return await _fetch(_Job(client, ways.to.parent, manifest, [part], keeps_manifest=False), ways, output)


# a folder ----------------------------------------------------------------------------------------------------


async def _into_folder(client: AsyncClient, asked: Asked, ways: Ways, output: Format) -> int:
    manifest = _known(asked, ways)
    if manifest is None:
        manifest = await _begun(client, asked)
        ways.to.mkdir(parents=True, exist_ok=True)
        write_manifest(ways.to, manifest)
    parts = missing(ways.to, manifest, list(parts_of(manifest)))
    gone = {part.name for part in parts}
    manifest = replace(manifest, files={name: file for name, file in manifest.files.items() if name not in gone})
    return await _fetch(_Job(client, ways.to, manifest, parts), ways, output)


def _known(asked: Asked, ways: Ways) -> Manifest | None:
    """Return what an export before this has written down, None when there is none. Raises ConfigError."""
    present = read_manifest(ways.to)
    if present is None:
        if ways.to.exists() and (not ways.to.is_dir() or any(ways.to.iterdir())):
            raise ConfigError(f"{ways.to} is no export and not empty; nothing was written, give another --to")
        return None
    if not ways.resume:
        raise ConfigError(f"{ways.to} holds an export already; --resume goes on with it, or give another --to")
    if present.asked != asked:
        raise ConfigError(f"{ways.to} holds an export of something else, see {MANIFEST}; give another --to")
    return present


# fetching ----------------------------------------------------------------------------------------------------


class _Job:
    def __init__(
        self,
        client: AsyncClient,
        folder: Path,
        manifest: Manifest,
        parts: Sequence[Part],
        *,
        keeps_manifest: bool = True,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.parts = parts
        self._client = client
        self._keeps_manifest = keeps_manifest

    async def run(self, bar: Progress) -> bool:
        files = len(self.parts) + len(self.manifest.files)
        bar.planned(Plan(files, len(self.manifest.files), sum(part.span_s for part in self.parts), 1))
        for part in self.parts:
            await self._fetch(part, bar)
            bar.advanced(1, part.span_s, 0)
        return True

    async def _fetch(self, part: Part, bar: Progress) -> None:
        path = self.folder / part.name
        path.parent.mkdir(parents=True, exist_ok=True)
        http, asked = self._client.http, self.manifest.asked
        fetch = partial(
            download, http, question(part, asked), asked.format, path, lambda size: bar.advanced(0, 0, size)
        )
        done = await http.again(fetch)
        self.manifest = replace(self.manifest, files={**self.manifest.files, part.name: kept(done)})
        if self._keeps_manifest:
            write_manifest(self.folder, self.manifest)


def question(part: Part, asked: Asked) -> Question[Struct]:
    options = RowOptions()
    if asked.feed:
        options["feed"] = asked.feed
    if asked.version:
        options["version"] = asked.version
    span = Span(text_of(part.from_ns), text_of(part.to_ns))
    return events(KINDS[part.data_type], part.symbols, span, options)


async def _fetch(job: _Job, ways: Ways, output: Format) -> int:
    with progress(f"export to {ways.to}", ("files", "bytes")) as bar:
        is_done = await unless_stopped(bar, partial(job.run, bar))
    if not is_done:
        say(f"stopped: {len(job.manifest.files)} files are whole; the same command with --resume goes on")
        return 128 + bar.stopped_by
    result = _result(job, ways)
    if output == "table":
        _print(result)
    else:
        show_record(result, output)
    return 0


def _result(job: _Job, ways: Ways) -> Exported:
    files = list(job.manifest.files.values())
    rows = None if any(file.rows is None for file in files) else sum(file.rows or 0 for file in files)
    span = (job.manifest.from_time, job.manifest.to_time)
    stored = sum(file.size_bytes for file in files)
    return Exported(str(ways.to), len(files), len(job.parts), rows, stored, _worst(files), *span)


def _worst(files: Sequence[Kept]) -> str:
    statuses = [file.quality.status for file in files if file.quality is not None]
    return worst(statuses) if len(statuses) == len(files) else "unknown"


def _print(result: Exported) -> None:
    rows = "" if result.rows is None else f"{result.rows:,} rows, "
    sys.stdout.write(
        f"done      {result.to}: {result.files} files, {rows}{size(result.bytes)}; fetched {result.fetched}\n"
    )
    sys.stdout.write(f"range     {result.start} to {result.end}\n")
    sys.stdout.write(f"quality   {result.quality}{'' if result.quality == 'verified' else ', each file says where'}\n")
    sys.stdout.flush()
