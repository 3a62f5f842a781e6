"""The object store is killed, hangs, crawls, answers errors or is full while data come in: all of it is stored later."""

import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from chaos.check import check, check_stream
from chaos.kills import LATE_S, MINUTE_S
from chaos.processes import nats_server, until
from chaos.rig import ARCHIVER, CONNECTOR, Rig, prepared
from chaos.rows import Row, Stopwatch
from chaos.s3_proxy import S3Proxy, s3_proxy
from chaos.s3_servers import SeaweedFS
from chaos.targets import Archivers, StoreAway
from ssmd.bus.nats import NatsDialer
from ssmd.environment import load as environment
from ssmd.settings import Settings
from ssmd.store.base import Store
from ssmd.trees.storage import open_store

FRAMES = "ssmd_connector_frames_received_total"
SEALED = "ssmd_connector_minutes_sealed_total"
ARCHIVER_LAG = "ssmd_archiver_lag_seconds"
BACKLOG = "ssmd_connector_journal_backlog_bytes"
SLOW_BYTES_PER_S = 50_000
SLOW_FOR_S = 80.0
"""A minute of raw data at 1,000 frames/s takes about 56 s, when the archiver stores beside it."""
FAULTS = ("killed", "frozen", "slow", "answers_500", "answers_503", "full")
BEFORE_TURN_S = 3.0
"""A fault begins so long before a minute ends, so that it hits sealing and storing."""
SETTLED_S = 20.0
"""After the turn of a minute, when what it brought is stored and its memory is in use."""
LAG_SLACK_S = 4.0
"""Grace of the archiver and the age of what it has not fetched."""


class FaultyServer:
    """A SeaweedFS behind a proxy, and everything that can go wrong with the two."""

    def __init__(self, server: SeaweedFS, proxy: S3Proxy, disk: Path | None) -> None:
        self.server = server
        self.proxy = proxy
        self._ballast = None if disk is None else disk / "ballast"

    async def begin(self, fault: str) -> None:
        match fault:
            case "killed":
                self.server.kill()
                self.proxy.cut()
            case "frozen":
                self.server.signal(signal.SIGSTOP)
            case "slow":
                self.proxy.bytes_per_s = SLOW_BYTES_PER_S  # what is under way goes on, slowly
            case "full" if self._ballast is not None:
                await trio.to_thread.run_sync(_fill, self._ballast)
            case "full":
                self.proxy.change(answers=507)
            case _:
                self.proxy.change(answers=int(fault.removeprefix("answers_")))

    async def end(self, fault: str) -> None:
        match fault:
            case "killed":
                self.server.launch()
            case "frozen":
                self.server.signal(signal.SIGCONT)
            case "slow":
                self.proxy.bytes_per_s = 0
            case "full" if self._ballast is not None:
                self._ballast.unlink()
            case _:
                self.proxy.change()


def _fill(path: Path) -> None:
    """Write until the volume has no room."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError:
            return


def mounted_tmpfs(folder: Path, size_mb: int) -> Path | None:
    """Return a small volume, None where none can be mounted: that takes root."""
    folder.mkdir(parents=True)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(argv, capture_output=True, check=False).returncode:
        return None
    return folder


@asynccontextmanager
async def faulty_server(folder: Path, size_mb: int) -> AsyncIterator[FaultyServer]:
    disk = mounted_tmpfs(folder / "disk", size_mb)
    server = SeaweedFS(disk or folder / "disk")
    try:
        await trio.to_thread.run_sync(server.start)
        async with s3_proxy(int(server.settings.endpoint.rsplit(":", 1)[1])) as proxy:
            yield FaultyServer(server, proxy, disk)
    finally:
        server.kill()
        if disk is not None:
            subprocess.run(["umount", "-l", str(disk)], check=False)  # noqa: ASYNC221  the row is over


class Memory:
    """How much two processes grow."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.settled_mb = {role: rig.rss_mb(role) for role in (CONNECTOR, ARCHIVER)}
        self.most_mb = dict(self.settled_mb)

    async def watch(self) -> None:
        while True:
            for role in self.most_mb:
                self.most_mb[role] = max(self.most_mb[role], self._rig.rss_mb(role))
            await trio.sleep(0.5)

    def judge(self, row: Row, target: StoreAway) -> None:
        limits = {CONNECTOR: target.connector_grows_mb, ARCHIVER: target.archiver_grows_mb}
        for role, limit in limits.items():
            name = role.partition(":")[0]
            row.note(**{f"{name}_settled_mb": self.settled_mb[role], f"{name}_most_mb": self.most_mb[role]})
            row.at_most(f"{name}_grows_mb", self.most_mb[role] - self.settled_mb[role], limit)


async def store_away(row: Row, folder: Path, target: StoreAway) -> None:
    """Let one fault after the other begin before a minute ends; measure how long after it everything is stored."""
    watch, words = Stopwatch(), f"--rate {target.rate_per_s} --seed {row.seed}"
    async with faulty_server(folder / "s3", target.disk_mb) as faulty, prepared(folder, words) as rig:
        rig.variables |= faulty.server.variables(faulty.proxy.endpoint)
        await rig.start()
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        await trio.sleep(_until_second(SETTLED_S) + (0 if time.time() % MINUTE_S < SETTLED_S else MINUTE_S))
        memory = Memory(rig)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(memory.watch)
            for fault in FAULTS:
                await _one_fault(row, rig, faulty, fault, target)
            nursery.cancel_scope.cancel()
        memory.judge(row, target)
        await finish(row, rig, faulty.server, target)
    row.duration_s = watch.elapsed_s


def _until_second(second: float) -> float:
    """Return how long it is until this second of a minute."""
    return (second - time.time()) % MINUTE_S


async def _one_fault(row: Row, rig: Rig, faulty: FaultyServer, fault: str, target: StoreAway) -> None:
    await trio.sleep(_until_second(MINUTE_S - BEFORE_TURN_S))
    before, began = await rig.samples(CONNECTOR), Stopwatch()
    due = before.total(SEALED) + 1
    await faulty.begin(fault)
    await trio.sleep(SLOW_FOR_S if fault == "slow" else target.away_s)
    after = await rig.samples(CONNECTOR)
    row.note(**{f"{fault}_backlog_mb": after.total(BACKLOG) / 1e6, f"{fault}_requests": faulty.proxy.requests})
    received_per_s = (after.total(FRAMES) - before.total(FRAMES)) / began.elapsed_s
    row.at_least(f"{fault}_received_per_s", received_per_s, target.received_at_least * target.rate_per_s)
    if (after.total(SEALED) >= due) is not (fault == "slow"):
        row.missed.append(f"{fault}: {after.total(SEALED) - before.total(SEALED):g} minutes were sealed meanwhile")
    await faulty.end(fault)
    back = Stopwatch()

    async def all_stored() -> bool:
        sealed, lag_s = await rig.total(CONNECTOR, SEALED), await rig.total(ARCHIVER, ARCHIVER_LAG)
        return sealed >= due and 0 < lag_s < time.time() % MINUTE_S + LAG_SLACK_S

    await until(all_stored, 3 * LATE_S, f"after {fault}, everything is stored")
    limit_s = target.full_back_within_s if fault == "full" else target.back_within_s
    row.at_most(f"{fault}_back_s", back.elapsed_s, limit_s)


def store_of(rig: Rig, server: SeaweedFS) -> Store:
    loaded = environment.load(str(rig.environment))
    return open_store(loaded, Settings(storage=server.settings), rig.data_dir)


async def finish(row: Row, rig: Rig, server: SeaweedFS, target: StoreAway | Archivers) -> None:
    """Drain the system and compare everything with everything."""
    row.at_most("exit_code", await rig.stop(), 0)
    store = store_of(rig, server)
    verdict = await check(store, "kraken", rig.ledger)
    async with nats_server(rig.data_dir / "nats") as nats:
        row.note(stream_duplicates=await check_stream(NatsDialer(nats.url), store, "kraken", verdict))
    row.judge(verdict, target.archive_duplicates, target.frames_unaccounted)
    if (rig.data_dir / "raw").exists() or (rig.data_dir / "normalized").exists():
        row.missed.append("something was written into the data directory instead of the buckets")
