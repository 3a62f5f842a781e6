"""A process of the system dies by SIGKILL again and again under load."""

from pathlib import Path

import pytest

from chaos.kills import VICTIMS, kill_again_and_again, kill_all_at_once
from chaos.rows import Row
from chaos.targets import Recovery, load

PAUSES_S = (3.0, 9.0)
TARGETS = {name: load(name, Recovery) for name in VICTIMS}
ALL = load("all_killed", Recovery)


@pytest.mark.parametrize("name", VICTIMS)
async def test_killed(name: str, row: Row, tmp_path: Path) -> None:
    row.row = name
    await kill_again_and_again(row, tmp_path, TARGETS[name], PAUSES_S)


async def test_all_killed(row: Row, tmp_path: Path) -> None:
    await kill_all_at_once(row, tmp_path, ALL, (20.5, 23.0))
