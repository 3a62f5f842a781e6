"""The stream loses messages before they are archived: nobody may be told that such a minute is whole."""

import signal
import sys
import time
from pathlib import Path

import trio

from chaos.check import check
from chaos.kills import LATE_S, MINUTE_S
from chaos.office import Office, office
from chaos.processes import until
from chaos.rig import ARCHIVER, Rig, prepared
from chaos.rows import Row, Stopwatch
from chaos.targets import Lost
from ssmd.archive.shortfall import marks
from ssmd.clock import NS_PER_MINUTE, minute_of, now_ns
from ssmd.gateway.times import rfc3339
from ssmd.reprocess.verify import VerifySpec, verify
from ssmd.store.base import Store
from ssmd.store.objects import local_store

FEED, VERSION = "kraken", "v1"


class Reader:
    """A client that asks how good a minute is."""

    def __init__(self, desk: Office, key: str) -> None:
        self._desk = desk
        self._header = {"Authorization": f"Bearer {key}"}

    async def reasons(self, minute_ns: int) -> set[str]:
        """Return why a minute is not verified."""
        span = f"start={rfc3339(minute_ns)}&end={rfc3339(minute_ns + NS_PER_MINUTE)}"
        path = f"{self._desk.url}/api/v1/coverage?symbol=BTCUSD&{span}"
        answer = await self._desk.http.get(path, headers=self._header)
        assert answer.is_success, answer.text[:300]
        return {window["reason"] for window in answer.json()["quality"]["windows"]}

    async def until_reason(self, minute_ns: int, reason: str, within_s: float) -> float:
        async def is_told() -> bool:
            return reason in await self.reasons(minute_ns)

        return await until(is_told, within_s, f"{rfc3339(minute_ns)} is told to be {reason}")


async def overflow(row: Row, folder: Path, target: Lost) -> None:
    """Freeze the archiver until the stream has thrown away minutes, and see who says so, when, and how it is mended."""
    watch = Stopwatch()
    words = f"--rate {target.rate_per_s} --seed {row.seed}"
    async with prepared(folder, words, stream=target.stream) as rig:
        await rig.start()
        began_ns = now_ns()
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        async with office(rig) as desk:
            reader = Reader(desk, await desk.add("reader", requests_per_s=100))
            await desk.entitle("reader")
            await _freeze(row, rig, reader, target)
        row.at_most("exit_code", await rig.stop(), 0)
    store = local_store(rig.data_dir)
    await _only_marked_minutes_lack_anything(row, store, began_ns)
    await _fill(row, rig)
    left = await marks(store, VERSION, FEED, began_ns - NS_PER_MINUTE, now_ns())
    row.at_most("marks_left", len(left), 0)
    row.judge(await check(store, FEED, rig.ledger), target.archive_duplicates, target.frames_unaccounted)
    row.duration_s = watch.elapsed_s


async def _freeze(row: Row, rig: Rig, reader: Reader, target: Lost) -> None:
    await trio.sleep(MINUTE_S + (MINUTE_S - time.time()) % MINUTE_S + target.first_s)
    rig.kill(ARCHIVER, signal.SIGSTOP)
    lost_ns = minute_of(now_ns()) + NS_PER_MINUTE  # the next minute comes and goes while nobody archives it
    row.note(told_while_frozen_s=await reader.until_reason(lost_ns, "uncounted", target.frozen_s))
    await trio.sleep(target.frozen_s - MINUTE_S)
    rig.kill(ARCHIVER, signal.SIGCONT)
    row.at_most("told_s", await reader.until_reason(lost_ns, "unarchived", LATE_S * 5), target.told_within_s)
    row.note(missing=await rig.total(ARCHIVER, "ssmd_archiver_unarchived_events_total"))
    await trio.sleep(MINUTE_S)
    if reasons := await reader.reasons(minute_of(now_ns()) - 2 * NS_PER_MINUTE) & {"uncounted", "unarchived"}:
        row.missed.append(f"a minute after the last loss is told to be {reasons}")


async def _only_marked_minutes_lack_anything(row: Row, store: Store, began_ns: int) -> None:
    """Compare the marks with what a second reckoning of all raw data finds; the last minutes may be uncounted yet."""
    marked = {mark.minute_ns for mark in await marks(store, VERSION, FEED, began_ns - NS_PER_MINUTE, now_ns())}
    report = await verify(store, VerifySpec(FEED, VERSION, minute_of(began_ns), minute_of(now_ns()) + NS_PER_MINUTE))
    short = {finding.minute for finding in report.findings if finding.check == "archive"}
    row.at_least("minutes_marked", len(marked), 1)
    row.note(minutes=report.minutes)
    if marked != short:
        row.missed.append(f"marked {sorted(marked)}, short are {sorted(short, key=str)}")


async def _fill(row: Row, rig: Rig) -> None:
    """Reprocess with the same version, as the log says."""
    day = rfc3339(now_ns())[:10]
    words = ("reprocess", "run", "--feed", FEED, "--start", day, "--end", day, "--version", VERSION)
    argv = (sys.executable, "-m", "ssmd", *words, "--env", str(rig.environment), "--data-dir", str(rig.data_dir))
    done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
    row.note(filled=[line for line in done.stdout.decode().splitlines() if line.startswith("filled")])
    if done.returncode:
        row.missed.append(f"reprocess: {done.returncode} {done.stderr.decode()[-500:]}")
