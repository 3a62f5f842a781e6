"""The gateway under clients that are not ours: what they may read, what is counted, and what others do to them."""

from pathlib import Path

from chaos.audit import kill_under_clients
from chaos.crowd import crowd
from chaos.described import ask_whatever_is_allowed
from chaos.revoking import take_from_live
from chaos.rows import Row
from chaos.targets import Audit, Crowd, Described, Revoking, load

KILLED = load("gateway_killed", Audit)
CROWD = load("crowd", Crowd)
DESCRIBED = load("described", Described)
REVOKING = load("revoke_live", Revoking)


async def test_revoke_live(row: Row, tmp_path: Path) -> None:
    await take_from_live(row, tmp_path, REVOKING)


async def test_gateway_killed(row: Row, tmp_path: Path) -> None:
    await kill_under_clients(row, tmp_path, KILLED)


async def test_crowd(row: Row, tmp_path: Path) -> None:
    await crowd(row, tmp_path, CROWD)


async def test_described(row: Row, tmp_path: Path) -> None:
    await ask_whatever_is_allowed(row, tmp_path, DESCRIBED)
