"""The stream's limits take what the archiver has not read."""

from pathlib import Path

from chaos.lost import overflow
from chaos.rows import Row
from chaos.targets import Lost, load

TARGET = load("stream_overflows", Lost)


async def test_stream_overflows(row: Row, tmp_path: Path) -> None:
    await overflow(row, tmp_path, TARGET)
