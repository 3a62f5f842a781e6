"""What `ssmd config …` does."""

import sys
from pathlib import Path

from msgspec import Struct

from ssmd import settings
from ssmd.cli.options import Format
from ssmd.cli.output import say, show_rows


class ValueRow(Struct, frozen=True):
    key: str
    value: str


def show_settings(output: Format, config: Path | None, *, origin: bool) -> int:
    found = settings.explain(config)
    show_rows(found if origin else [ValueRow(each.key, each.value) for each in found], output)
    return 0


def print_path(config: Path | None) -> int:
    path = settings.settings_file(config)
    if path is None:
        say(f"no settings file: {settings.DEFAULT_FILE} is not here; variables and defaults are in force")
        return 1
    sys.stdout.write(f"{path.absolute()}\n")
    return 0
