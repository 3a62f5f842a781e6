"""One JSON line per row, at the end of the run; a seed that is printed and can be given again."""

import faulthandler
import os
import random
from collections.abc import Iterator

import pytest

from chaos.rows import Row
from ssmd import log

SEED = int(os.environ.get("SSMD_CHAOS_SEED") or random.SystemRandom().randrange(2**31))
ROWS: list[Row] = []


def pytest_report_header() -> str:
    return f"chaos seed: {SEED} (the same again: SSMD_CHAOS_SEED={SEED})"


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """Give the result to fill in, named after the test; whatever it says it missed fails the test."""
    faulthandler.cancel_dump_traceback_later()  # a row takes minutes on purpose; every wait in it has a deadline
    one = Row(request.node.name.removeprefix("test_").partition("[")[0], SEED)
    ROWS.append(one)
    log.configure("error")
    yield one
    print(one.line())
    assert not one.missed, one.missed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("chaos rows")
    for one in ROWS:
        terminalreporter.write_line(one.line())
