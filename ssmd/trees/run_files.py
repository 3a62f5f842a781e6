"""Files under <data-dir>/run that tell other programs where a running system is."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import trio
from msgspec import Struct, field

from ssmd.journal.files import read_file, replace_file

LOOK_EVERY_S: Final = 0.02


class Endpoints(Struct, frozen=True, omit_defaults=True):
    """`endpoints.json`: written when everything is ready."""

    pid: int
    nats: str = ""
    gateway: str = ""
    ops: dict[str, str] = field(default_factory=dict)
    exchange: str = ""
    """The simulated exchange of a demo."""


def run_dir(data_dir: Path) -> Path:
    """Return <data-dir>/run, made if missing."""
    path = data_dir / "run"
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_run_file(path: Path, content: object) -> None:
    replace_file(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


async def wait_for_run_file(path: Path, is_alive: Callable[[], bool] = lambda: True) -> Endpoints:
    """Return what a starting process tells about itself, as soon as it does.

    Looks again and again: the file system has no portable way to wait for a file of another process.
    """
    while is_alive():
        content = read_file(path)
        if content is not None:
            return msgspec.json.decode(content, type=Endpoints)
        await trio.sleep(LOOK_EVERY_S)
    raise ProcessLookupError(f"the process that should write {path} is gone")
