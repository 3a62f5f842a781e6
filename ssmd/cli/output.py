"""Print results: rows and records on stdout, in the format that was asked for; talk goes to stderr."""

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML

from ssmd.cli.options import Format
from ssmd.settings import environment_variables

MARKS: Final = {"✓": "green", "✗": "red", "ok": "green", "fail": "red", "warn": "yellow", "!": "yellow"}
WIDE: Final = 10_000
HELP_COLUMNS: Final = 200
"""Of --help in a pipe: no line is broken that a program may search."""


def show_rows(rows: Sequence[Struct], output: Format, empty: str = "") -> None:
    """Print a list. A table is drawn for terminals and plainly aligned for pipes; `empty` is said on stderr."""
    if output == "table":
        if rows:
            _show_table(rows)
        elif empty:
            say(empty)
        return
    plain = [_row(row) for row in rows]
    if output == "json":
        _write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    elif output == "ndjson":
        _write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in plain))
    elif output == "yaml":
        _write(yaml_text(plain))
    elif output == "csv":
        _write(_csv(rows))
    else:
        _write("".join(f"{printable(str(next(iter(row.values()))))}\n" for row in plain))


def show_record(record: Struct, output: Format) -> None:
    """Print one structure: YAML for people, else what was asked for."""
    plain = _row(record)
    if output in {"json", "ndjson"}:
        _write(json.dumps(plain, indent=None if output == "ndjson" else 2, ensure_ascii=False) + "\n")
    else:
        _write(yaml_text(plain))


def yaml_text(value: object) -> str:
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = WIDE
    into = io.StringIO()
    yaml.dump(value, into)
    return into.getvalue()


def console(*, to_stderr: bool = False) -> Console:
    """Return a console that colours only terminals (NO_COLOR is obeyed) and never breaks or cuts a line in a pipe."""
    file = sys.stderr if to_stderr else sys.stdout
    width = None if file.isatty() else WIDE
    return Console(file=file, soft_wrap=True, highlight=False, markup=False, width=width, color_system=_colors())


def help_console() -> Console:
    return Console(width=None if sys.stdout.isatty() else HELP_COLUMNS, color_system=_colors())


def _colors() -> Literal["auto"] | None:
    """Return rich's choice, or none at all: with NO_COLOR alone it would still write bold, so escape codes."""
    return None if environment_variables().get("NO_COLOR") else "auto"


def printable(text: str) -> str:
    """Return foreign text without what a terminal would obey: names come from files and from the bus."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def styled(line: str) -> Text:
    """Return a line with its leading mark coloured."""
    line = printable(line)
    mark, space, rest = line.partition(" ")
    text = Text(mark, style=MARKS.get(mark, ""))
    text.append(space + rest)
    return text


def say(line: str) -> None:
    """Talk to the person: on stderr."""
    console(to_stderr=True).print(styled(line))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _row(row: Struct) -> Mapping[str, object]:
    plain: Mapping[str, object] = msgspec.to_builtins(row, str_keys=True)
    return plain


def _show_table(rows: Sequence[Struct]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in rows[0].__struct_fields__:
        is_number = isinstance(getattr(rows[0], name), (int, float)) and not isinstance(getattr(rows[0], name), bool)
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(styled(_cell(getattr(row, name))) for name in row.__struct_fields__))
    if sys.stdout.isatty():
        Console(highlight=False, color_system=_colors()).print(table)
        return
    out = io.StringIO()
    Console(file=out, width=WIDE, highlight=False, color_system=_colors()).print(table)
    _write("".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines()))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return printable(" ".join(map(str, value)))
    return printable(str(value))


def _csv(rows: Sequence[Struct]) -> str:
    out = io.StringIO(newline="")
    if rows:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(rows[0].__struct_fields__)
        writer.writerows([_cell(getattr(row, name)) for name in row.__struct_fields__] for row in rows)
    return out.getvalue()
