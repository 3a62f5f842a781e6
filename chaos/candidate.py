"""Run candidate normalizers that crash, hang and eat memory beside a primary one: it must not notice."""

from pathlib import Path

import msgspec
import trio
from msgspec.structs import replace

from chaos.faults import RECONNECTS
from chaos.hot import processes
from chaos.kills import LATE_S, finish
from chaos.processes import running_with, until
from chaos.rig import CONNECTOR, LAG, Rig, prepared
from chaos.rows import Row, Stopwatch
from chaos.targets import BadCandidates
from ssmd.actors.report import encode_config
from ssmd.actors.symbol_watcher import BUCKET, config_key
from ssmd.bus.nats import NatsDialer
from ssmd.records import FeedConfig

FEED = "kraken"
PLANTED = Path(__file__).with_name("planted")
"""Holds the versions, as a module that every Python process of the system loads at its start."""
LOOK_EVERY_S = 0.25


class Lags:
    """The highest lag of the primary and what it took, while something else goes on."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.highest_s = 0.0

    async def watch(self) -> None:
        while True:
            self.highest_s = max(self.highest_s, await self._rig.total(CONNECTOR, LAG))
            await trio.sleep(LOOK_EVERY_S)


async def put_up_with(row: Row, folder: Path, target: BadCandidates) -> None:
    """Run each version in turn, as long as the target says, then none; drain, and check everything."""
    watch = Stopwatch()
    async with prepared(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig:
        rig.variables["PYTHONPATH"] = str(PLANTED)
        await rig.start()
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        before, lags = processes(rig), Lags(rig)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lags.watch)
            for version in target.versions:
                await choose(rig, version)
                await until_it_runs(rig, version, target.started_within_s)
                await trio.sleep(target.each_for_s)
                await note(row, rig, version)
            await choose(rig, "")
            row.at_most("gone_s", await until_none(rig), target.gone_within_s)
            nursery.cancel_scope.cancel()
        row.at_most("primary_lag_s", lags.highest_s, target.primary_lag_s)
        row.at_most("reconnects", await rig.total(CONNECTOR, RECONNECTS), 0)
        row.note(connector_peak_mb=rig.peak_mb(CONNECTOR))
        if (after := processes(rig)) != before:
            row.missed.append(f"processes are no longer the same: {before} became {after}")
        await finish(row, rig, target)
    row.duration_s = watch.elapsed_s


async def choose(rig: Rig, version: str) -> None:
    """Name the candidate in the live configuration. Not by a command: this process knows none of these versions."""
    key = config_key("chaos", FEED)
    async with NatsDialer(rig.endpoints().nats).connect() as bus:
        entry = await bus.kv_get(BUCKET, key)
        assert entry is not None
        config = msgspec.json.decode(entry.value or b"", type=FeedConfig)
        await bus.kv_put(BUCKET, key, encode_config(replace(config, candidate_normalizer=version)), entry.revision)


async def until_it_runs(rig: Rig, version: str, within_s: float) -> None:
    async def runs() -> bool:
        return await rig.total(CONNECTOR, "ssmd_candidate_up", version=version) == 1 and bool(candidates(rig))

    await until(runs, within_s, f"candidate {version} runs")


async def until_none(rig: Rig) -> float:
    async def none() -> bool:
        return not candidates(rig)

    return await until(none, LATE_S, "no candidate is left")


def candidates(rig: Rig) -> set[int]:
    return set(running_with(str(rig.data_dir / "run/candidate-kraken.spec.json")))


async def note(row: Row, rig: Rig, version: str) -> None:
    """Note how often the connector had to start it again, and what the candidate says of itself if it still can."""
    restarts = await rig.total(CONNECTOR, "ssmd_actor_restarts_total", actor="candidate")
    seen = await rig.samples(f"candidate:{FEED}")
    counted = {
        verdict: int(seen.total("ssmd_candidate_events_total", verdict=verdict))
        for verdict in ("same", "changed", "added", "removed")
    }
    row.note(**{version: {"restarts_so_far": int(restarts), **{k: v for k, v in counted.items() if v}}})
