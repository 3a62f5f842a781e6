"""End `ssmd up` itself, by SIGKILL or SIGTERM, and start it again where it was."""

import signal
from itertools import cycle
from pathlib import Path

import trio

from chaos.check import check
from chaos.kills import LATE_S, finish
from chaos.processes import is_running
from chaos.rig import Rig, prepared
from chaos.rows import Row, Stopwatch
from chaos.targets import Restart
from ssmd.store.objects import local_store


async def end_and_start_again(row: Row, folder: Path, target: Restart, *signals: signal.Signals) -> None:
    """Run the system several times on the same data, ending it by the signals in turn, and the last run by draining."""
    watch = Stopwatch()
    back_s, gone_s = [], []
    async with prepared(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig:
        for run_s, number in zip(target.runs_s, cycle(signals), strict=False):
            began_s = trio.current_time()
            await rig.start()
            await rig.until_publishing(began_s, 0, LATE_S)
            back_s.append(trio.current_time() - began_s)
            await trio.sleep(run_s)
            gone_s.append(await _end(row, rig, number))
        began_s = trio.current_time()
        await rig.start()
        back_s.append(await rig.until_publishing(began_s, 0, LATE_S))
        row.at_most("slowest_back_s", max(back_s), target.back_within_s)
        row.at_most("slowest_gone_s", max(gone_s), target.gone_within_s)
        await finish(row, rig, target)
    row.duration_s = watch.elapsed_s


async def _end(row: Row, rig: Rig, number: signal.Signals) -> float:
    """End the system and return how long it took until no process was left."""
    watch = Stopwatch()
    pids = rig.pids()
    code = await rig.end(number)
    await rig.until_nothing_runs(LATE_S)
    took_s = watch.elapsed_s
    if left := [role for role, pid in pids.items() if is_running(pid)]:
        row.missed.append(f"still running after the end: {left}")
    if number == signal.SIGKILL:
        _tear(rig)
    if number == signal.SIGTERM:
        row.at_most("exit_code", code, 0)
        await _check_drained(row, rig)
    return took_s


async def _check_drained(row: Row, rig: Rig) -> None:
    """What was drained is whole at once: nothing waits for the next start."""
    verdict = await check(local_store(rig.data_dir), "kraken")
    row.missed += verdict.problems[:10]


def _tear(rig: Rig) -> None:
    """Leave what a process killed in mid-write leaves: half a line at the end of the newest segment."""
    newest = max((rig.data_dir / "journal/kraken").glob("*.jsonl"))
    with newest.open("ab") as file:
        file.write(b'{"recv_ns":17650296001234')
