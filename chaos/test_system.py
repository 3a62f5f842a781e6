"""The whole system ends in mid-flight and is started again on the same data."""

import signal
from pathlib import Path

from chaos.rows import Row
from chaos.system import end_and_start_again
from chaos.targets import Restart, load

KILLED = load("system_killed", Restart)
STOPPED = load("system_stopped", Restart)


async def test_system_killed(row: Row, tmp_path: Path) -> None:
    await end_and_start_again(row, tmp_path, KILLED, signal.SIGKILL)


async def test_system_stopped(row: Row, tmp_path: Path) -> None:
    await end_and_start_again(row, tmp_path, STOPPED, signal.SIGTERM)
