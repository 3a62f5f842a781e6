"""What `ssmd env create|list|show|validate|diff|schema` do."""

import re
import sys
from importlib import resources
from pathlib import Path
from typing import Final

from msgspec import Struct

from ssmd import settings
from ssmd.cli.changing import refuse_in_sub_folder
from ssmd.cli.files import unified_diff, write_new
from ssmd.cli.options import Format
from ssmd.cli.output import say, show_record, show_rows
from ssmd.cli.problems import show
from ssmd.environment.diff import differences
from ssmd.environment.load import FOLDER, Inspection, find, folders, inspect, load, read
from ssmd.environment.problem import did_you_mean
from ssmd.environment.promote import renamed
from ssmd.environment.schema import schema_text
from ssmd.environment.source import mapping
from ssmd.environment.spec import NAME, PATTERNS
from ssmd.errors import ConfigError
from ssmd.trees.catalog import catalog, refresh_catalog

SCHEMA_FILE: Final = FOLDER / "schema.json"


# create ------------------------------------------------------------------------------------------------------


def create_environment(name: str, template: str, *, dry_run: bool) -> int:
    _check_name(name)
    refuse_in_sub_folder()
    path = FOLDER / f"{name}.yaml"
    if path.exists():
        raise ConfigError(f"{path} exists already; change it with `ssmd feed`, `ssmd symbol`, or give another name")
    text = renamed(_template(template), str(path), name)
    inspect(path, text.encode(), {}).checked()
    if dry_run:
        sys.stdout.write(text)
        return 0
    write_new(path, text)
    if not SCHEMA_FILE.exists():
        write_new(SCHEMA_FILE, schema_text())
    sys.stdout.write(f"env/{name} created in {path} from {template}\n")
    say(f"next: ssmd env validate {name}")
    return 0


def _check_name(name: str) -> None:
    if re.fullmatch(NAME, name) is None:
        raise ConfigError(f"environment name is {name!r}; allowed are {PATTERNS[NAME]}")


def templates() -> list[str]:
    return sorted(Path(file.name).stem for file in resources.files("ssmd.environment").joinpath("templates").iterdir())


def _template(name: str) -> str:
    if name in templates():
        return resources.files("ssmd.environment").joinpath("templates", f"{name}.yaml").read_text()
    try:
        path = find(name)
    except ConfigError as error:
        known = (*templates(), *environments())
        hint = did_you_mean(name, known, otherwise=f"there are {', '.join(known)}")
        raise ConfigError(f"there is no template {name!r}; {hint}") from error
    return inspect(path, read(path), {}).source.text


# list, show, validate, diff, schema --------------------------------------------------------------------------


class EnvironmentRow(Struct, frozen=True):
    name: str
    feeds: tuple[str, ...]
    symbols: int
    clients: int
    valid: bool
    file: str


def environments() -> list[str]:
    return sorted({path.stem for folder in folders() for path in folder.glob("*.yaml")})


def list_environments(output: Format) -> int:
    facts = catalog(settings.load())
    first: dict[str, Path] = {}
    for folder in folders():
        for path in sorted(folder.glob("*.yaml")):
            first.setdefault(path.stem, path)
    rows = [_row(inspect(path, _content(path), facts)) for _, path in sorted(first.items())]
    show_rows(rows, output, "no environment here; `ssmd env create NAME` makes one")
    return 0


def _content(path: Path) -> bytes:
    """Return what a file of the list says; one that cannot be read says nothing, so it is not valid."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _row(seen: Inspection) -> EnvironmentRow:
    feeds = mapping(seen.root, "spec", "feeds")
    names = tuple(str(key.value) for key, _ in feeds.items) if feeds else ()
    environment = seen.environment
    symbols = sum(len(feed.symbols) for feed in environment.spec.feeds.values()) if environment else 0
    clients = len({entry.client_id for entry in environment.spec.entitlements}) if environment else 0
    return EnvironmentRow(seen.name, names, symbols, clients, environment is not None, str(seen.path))


def show_environment(name: str, output: Format) -> int:
    show_record(load(name), output)
    return 0


async def validate_environment(name: str, output: str, config: Path | None, *, online: bool) -> int:
    path = find(name)
    content = read(path)
    values = settings.load(config)
    facts = catalog(values)
    first = inspect(path, content, facts)
    if online:
        feeds = mapping(first.root, "spec", "feeds")
        facts = await refresh_catalog(values, [str(key.value) for key, _ in feeds.items] if feeds else [])
        first = inspect(path, content, facts)
    instruments = {feed: fact.list_source for feed, fact in facts.items() if feed in _feeds(first)}
    show(first, output, instruments)
    if output in {"text", "table"} and not online:
        for feed, source in instruments.items():
            say(f"note: names on {feed} were checked against {source or 'no list'}; --online asks the exchange")
    return 1 if first.problems else 0


def _feeds(seen: Inspection) -> list[str]:
    feeds = mapping(seen.root, "spec", "feeds")
    return [str(key.value) for key, _ in feeds.items] if feeds else []


def diff_environments(left: str, right: str, output: Format) -> int:
    found = differences(load(left), load(right))
    show_rows(found, output, f"{left} and {right} mean the same")
    return 1 if found else 0


def print_schema(*, write: bool, dry_run: bool) -> int:
    if not write:
        sys.stdout.write(schema_text())
        return 0
    refuse_in_sub_folder()
    if dry_run:
        before = SCHEMA_FILE.read_text() if SCHEMA_FILE.exists() else ""
        sys.stdout.write(unified_diff(SCHEMA_FILE, before, schema_text()))
        return 0
    SCHEMA_FILE.parent.mkdir(exist_ok=True)
    SCHEMA_FILE.write_text(schema_text())
    sys.stdout.write(f"{SCHEMA_FILE} written\n")
    return 0
