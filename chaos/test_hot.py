"""What is captured changes while the system runs."""

from pathlib import Path

from chaos.hot import change_hot
from chaos.rows import Row
from chaos.targets import HotChange, load

TARGET = load("symbols_changed_hot", HotChange)


async def test_symbols_changed_hot(row: Row, tmp_path: Path) -> None:
    await change_hot(row, tmp_path, TARGET)
