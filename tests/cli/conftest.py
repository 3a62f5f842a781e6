"""Commands run in this process: one process per claim would cost half a second each."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ssmd.cli.app import app
from tests.cli.project import LiveBus, Project

ROOT = Path(__file__).resolve().parents[2]


class Said(NamedTuple):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Ask = Callable[..., Said]


@pytest.fixture
def ask(capfd, monkeypatch) -> Ask:
    """Return a function that runs a command as if it were typed."""
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            app(list(words))
        said = capfd.readouterr()
        return Said(ended.value.code or 0, said.out, said.err)

    return run


@pytest.fixture
def clean(tmp_path, monkeypatch) -> Path:
    """Keep everything that the machine or another test has set away; return a home folder of the test's own."""
    for name in os.environ:
        if name.startswith(("SSMD_", "GIT_")) or name in {"NO_COLOR", "FORCE_COLOR", "CLICOLOR"}:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home


@pytest.fixture
def project(tmp_path, clean, monkeypatch) -> Project:
    folder = tmp_path / "project"
    for name in ("environments", "k8s"):
        shutil.copytree(ROOT / name, folder / name)
    monkeypatch.chdir(folder)
    return Project(folder)


@pytest.fixture
def repository(project) -> Project:
    """Return the project as a git repository with everything committed."""
    project.begin_git()
    return project


@pytest.fixture
def lab(project, ask) -> Path:
    """Return the file of an environment `lab` from the minimal template: BTC/USD l2, ETH/USD l1."""
    assert ask("env", "create", "lab").code == 0
    return project.file("lab")


@pytest.fixture
def live(monkeypatch) -> LiveBus:
    """Return the bus that every command finds at [nats] url."""
    bus = LiveBus()
    monkeypatch.setenv("SSMD_NATS_URL", "nats://memory:4222")
    for module in ("changing", "status", "diagnosis"):
        monkeypatch.setattr(f"ssmd.cli.{module}.live_link", bus.link)
    return bus
