"""Every list in every format; colours only for terminals that want them."""

import csv
import io
import json
import os
import pty
import sys

import pytest
from msgspec import Struct
from ruamel.yaml import YAML

from ssmd.cli.output import show_rows

LISTS = [
    "env list",
    "env status dev",
    "env diff dev prod",
    "feed list --env dev",
    "symbol list --env prod",
    "symbol search SOL --env dev",
    "symbol validate --env dev",
    "client list --env prod",
    "config show --origin",
    "doctor --only python,store --env dev",
]
ANSI = "\x1b"


@pytest.mark.parametrize("words", LISTS)
def test_every_format_of_every_list_says_the_same(ask, project, words):
    said = {name: ask(*words.split(), "-o", name).out for name in ("json", "yaml", "ndjson", "csv", "name", "table")}
    rows = json.loads(said["json"])
    assert isinstance(rows, list)
    assert rows or words.startswith("symbol validate")
    assert (YAML(typ="safe").load(io.StringIO(said["yaml"])) or []) == rows
    assert [json.loads(line) for line in said["ndjson"].splitlines()] == rows
    assert len(list(csv.DictReader(io.StringIO(said["csv"])))) == len(rows)
    assert said["name"].splitlines() == [str(next(iter(row.values()))) for row in rows]
    if rows:
        assert next(csv.reader(io.StringIO(said["csv"]))) == list(rows[0])
        assert len(said["table"].splitlines()) == len(rows) + 1
    assert ANSI not in "".join(said.values())


def test_a_long_value_is_never_cut_or_broken_in_a_pipe(capsys):
    class Row(Struct):
        name: str
        text: str

    show_rows([Row("a", "x" * 3000), Row("b", "")], "table")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1] == "a     " + "x" * 3000


def on_a_terminal(ask, monkeypatch, *words):
    """Return what a person sees."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setattr(sys, "stderr", terminal)
        ask(*words)
        terminal.flush()
        seen = os.read(master, 1 << 20).decode()
    os.close(master)
    return seen


@pytest.mark.parametrize(
    "words", [("env", "validate", "dev"), ("env", "list"), ("env", "--help"), ("feed", "list", "--env", "nosuch")]
)
def test_no_color_means_no_escape_codes_even_on_a_terminal(ask, project, monkeypatch, words):
    monkeypatch.setenv("TERM", "xterm-256color")
    if words[-1] != "nosuch":
        assert ANSI in on_a_terminal(ask, monkeypatch, *words)
    monkeypatch.setenv("NO_COLOR", "1")
    assert ANSI not in on_a_terminal(ask, monkeypatch, *words)
