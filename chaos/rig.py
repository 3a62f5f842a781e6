"""A whole running system for chaos and benchmarks: `ssmd up --demo` in a folder of its own, with a ledger."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import trio

from ssmd.cli.samples import Samples, fetch
from ssmd.trees import Endpoints

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 90.0
LOOK_EVERY_S = 0.1

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
  jetstream: {{retention_hours: 24, max_bytes: 4GB}}
"""


class Rig:
    """The processes of one run, seen from outside: pids, endpoints, metrics, signals."""

    def __init__(self, data_dir: Path, process: "subprocess.Popen[bytes]", client: httpx.AsyncClient) -> None:
        self.data_dir = data_dir
        self.ledger = data_dir / "ledger.jsonl"
        self.process = process
        self._client = client

    @property
    def endpoints(self) -> Endpoints:
        return msgspec.json.decode((self.data_dir / "run/endpoints.json").read_bytes(), type=Endpoints)

    def pid(self, role: str) -> int:
        pids: dict[str, int] = msgspec.json.decode((self.data_dir / "run/processes.json").read_bytes())
        return pids[role]

    def kill(self, role: str, number: signal.Signals = signal.SIGKILL) -> int:
        pid = self.pid(role)
        os.kill(pid, number)
        return pid

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

    async def until(self, is_true: "Callable[[], object]", within_s: float, what: str) -> float:
        """Wait for an async condition and return the seconds it took."""
        began = trio.current_time()
        with trio.move_on_after(within_s):
            while not await is_true():  # type: ignore[misc]
                await trio.sleep(LOOK_EVERY_S)
            return trio.current_time() - began
        raise AssertionError(f"not within {within_s:g} s: {what}")

    async def until_total(self, role: str, name: str, above: float, within_s: float) -> float:
        async def reached() -> bool:
            return await self.total(role, name) > above

        return await self.until(reached, within_s, f"{role}: {name} above {above:g}")

    def rss_mb(self, role: str) -> float:
        for line in Path(f"/proc/{self.pid(role)}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def peak_mb(self, role: str) -> float:
        for line in Path(f"/proc/{self.pid(role)}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu_s(self, role: str) -> float:
        fields = Path(f"/proc/{self.pid(role)}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def stop(self) -> int:
        """Drain everything and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with trio.fail_after(STOP_WITHIN_S):
            while self.process.poll() is None:  # noqa: ASYNC110  # a process of ours, looked at ten times a second
                await trio.sleep(LOOK_EVERY_S)
        return self.process.returncode


def write_environment(path: Path, names: tuple[str, ...], depth: int = 10) -> Path:
    symbols = ", ".join(f"{{name: {n}, internal: {n.replace('/', '')}, depth: l2}}" for n in names)
    path.write_text(ENVIRONMENT.format(depth=depth, symbols=symbols))
    return path


@asynccontextmanager
async def running(
    folder: Path, simulate: str, names: tuple[str, ...] = ("BTC/USD", "ETH/USD", "SOL/USD"), depth: int = 10
) -> AsyncIterator[Rig]:
    """Start a system and give it when it is ready; nothing of it is left afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = write_environment(folder / "environment.yaml", names, depth)
    data_dir = folder / "data"
    data_dir.mkdir(exist_ok=True)
    words = f"--ledger {data_dir / 'ledger.jsonl'} {simulate}"
    argv = [sys.executable, "-m", "ssmd", "up", "--demo", "--env", str(environment), "--data-dir", str(data_dir)]
    with (folder / "log.jsonl").open("ab") as log:
        process = subprocess.Popen([*argv, f"--simulate={words}"], stdout=log, stderr=log, start_new_session=True)
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            rig = Rig(data_dir, process, client)
            await rig.until(lambda: _exists(data_dir / "run/endpoints.json", process), READY_WITHIN_S, "ready")
            yield rig
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


async def _exists(path: Path, process: "subprocess.Popen[bytes]") -> bool:
    if process.poll() is not None:
        raise AssertionError(f"ssmd up ended with {process.returncode}; see log.jsonl")
    return path.exists()
