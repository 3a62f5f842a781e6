"""A whole running system for chaos and benchmarks: `ssmd up` in a folder of its own, and an exchange that outlives it."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import trio

from chaos.processes import READY_WITHIN_S, Exchange, exchange, running_with, spawn, until, until_ended
from ssmd.cli.samples import Samples, fetch
from ssmd.run_files import Endpoints

STOP_WITHIN_S = 90.0
CONNECTOR, ARCHIVER, NATS = "connector:kraken", "archiver", "nats-server"
EVENTS = "ssmd_connector_events_published_total"
LAG = "ssmd_connector_lag_seconds"
ENVIRONMENT_FILE = "environment.yaml"
NAMES = ("BTC/USD", "ETH/USD", "SOL/USD")

ENVIRONMENT = """\
apiVersion: ssmd/v1
kind: Environment
metadata:
  name: chaos
spec:
  feeds:
    kraken:
      book_depth: {depth}
      symbols: [{symbols}]
  storage:
    raw: {{bucket: ssmd-chaos-raw}}
    normalized: {{bucket: ssmd-chaos-normalized}}
  jetstream: {{retention_hours: 24, max_bytes: {stream}}}
"""


class Rig:
    """The processes of one run, seen from outside: pids, endpoints, metrics, signals."""

    def __init__(self, folder: Path, argv: list[str], exchange: Exchange, client: httpx.AsyncClient) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.exchange = exchange
        self.ledger = exchange.ledger
        self.variables: dict[str, str] = {"SSMD_KRAKEN_WS_URL": exchange.url}
        self._argv = argv
        self._client = client
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> Path:
        return self.folder / ENVIRONMENT_FILE

    # the whole system ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start `ssmd up` and return when it is ready."""
        process = spawn(self._argv, self.folder / "log.jsonl", {**os.environ, **self.variables})
        self._process = process

        async def ready() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"ssmd up ended with {process.returncode}; see {self.folder}/log.jsonl")
            return self.is_ready()

        await until(ready, READY_WITHIN_S, "ssmd up is ready")

    def is_ready(self) -> bool:
        """Tell whether this very process has written endpoints.json."""
        is_there = (self.data_dir / "run/endpoints.json").exists()
        return self._process is not None and is_there and self.endpoints().pid == self._process.pid

    def endpoints(self) -> Endpoints:
        return msgspec.json.decode((self.data_dir / "run/endpoints.json").read_bytes(), type=Endpoints)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End `ssmd up` by a signal and return its exit code; the exchange goes on."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return await until_ended(self._process, STOP_WITHIN_S)

    async def stop(self) -> int:
        """Drain the system, then end the exchange, so that its ledger is whole; return the exit code."""
        code = await self.end()
        await self.exchange.stop()
        return code

    async def until_nothing_runs(self, within_s: float) -> float:
        """Wait until no process of the system is left, and return how long that took."""

        async def nothing_runs() -> bool:
            return not running_with(str(self.data_dir))

        return await until(nothing_runs, within_s, f"no process of {self.data_dir} is left")

    def kill(self, role: str, number: signal.Signals = signal.SIGKILL) -> int:
        pid = self.pid(role)
        os.kill(pid, number)
        return pid

    # what it shows -------------------------------------------------------------------------------------------

    def pid(self, role: str) -> int:
        if role == "simulator":
            return self.exchange.pid
        return self.pids()[role]

    def pids(self) -> Mapping[str, int]:
        pids: dict[str, int] = msgspec.json.decode((self.data_dir / "run/processes.json").read_bytes())
        return pids

    async def samples(self, role: str) -> Samples:
        """Return a role's metrics now; its address is read anew, since a restart changes it."""
        path = self.data_dir / "run" / f"{role.replace(':', '-')}.json"
        try:
            ops = msgspec.json.decode(path.read_bytes(), type=Endpoints).ops
        except (FileNotFoundError, msgspec.DecodeError):
            return Samples()
        return await fetch(self._client, ops[role])

    async def total(self, role: str, name: str, **labels: str) -> float:
        return (await self.samples(role)).total(name, **labels)

    async def until_publishing(self, since_s: float, above: float, within_s: float) -> float:
        """Wait until events of frames received after `since_s` are published; return the seconds since then.

        above: how many events the connector's process had published by then; 0 for a new process.
        """

        async def publishing() -> bool:
            samples = await self.samples(CONNECTOR)
            return samples.total(EVENTS) > above and samples.total(LAG) < trio.current_time() - since_s

        await until(publishing, within_s, "events of new frames are published")
        return trio.current_time() - since_s

    async def until_caught_up(self, within_s: float, lag_s: float = 1.0) -> float:
        async def caught_up() -> bool:
            samples = await self.samples(CONNECTOR)
            return samples.total(EVENTS) > 0 and samples.total(LAG) < lag_s

        return await until(caught_up, within_s, "the connector has caught up")

    def rss_mb(self, role: str) -> float:
        return self._memory_mb(role, "VmRSS")

    def peak_mb(self, role: str) -> float:
        return self._memory_mb(role, "VmHWM")

    def _memory_mb(self, role: str, field: str) -> float:
        for line in Path(f"/proc/{self.pid(role)}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu_s(self, role: str) -> float:
        fields = Path(f"/proc/{self.pid(role)}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def clear(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def write_environment(path: Path, names: tuple[str, ...], depth: int = 10, stream: str = "4GB") -> Path:
    symbols = ", ".join(f"{{name: {n}, internal: {n.replace('/', '')}, depth: l2}}" for n in names)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ENVIRONMENT.format(depth=depth, symbols=symbols, stream=stream))
    return path


@asynccontextmanager
async def prepared(
    folder: Path, simulate: str, names: tuple[str, ...] = NAMES, depth: int = 10, stream: str = "4GB"
) -> AsyncIterator[Rig]:
    """Start an exchange and give a system that is ready to be started; nothing of either is left afterwards.

    stream: how much JetStream keeps.
    """
    environment = write_environment(folder / ENVIRONMENT_FILE, names, depth, stream)
    argv = [
        sys.executable,
        "-m",
        "ssmd",
        "up",
        "--env",
        str(environment),
        "--data-dir",
        str(folder / "data"),
        "--gateway-port",
        "0",
    ]
    async with exchange(folder, names, simulate) as far, httpx.AsyncClient(timeout=5) as client:
        rig = Rig(folder, argv, far, client)
        try:
            yield rig
        finally:
            rig.clear()


@asynccontextmanager
async def running(folder: Path, simulate: str, names: tuple[str, ...] = NAMES, depth: int = 10) -> AsyncIterator[Rig]:
    """Start a system and give it when it is ready."""
    async with prepared(folder, simulate, names, depth) as rig:
        await rig.start()
        yield rig
