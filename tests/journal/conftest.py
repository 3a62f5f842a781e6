from pathlib import Path

import pytest

from ssmd.clock import NS_PER_S
from ssmd.journal import Journal, JournalLimits

START_NS = 1_765_029_600 * NS_PER_S  # 2025-12-06T14:00:00Z


class SteppedClock:
    """Wall time that moves only when told."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns

    def forward(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS_PER_S)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "feed"


@pytest.fixture
def journal(directory: Path, clock: SteppedClock) -> Journal:
    return Journal(directory, JournalLimits(), clock)
