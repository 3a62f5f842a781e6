"""docs/client.md is a notebook: its cells run one after the other, as Jupyter runs them."""

import ast
import asyncio
import inspect
import re
from pathlib import Path

import pytest

from tests.client.served import trade

PAGE = Path(__file__).resolve().parents[2] / "docs/client.md"
CELL = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


async def run(cells: list[str]) -> dict[str, object]:
    """Run cells in a loop that goes on meanwhile, with await allowed outside of functions."""
    names: dict[str, object] = {}
    for number, cell in enumerate(cells, 1):
        code = compile(cell, f"cell {number}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(code, names)  # noqa: S307  # our own page
        if inspect.isawaitable(waiting):
            await waiting
    return names


@pytest.mark.slow
def test_every_cell_runs_in_the_folder_of_a_demo(gateway, tmp_path, monkeypatch, capsys):
    for name in ("SSMD_GATEWAY", "SSMD_API_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "ssmd-data" / "run").mkdir(parents=True)
    (tmp_path / "ssmd-data" / "run" / "endpoints.json").write_text(f'{{"pid": 1, "gateway": "{gateway.url}"}}')
    (tmp_path / "ssmd-data" / "demo.header").write_text(gateway.key_file.read_text())
    monkeypatch.chdir(tmp_path)
    gateway.publish(*(trade(seq) for seq in range(20)))
    cells = CELL.findall(PAGE.read_text())
    names = asyncio.run(run(cells))
    assert len(cells) >= 7
    assert len(names["answer"].rows) == 10
    assert names["frame"].height == len(names["trades"])
    assert (tmp_path / "btc.parquet").stat().st_size > 0
    assert capsys.readouterr().out.splitlines()[-1] == "('BTCUSD', 'ETHUSD')"
