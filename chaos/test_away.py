"""The bus is away."""

from pathlib import Path

from chaos.away import bus_away
from chaos.rows import Row
from chaos.targets import BusAway, load

TARGET = load("nats_away", BusAway)


async def test_nats_away(row: Row, tmp_path: Path) -> None:
    await bus_away(row, tmp_path, TARGET)
