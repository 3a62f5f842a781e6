"""Which running system a command talks to."""

import os

import pytest

from ssmd.cli.running import Bus, NoBus, find_bus
from ssmd.run_files import Endpoints, write_run_file
from ssmd.settings import NatsSettings, Settings

NATS = "nats://127.0.0.1:4222"
DEAD_PID = 2**22 + 1
"""Above what Linux gives."""


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path


def runs(data_dir, pid: int, environment: str) -> None:
    write_run_file(data_dir / "run" / "endpoints.json", Endpoints(pid, NATS, environment=environment))


def test_the_settings_come_first(data_dir):
    runs(data_dir, os.getpid(), "demo")
    assert find_bus(Settings(nats=NatsSettings("nats://other:4222")), data_dir, "prod") == Bus(
        "nats://other:4222", "[nats] url"
    )


def test_a_running_system_is_found_by_its_data_directory(data_dir):
    runs(data_dir, os.getpid(), "demo")
    assert find_bus(Settings(), data_dir, "demo") == Bus(NATS, f"ssmd up in {data_dir}")
    assert isinstance(find_bus(Settings(), data_dir), Bus)


def test_a_system_that_runs_another_environment_is_not_meant(data_dir):
    runs(data_dir, os.getpid(), "demo")
    assert find_bus(Settings(), data_dir, "prod") == NoBus(f"what runs in {data_dir} is demo, not prod")


def test_what_a_killed_system_left_behind_leads_nowhere(data_dir):
    runs(data_dir, DEAD_PID, "demo")
    assert isinstance(find_bus(Settings(), data_dir, "demo"), NoBus)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_broken_run_file_leads_nowhere(data_dir, content):
    (data_dir / "run" / "endpoints.json").write_bytes(content)
    assert isinstance(find_bus(Settings(), data_dir), NoBus)


def test_to_look_makes_no_folder(tmp_path):
    assert isinstance(find_bus(Settings(), tmp_path / "typo"), NoBus)
    assert not (tmp_path / "typo").exists()
