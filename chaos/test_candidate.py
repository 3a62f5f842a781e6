"""A second normalizer beside the first one may do whatever it wants."""

from pathlib import Path

from chaos.candidate import put_up_with
from chaos.rows import Row
from chaos.targets import BadCandidates, load

TARGET = load("bad_candidates", BadCandidates)


async def test_bad_candidates(row: Row, tmp_path: Path) -> None:
    await put_up_with(row, tmp_path, TARGET)
