"""The archiver dies in the middle of storing, and two archivers run at once: same keys, same bytes, nothing twice."""

import os
import signal
import sys
import time
from pathlib import Path
from random import Random

import msgspec
import trio

from chaos.kills import LATE_S, MINUTE_S, archiver_is_back
from chaos.processes import spawn, until_ended
from chaos.rig import ARCHIVER, Rig, prepared
from chaos.rows import Row, Stopwatch
from chaos.s3_proxy import S3Proxy
from chaos.store_away import FaultyServer, faulty_server, finish, store_of
from chaos.targets import Archivers
from ssmd.run_files import Endpoints

NORMALIZED = "PUT /ssmd-chaos-normalized/normalized/"


KILLS_A_MINUTE = 4
"""`ssmd up` gives up at more than ten crashes within a minute, and a minute's kills may run into the next one's."""


class Trap:
    """Kills the archiver when a certain put of its passes the proxy: before the body went on, or after the answer came."""

    def __init__(self, rig: Rig, proxy: S3Proxy) -> None:
        self._rig = rig
        self._proxy = proxy
        self._puts_left = 0
        self.sprung = trio.Event()

    def arm(self, *, is_after: bool, puts: int) -> None:
        """Let so many puts pass and strike at the next one."""
        self._puts_left, self.sprung = puts, trio.Event()
        self._proxy.on_request = None if is_after else self._see
        self._proxy.on_answer = self._see if is_after else None

    def disarm(self) -> None:
        self._proxy.on_request = self._proxy.on_answer = None

    def _see(self, line: str) -> None:
        if line.startswith(NORMALIZED) and not self.sprung.is_set():
            self._puts_left -= 1
            if self._puts_left < 0:
                self._rig.kill(ARCHIVER)
                self.sprung.set()


async def die_while_storing(row: Row, folder: Path, target: Archivers) -> None:
    """Kill the archiver in each way at a few minutes' turns."""
    watch, random = Stopwatch(), Random(row.seed)
    words = f"--rate {target.rate_per_s} --seed {row.seed}"
    async with faulty_server(folder / "s3", target.disk_mb) as faulty, prepared(folder, words) as rig:
        rig.variables |= faulty.server.variables(faulty.proxy.endpoint)
        await rig.start()
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        trap, back_s = Trap(rig, faulty.proxy), []
        end_s = trio.current_time() + target.for_s
        while trio.current_time() < end_s:
            for kill in range(KILLS_A_MINUTE):
                trap.arm(is_after=bool(kill % 2), puts=random.randrange(4))
                with trio.fail_after(MINUTE_S + LATE_S):
                    await trap.sprung.wait()
                back_s.append(await archiver_is_back(rig, trio.current_time()))
            trap.disarm()
            await trio.sleep((MINUTE_S / 2 - time.time()) % MINUTE_S)
        row.note(kills=len(back_s), back_s=[round(s, 2) for s in back_s])
        row.at_most("slowest_back_s", max(back_s), target.back_within_s)
        await _stored_minutes_are_single(row, rig, faulty, target)
    row.duration_s = watch.elapsed_s


async def two_at_once(row: Row, folder: Path, target: Archivers) -> None:
    """Start a second archiver beside the first one, twice, and kill either."""
    watch = Stopwatch()
    words = f"--rate {target.rate_per_s} --seed {row.seed}"
    async with faulty_server(folder / "s3", target.disk_mb) as faulty, prepared(folder, words) as rig:
        rig.variables |= faulty.server.variables(faulty.proxy.endpoint)
        await rig.start()
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        endpoints = msgspec.json.decode((rig.data_dir / "run/endpoints.json").read_bytes(), type=Endpoints)
        argv = [sys.executable, "-m", "ssmd", "run", "archiver", "--env", str(rig.environment)]
        argv += ["--data-dir", str(folder / "second")]
        variables = {**os.environ, **rig.variables, "SSMD_NATS_URL": endpoints.nats}
        end_s, runs = trio.current_time() + target.for_s, 0
        while trio.current_time() < end_s:
            runs += 1
            second = spawn(argv, folder / "second.jsonl", variables)
            try:
                await trio.sleep((2.5 - time.time()) % MINUTE_S + 1)  # the first has begun to store
                if runs % 2:
                    rig.kill(ARCHIVER)
                await trio.sleep(target.back_within_s)
            finally:
                second.send_signal(signal.SIGKILL if runs % 2 else signal.SIGTERM)
                await until_ended(second)
        row.note(runs=runs)
        await _stored_minutes_are_single(row, rig, faulty, target)
    row.duration_s = watch.elapsed_s


async def _stored_minutes_are_single(row: Row, rig: Rig, faulty: FaultyServer, target: Archivers) -> None:
    await finish(row, rig, faulty.server, target)
    late = [meta.key for meta in await store_of(rig, faulty.server).list("normalized/v1/") if ".p" in meta.key]
    row.note(late_parts=len(late))
