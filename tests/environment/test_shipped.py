"""What comes with ssmd: the environments, and the templates of `ssmd env create`."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from ssmd.environment.catalog import Catalog
from ssmd.environment.load import inspect, load
from ssmd.environment.promote import renamed
from ssmd.environment.schema import file_schema
from ssmd.environment.source import plain
from ssmd.environment.spec import Environment
from ssmd.settings import Settings
from ssmd.trees.catalog import catalog

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted((ROOT / "environments").glob("*.yaml"))
TEMPLATES = sorted((ROOT / "ssmd" / "environment" / "templates").glob("*.yaml"))


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Return the facts of the exchanges with the lists that come with ssmd, whatever this machine has saved."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return catalog(Settings())


@pytest.mark.parametrize("file", [*SHIPPED, *TEMPLATES], ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_every_shipped_file_is_valid_without_a_warning_that_matters(file, real):
    inspection = inspect(file, file.read_bytes(), real)
    assert [problem.line() for problem in inspection.problems] == []
    assert [note.code for note in inspection.warnings] == (["empty"] if file.stem == "empty" else [])
    assert inspection.checked().name == file.stem
    assert Draft202012Validator(file_schema()).is_valid(plain(inspection.source.root))
    assert file.read_text().startswith("# yaml-language-server: $schema=schema.json\n")


def symbols(environment: Environment) -> int:
    return sum(len(feed.symbols) for feed in environment.spec.feeds.values())


@pytest.mark.parametrize(
    ("name", "count", "raw_days", "normalized_days"),
    [("dev", 2, 7, 7), ("staging", 10, 30, 30), ("prod", 50, -1, 365), ("homelab", 3, 30, 30), ("demo", 3, 7, 7)],
)
def test_the_environments_are_those_of_the_design(name, count, raw_days, normalized_days):
    environment = load(str(ROOT / "environments" / f"{name}.yaml"))
    storage = environment.spec.storage
    assert (storage.raw.retention_days, storage.normalized.retention_days) == (raw_days, normalized_days)
    assert symbols(environment) == count if name != "prod" else symbols(environment) >= count


def test_there_are_no_others():
    assert [file.stem for file in SHIPPED] == ["demo", "dev", "homelab", "prod", "staging"]
    assert [file.stem for file in TEMPLATES] == ["empty", "minimal"]


def test_the_clients_of_staging_are_a_rehearsal_of_those_of_prod():
    staging, prod = (
        load(str(ROOT / "environments" / f"{name}.yaml")).spec.entitlements for name in ("staging", "prod")
    )
    assert [(e.type, e.feeds, e.symbols) for e in staging] == [(e.type, e.feeds, e.symbols) for e in prod]


@pytest.mark.parametrize("file", [*SHIPPED, *TEMPLATES], ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_any_of_them_becomes_an_environment_of_another_name(file, real):
    text = renamed(file.read_text(), "environments/mine.yaml", "mine")
    inspection = inspect(Path("/nosuch/environments/mine.yaml"), text.encode(), real)
    assert inspection.problems == ()
    assert inspection.checked().name == "mine"
    assert text.count("\n") == file.read_text().count("\n")
