"""Files under <data-dir>/run that tell other programs where a running system is."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
import trio
from msgspec import Struct, field
from msgspec.structs import replace

from ssmd.errors import ConfigError
from ssmd.journal.files import read_file, replace_file

Source = Literal["simulator", "exchange"]
LOOK_EVERY_S: Final = 0.02


class Endpoints(Struct, frozen=True, omit_defaults=True):
    """`endpoints.json`: written when everything is ready."""

    pid: int
    nats: str = ""
    gateway: str = ""
    ops: dict[str, str] = field(default_factory=dict)
    exchange: str = ""
    """The simulated exchange of a demo."""
    environment: str = ""


def run_dir(data_dir: Path) -> Path:
    """Return <data-dir>/run, made if missing."""
    path = data_dir / "run"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"data directory {data_dir} cannot be made: {error.strerror}; give another --data-dir"
        ) from error
    return path


def keep_apart(data_dir: Path, source: Source) -> None:
    """Refuse to put invented data beside real data: a folder belongs to the first source that wrote to it."""
    path = data_dir / "source"
    first = source_of(data_dir)
    if first and first != source:
        raise ConfigError(f"{data_dir} holds data of the {first}, not of the {source}; give another --data-dir")
    if not first:
        replace_file(path, source.encode() + b"\n")


def source_of(data_dir: Path) -> str:
    """Return where the data of a folder come from: `simulator` or `exchange`, empty where nobody knows."""
    return (read_file(data_dir / "source") or b"").decode(errors="replace").strip()


def claim(data_dir: Path, title: str) -> int:
    """Make sure that this process alone runs `title` in the data directory; return the open lock.

    The kernel frees it when the process ends, however it ends. Raises ConfigError when another one has it.
    """
    path = run_dir(data_dir) / f"{title.replace(':', '-')}.lock"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise ConfigError(f"another {title} runs in {data_dir}; stop it, or give another --data-dir") from error
    return fd


def write_run_file(path: Path, content: object) -> None:
    replace_file(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def add_role(path: Path, endpoints: Endpoints) -> None:
    """Write where a role listens; other roles that were started by hand in the same folder keep their entries."""
    before = _read(path) or Endpoints(endpoints.pid)
    gateway = endpoints.gateway or before.gateway
    write_run_file(path, replace(endpoints, gateway=gateway, ops=before.ops | endpoints.ops))


def remove_role(path: Path, title: str) -> None:
    """Take a role that has ended out of its file, and the file away with the last one."""
    before = _read(path)
    if before is None:
        return
    ops = {role: url for role, url in before.ops.items() if role != title}
    if ops:
        gateway = "" if title == "gateway" else before.gateway
        write_run_file(path, replace(before, gateway=gateway, ops=ops))
    else:
        path.unlink(missing_ok=True)


def _read(path: Path) -> Endpoints | None:
    content = read_file(path)
    return None if content is None else msgspec.json.decode(content, type=Endpoints)


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
