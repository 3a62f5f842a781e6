"""The short chaos rows: the same scenarios as in chaos/, with smaller numbers from the same file."""

from collections.abc import Iterator

import pytest
import structlog

from chaos.rows import Row
from ssmd import log


@pytest.fixture
def row(request: pytest.FixtureRequest, seed: int) -> Iterator[Row]:
    """Give the result to fill in; whatever it says it missed fails the test."""
    one = Row(request.node.name, seed)
    log.configure("error")
    yield one
    structlog.reset_defaults()
    print(one.line())  # noqa: T201  pytest shows it with a failure
    assert not one.missed, one.missed
