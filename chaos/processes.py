"""Processes that chaos starts itself, outside of the system under test: the exchange, and a NATS server of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio

from ssmd.bus.server import ServerSettings, endpoints_of, server_argv, wait_ready
from ssmd.run_files import wait_for_run_file

LOOK_EVERY_S = 0.05
READY_WITHIN_S = 60.0
END_WITHIN_S = 30.0


async def until(is_true: Callable[[], Awaitable[object]], within_s: float, what: str) -> float:
    """Wait for a condition of other processes and return the seconds it took. Raises AssertionError when late."""
    began_s = trio.current_time()
    with trio.move_on_after(within_s):
        while not await is_true():  # noqa: ASYNC110  # other processes have nothing to wait on
            await trio.sleep(LOOK_EVERY_S)
        return trio.current_time() - began_s
    raise AssertionError(f"not within {within_s:g} s: {what}")


async def until_ended(process: "subprocess.Popen[bytes]", within_s: float = END_WITHIN_S) -> int:
    async def ended() -> bool:
        return process.poll() is not None

    await until(ended, within_s, f"process {process.pid} ends")
    return process.returncode


def is_running(pid: int) -> bool:
    """Tell whether a process lives; a zombie that nobody reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def running_with(word: str) -> dict[int, str]:
    """Return every living process whose command line holds the word."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(path.parent.name)
        if word in line and pid != os.getpid() and is_running(pid):
            found[pid] = line
    return found


class Exchange:
    """A simulated exchange: like a real one it outlives everything of ours. Its ledger is whole once it was stopped."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, ledger: Path) -> None:
        self.process = process
        self.url = url
        self.ledger = ledger

    @property
    def pid(self) -> int:
        return self.process.pid

    async def inject(self, fault: str) -> None:
        """Make something go wrong now, such as `drop` or `silence:BTC/USD:5`."""
        address = self.url.replace("ws://", "http://").rsplit("/", 1)[0]
        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.post(f"{address}/sim/faults", params={"fault": fault})
        answer.raise_for_status()

    async def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        await until_ended(self.process)


@asynccontextmanager
async def exchange(folder: Path, names: tuple[str, ...], words: str) -> AsyncIterator[Exchange]:
    """Run a simulated exchange of these symbols; `words` are further ones of `ssmd simulate kraken`."""
    run_file, ledger = folder / "exchange.json", folder / "ledger.jsonl"
    argv = [sys.executable, "-m", "ssmd.cli.simulator", "kraken", "--symbols", ",".join(names)]
    argv += ["--run-file", str(run_file), "--ledger", str(ledger), *words.split()]
    process = spawn(argv, folder / "exchange.log")
    try:
        with trio.fail_after(READY_WITHIN_S):
            url = (await wait_for_run_file(run_file, lambda: process.poll() is None)).exchange
        yield Exchange(process, url, ledger)
    finally:
        process.kill()
        process.wait()


class NatsServer:
    """A server that no supervisor of ours restarts: away means away. It keeps its port and its store."""

    def __init__(self, store_dir: Path) -> None:
        store_dir.mkdir(parents=True, exist_ok=True)
        self._settings = ServerSettings(store_dir=store_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    async def start(self) -> None:
        self._process = spawn(list(server_argv(self._settings)), self._settings.store_dir / "output.log")
        await wait_ready(self._settings)
        url = endpoints_of(self._settings).url
        assert self.url in {"", url}, "the server must come back where it was"
        self.url = url

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()


@asynccontextmanager
async def nats_server(store_dir: Path) -> AsyncIterator[NatsServer]:
    server = NatsServer(store_dir)
    await server.start()
    try:
        yield server
    finally:
        server.kill()


def spawn(argv: list[str], log: Path, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
