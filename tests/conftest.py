"""The rules that hold for every test, and the recordings beside the project (tests/, `make test` only)."""

import os
import random
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

BESIDE: Final = Path(__file__).resolve().parents[1].parent / "shared"
"""Recordings and schemas that are not part of the project; tests that need them are skipped without them."""

UNIT_LIMIT_S: Final = 1.0
THREAD_END_S: Final = 1.0
IDLE_TRIO_WORKER: Final = "Trio thread"
"""Trio keeps finished workers for reuse under this name; a busy one is called after its work."""

RUN_SEED: Final = int(os.environ.setdefault("SSMD_TEST_SEED", str(random.SystemRandom().randrange(2**32))))
"""In the environment, so that every process of a run that is shared by several has the same one."""

settings.register_profile(
    "ssmd",
    parent=settings.get_profile(settings.get_current_profile_name()),
    deadline=None,  # the limit for the whole test is UNIT_LIMIT_S
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no reason to fail
)
settings.load_profile("ssmd")


def pytest_report_header() -> str:
    return f"seed: {RUN_SEED} (the same again: SSMD_TEST_SEED={RUN_SEED})"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Return this test's own seed, the same for the same SSMD_TEST_SEED; shown when the test fails."""
    own = zlib.crc32(request.node.nodeid.encode(), RUN_SEED)
    print(f"seed {own} from SSMD_TEST_SEED={RUN_SEED}")  # noqa: T201  pytest shows it with a failure
    return own


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of recordings, or skip the test."""
    return _beside("data")


@pytest.fixture(scope="session")
def shared_crds() -> Path:
    """Return the folder of CRD schemas, or skip the test."""
    return _beside("crds")


def _beside(name: str) -> Path:
    if not (BESIDE / name).is_dir():
        pytest.skip(f"../shared/{name} is absent")
    return BESIDE / name


@pytest.fixture(autouse=True, scope="session")
def _unicode_tables() -> None:
    """Have Hypothesis make its tables: more than a second in a fresh checkout, and no single test's fault."""
    st.text().validate()


@pytest.fixture(autouse=True)
def _logs_are_as_at_the_start() -> Iterator[None]:
    """Undo what a command that ran in this process has configured: its level, and a stream that is closed by now."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def _no_thread_is_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and not _ends_soon(thread)]
    assert not left, f"threads left behind: {', '.join(thread.name for thread in left)}"


def _ends_soon(thread: threading.Thread) -> bool:
    if not thread.name.startswith(IDLE_TRIO_WORKER):
        thread.join(THREAD_END_S)
    return not thread.is_alive() or thread.name.startswith(IDLE_TRIO_WORKER)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield
    if report.when == "call" and report.passed and item.get_closest_marker("slow") is None:
        too_long = why_too_long(call.duration)
        if too_long:
            report.outcome = "failed"
            report.longrepr = too_long
    return report


def why_too_long(duration_s: float) -> str | None:
    """Return why a unit test of this duration fails, if it does; what the machine gave to others is not counted."""
    if duration_s <= UNIT_LIMIT_S:
        return None
    allowed_s = UNIT_LIMIT_S * _slowdown()
    if duration_s <= allowed_s:
        return None
    return f"a unit test took {duration_s:.2f} s, allowed {allowed_s:.2f} s: make it faster or mark it slow"


def _slowdown() -> float:
    """Return how many seconds pass for one second of computing here and now: 1 on an idle machine."""
    started_s, cpu_started_s = time.perf_counter(), time.thread_time()
    while time.thread_time() - cpu_started_s < 0.1:
        sum(range(1000))
    return max(1.0, (time.perf_counter() - started_s) / 0.1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "../shared/" in str(report.longrepr)]
    if skipped:
        terminalreporter.section("NOT EVERYTHING WAS TESTED", sep="!", red=True, bold=True)
        terminalreporter.write_line(
            f"{len(skipped)} tests were skipped: {BESIDE}/data or {BESIDE}/crds is absent.", red=True, bold=True
        )
