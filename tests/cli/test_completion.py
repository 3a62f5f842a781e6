"""Completion for three shells."""

import subprocess

import pytest

from tests.cli.test_help import EVERY


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_knows_every_command(ask, shell):
    done = ask("completion", "show", shell)
    assert (done.code, done.err) == (0, "")
    assert [words for words in EVERY if words[-1] not in done.out] == []
    assert "--from-template" in done.out or "from-template" in done.out


def test_bash_accepts_its_script(ask):
    script = ask("completion", "show", "bash").out
    done = subprocess.run(("bash", "-n"), input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_it_is_installed_below_the_home_folder(ask, clean, shell):
    done = ask("completion", "install", shell)
    assert done.code == 0, done.err
    assert f"completion for {shell} written to {clean}" in done.out
    assert any("ssmd" in path.read_text() for path in clean.rglob("*") if path.is_file())


def test_where_it_cannot_be_written_the_reason_is_said(ask, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nosuch")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    done = ask("completion", "install", "fish")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: /proc/nosuch")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_dry_run_says_where_and_writes_nothing(ask, project, shell):
    before = project.tree()
    done = ask("completion", "install", shell, "--dry-run")
    assert done.code == 0
    assert done.out.startswith("would be written to ")
    assert project.tree() == before


def test_a_dry_run_of_the_schema_shows_what_would_change(ask, project):
    path = project.folder / "environments/schema.json"
    path.write_text("{}\n")
    done = ask("env", "schema", "--write", "--dry-run")
    assert "-{}" in done.out
    assert path.read_text() == "{}\n"
