"""Kill one process of a running system again and again, at random moments and at the turn of a minute."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import trio

from chaos.check import check, check_stream
from chaos.processes import nats_server, until
from chaos.rig import ARCHIVER, CONNECTOR, EVENTS, NATS, Rig, running
from chaos.rows import Row, Stopwatch
from chaos.targets import BadCandidates, Faults, Recovery, Restart
from ssmd.bus.nats import NatsDialer
from ssmd.store.objects import local_store

MINUTE_S = 60.0
LATE_S = 60.0
"""How long to wait for what should have come back long ago: then the figure is told, not only that it is missing."""

BackAgain = Callable[[Rig, float], Awaitable[float]]
"""Wait until a role works again after a kill at the given time; return the seconds it took."""


async def connector_is_back(rig: Rig, killed_s: float) -> float:
    return await rig.until_publishing(killed_s, 0, LATE_S)


async def nats_is_back(rig: Rig, killed_s: float) -> float:
    published = await rig.total(CONNECTOR, EVENTS)
    return await rig.until_publishing(killed_s, published, LATE_S)


async def archiver_is_back(rig: Rig, killed_s: float) -> float:
    async def consuming() -> bool:
        return await rig.total(ARCHIVER, "ssmd_archiver_lag_seconds") > 0

    await until(consuming, LATE_S, "the archiver has messages again")
    return trio.current_time() - killed_s


class Victim:
    """A role to kill. moment_s: when in the minute it does something that a kill could break: seal, store, sync."""

    def __init__(self, role: str, moment_s: float, is_back: BackAgain) -> None:
        self.role = role
        self.moment_s = moment_s
        self.is_back = is_back


VICTIMS = {
    "connector_killed": Victim(CONNECTOR, 0.0, connector_is_back),
    "archiver_killed": Victim(ARCHIVER, 2.0, archiver_is_back),
    "nats_killed": Victim(NATS, 1.5, nats_is_back),
}


def next_kill_in_s(random: Random, moment_s: float, pauses_s: tuple[float, float]) -> float:
    """Return a random pause, or the way to this minute's delicate moment if that comes first."""
    pause_s = random.uniform(*pauses_s)
    to_moment_s = (moment_s - time.time()) % MINUTE_S + random.uniform(0.0, 0.8)
    return min(pause_s, to_moment_s)


async def kill_again_and_again(row: Row, folder: Path, target: Recovery, pauses_s: tuple[float, float]) -> None:
    """Kill the row's role for as long as the target says, drain, and check everything."""
    victim, random, watch = VICTIMS[row.row], Random(row.seed), Stopwatch()
    back_s: list[float] = []
    async with running(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig:
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        end_s = trio.current_time() + target.for_s
        while trio.current_time() < end_s:
            await trio.sleep(next_kill_in_s(random, victim.moment_s, pauses_s))
            rig.kill(victim.role)
            back_s.append(await victim.is_back(rig, trio.current_time()))
        row.note(kills=len(back_s), back_s=[round(s, 2) for s in back_s])
        row.at_most("slowest_back_s", max(back_s), target.back_within_s)
        await finish(row, rig, target)
    row.duration_s = watch.elapsed_s


async def kill_each(row: Row, folder: Path, target: Recovery) -> None:
    """Kill each process once in one run, in random order, at random moments; drain, and check everything."""
    random, watch = Random(row.seed), Stopwatch()
    async with running(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig:
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        for victim in random.sample(list(VICTIMS.values()), len(VICTIMS)):
            await trio.sleep(random.uniform(0.0, target.for_s / len(VICTIMS)))
            rig.kill(victim.role)
            row.at_most(f"{victim.role}_back_s", await victim.is_back(rig, trio.current_time()), target.back_within_s)
        await finish(row, rig, target)
    row.duration_s = watch.elapsed_s


async def kill_all_at_once(row: Row, folder: Path, target: Recovery, pauses_s: tuple[float, float]) -> None:
    """Kill every process within a second, again and again for as long as the target says; drain, check everything.

    `ssmd up` gives up at more than ten crashes within a minute, so at most three times a minute.
    """
    random, watch = Random(row.seed), Stopwatch()
    back_s: list[float] = []
    async with running(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig:
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        end_s = trio.current_time() + target.for_s
        while trio.current_time() < end_s:
            await trio.sleep(random.uniform(*pauses_s))
            for role in random.sample((CONNECTOR, ARCHIVER, NATS), 3):
                rig.kill(role)
                await trio.sleep(random.uniform(0.0, 0.4))
            killed_s = trio.current_time()
            back_s.append(max(await connector_is_back(rig, killed_s), await archiver_is_back(rig, killed_s)))
        row.note(kills=3 * len(back_s), back_s=[round(s, 2) for s in back_s])
        row.at_most("slowest_back_s", max(back_s), target.back_within_s)
        await finish(row, rig, target)
    row.duration_s = watch.elapsed_s


async def finish(row: Row, rig: Rig, target: Recovery | Restart | Faults | BadCandidates) -> None:
    """Drain the system and compare everything with everything."""
    watch = Stopwatch()
    row.at_most("exit_code", await rig.stop(), 0)
    row.note(drain_s=watch.elapsed_s)
    store = local_store(rig.data_dir)
    verdict = await check(store, "kraken", rig.ledger)
    async with nats_server(rig.data_dir / "nats") as server:
        row.note(stream_duplicates=await check_stream(NatsDialer(server.url), store, "kraken", verdict))
    row.judge(verdict, target.archive_duplicates, target.frames_unaccounted)
