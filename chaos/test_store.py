"""The object store misbehaves, and those who write to it die in the middle."""

from pathlib import Path

from chaos.archivers import die_while_storing, two_at_once
from chaos.rows import Row
from chaos.store_away import store_away
from chaos.store_short import kill_store
from chaos.targets import Archivers, StoreAway, StoreKilled, load

AWAY = load("store_away", StoreAway)
DYING = load("archiver_dies_while_storing", Archivers)
TWO = load("two_archivers", Archivers)
SHORT = load("short_store_killed", StoreKilled)


async def test_store_away(row: Row, tmp_path: Path) -> None:
    await store_away(row, tmp_path, AWAY)


async def test_store_killed_shortly(row: Row, tmp_path: Path) -> None:
    await kill_store(row, tmp_path, SHORT)


async def test_archiver_dies_while_storing(row: Row, tmp_path: Path) -> None:
    await die_while_storing(row, tmp_path, DYING)


async def test_two_archivers(row: Row, tmp_path: Path) -> None:
    await two_at_once(row, tmp_path, TWO)
