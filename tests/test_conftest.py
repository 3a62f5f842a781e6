"""The rules of conftest.py are broken on purpose, in a test run of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import conftest

PLANTED = """
import threading, time
import pytest, trio

def test_sleeps_too_long():
    time.sleep(3.5)  # far above the limit on a busy machine too

@pytest.mark.slow
def test_may_sleep():
    time.sleep(1.1)

def test_leaves_a_thread():
    threading.Thread(target=time.sleep, args=(5,), name="forgotten", daemon=True).start()

async def test_uses_a_trio_worker():
    assert await trio.to_thread.run_sync(int) == 0

def test_needs_recordings(shared_data):
    pass

def test_shows_its_seed(seed):
    assert seed < 0
"""


@pytest.mark.slow
def test_broken_rules_fail_and_kept_ones_pass(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    tests = project / "tests"
    tests.mkdir()
    shutil.copy(conftest.__file__, tests / "conftest.py")
    (tests / "test_planted.py").write_text(PLANTED)
    (project / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nmarkers = slow\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "tests"],
        cwd=project,
        env={**os.environ, "SSMD_TEST_SEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = run.stdout
    assert "FAILED tests/test_planted.py::test_sleeps_too_long" in lines
    assert "make it faster or mark it slow" in lines
    assert "PASSED tests/test_planted.py::test_may_sleep" in lines
    assert "ERROR tests/test_planted.py::test_leaves_a_thread" in lines
    assert "threads left behind: forgotten" in lines
    assert "PASSED tests/test_planted.py::test_uses_a_trio_worker" in lines
    assert "1 tests were skipped" in lines
    assert "from SSMD_TEST_SEED=7" in lines
    assert lines.count("ERROR tests") == 1


def test_a_second_of_waiting_is_within_the_limit() -> None:
    assert conftest.why_too_long(conftest.UNIT_LIMIT_S) is None
    assert conftest.why_too_long(3600.0) is not None
