"""The store dies over several minutes of a fast clock: the short form of chaos/store_away.py, in one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from chaos.actors import FastClock, running, total
from chaos.check import check, check_stream
from chaos.kills import LATE_S
from chaos.processes import Exchange, NatsServer, exchange, nats_server, until
from chaos.rig import EVENTS, NAMES, write_environment
from chaos.rows import Row, Stopwatch
from chaos.s3_servers import SeaweedFS
from chaos.store_away import SEALED
from chaos.targets import StoreKilled
from ssmd import trees
from ssmd.bus.nats import NatsDialer
from ssmd.clock import NS_PER_MINUTE
from ssmd.environment import load as environment
from ssmd.settings import ExchangeSettings, Settings, StorageSettings
from ssmd.store.base import Store
from ssmd.supervisor import HealthBoard, Intensity, Strategy, Supervisor, Surroundings
from ssmd.trees.roles import Connector
from ssmd.trees.storage import open_store


class FastSystem:
    """A connector and an archiver that store in buckets, on a clock of their own."""

    def __init__(self, folder: Path, far: Exchange, bus_url: str, storage: StorageSettings, clock: FastClock) -> None:
        settings = Settings(kraken=ExchangeSettings(ws_url=far.url), storage=storage)
        loaded = environment.load(str(write_environment(folder / "environment.yaml", NAMES)))
        spec = trees.RoleSpec("connector", "kraken", loaded, settings, bus_url, str(folder / "data"), "")
        self.store: Store = open_store(loaded, settings, spec.data_path)
        world, board = trees.World(NatsDialer(bus_url), self.store, now=clock), HealthBoard()
        children = [*trees.archiver(spec, world, board), *Connector(spec, world, board).children()]
        surroundings = Surroundings(board=board, observe=trees.observe)
        intensity = Intensity(restarts=0)  # an outage is none; anything else would end the row
        self.tree = Supervisor("chaos", Strategy.ONE_FOR_ONE, children, intensity=intensity, surroundings=surroundings)


@asynccontextmanager
async def _around(folder: Path, words: str) -> AsyncIterator[tuple[NatsServer, Exchange, SeaweedFS]]:
    store = SeaweedFS(folder / "s3")
    store.launch()  # it needs some seconds: the others start meanwhile
    try:
        async with nats_server(folder / "nats") as bus, exchange(folder, NAMES, words) as far:
            await trio.to_thread.run_sync(store.wait_ready)
            yield bus, far, store
    finally:
        store.kill()


async def kill_store(row: Row, folder: Path, target: StoreKilled) -> None:
    """Kill the store, start it again, and measure how long after it every minute that was over is stored."""
    watch, words = Stopwatch(), f"--rate {target.rate_per_s} --seed {row.seed}"
    async with _around(folder, words) as (bus, far, server):
        clock = FastClock(target.clock_speed)
        system = FastSystem(folder, far, bus.url, server.settings, clock)
        began, sealed = total(EVENTS), total(SEALED)
        async with running(system.tree):
            await _until_above(EVENTS, began, "the first events are published")
            await _until_above(SEALED, sealed, "the first minute is stored")
            server.kill()
            down, sealed, at_ns = Stopwatch(), total(SEALED), clock()
            await trio.sleep(target.away_s)
            if total(SEALED) > sealed:
                row.missed.append("a minute was sealed while the store was away")
            missed_minutes = clock() // NS_PER_MINUTE - at_ns // NS_PER_MINUTE
            server.launch()
            row.note(away_s=down.elapsed_s, minutes_missed=missed_minutes)
            back = Stopwatch()
            await _until_above(SEALED, sealed + missed_minutes - 1, "everything is stored")
            row.at_most("back_s", back.elapsed_s, target.back_within_s)
        await far.stop()
        verdict = await check(system.store, "kraken", far.ledger, clock=clock.at)
        row.note(stream_duplicates=await check_stream(NatsDialer(bus.url), system.store, "kraken", verdict))
        row.judge(verdict, target.archive_duplicates, target.frames_unaccounted)
    row.duration_s = watch.elapsed_s


async def _until_above(name: str, value: float, what: str) -> None:
    async def is_above() -> bool:
        return total(name) > value

    await until(is_above, LATE_S, what)
