"""The exchange misbehaves."""

from pathlib import Path

from chaos.faults import misbehave
from chaos.rows import Row
from chaos.targets import Faults, load

TARGET = load("exchange_faults", Faults)


async def test_exchange_faults(row: Row, tmp_path: Path) -> None:
    await misbehave(row, tmp_path, TARGET)
