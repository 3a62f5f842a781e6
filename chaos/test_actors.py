"""Each single actor crashes, in turn, at random moments: the others go on."""

from pathlib import Path

from chaos.actors import crash_in_turn
from chaos.rows import Row
from chaos.targets import Crashes, load

TARGET = load("actor_crashed", Crashes)


async def test_actor_crashed(row: Row, tmp_path: Path) -> None:
    await crash_in_turn(row, tmp_path, TARGET, (0.2, 2.0))
