"""Crash single actors of a running connector and archiver, in one process, against a real exchange and a real NATS."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import trio

from chaos.bombs import Bomb, armed, with_bomb
from chaos.check import check, check_stream
from chaos.kills import LATE_S
from chaos.processes import Exchange, NatsServer, exchange, nats_server, until
from chaos.rig import EVENTS, LAG, NAMES, write_environment
from chaos.rows import Row, Stopwatch
from chaos.targets import Crashes
from ssmd import metrics, trees
from ssmd.bus.nats import NatsDialer
from ssmd.clock import now_ns
from ssmd.environment import load as environment
from ssmd.settings import ExchangeSettings, Settings
from ssmd.store.objects import local_store
from ssmd.supervisor import (
    ChildHealth,
    ChildSpec,
    ChildState,
    HealthBoard,
    Intensity,
    Strategy,
    Supervisor,
    Surroundings,
)
from ssmd.trees.roles import Connector

STEADY = ("sealer", "publisher", "normalizer", "raw-writer", "symbol-watcher", "status-reporter", "batcher-kraken")
SESSION = "sessions/session-0"
ACTORS = (*STEADY, SESSION)
STRIKABLE = ("publisher", "normalizer", "raw-writer", "batcher-kraken")
"""These wait often, so raising behind the next await is soon. The others are only shaken."""

SESSION_ROUNDS = 3
"""A session that keeps breaking is paced as the exchange asks for: 1, 2, 4, 8 s and more, by design above 10 s."""


class FastClock:
    """Wall time that runs faster from now on: each minute brings sealing, storing and checkpoints."""

    def __init__(self, speed: int) -> None:
        self._began_ns = now_ns()
        self.speed = speed

    def __call__(self) -> int:
        return self.at(now_ns())

    def at(self, real_ns: int) -> int:
        return self._began_ns + (real_ns - self._began_ns) * self.speed


class Mined:
    """A connector and an archiver with a bomb in each actor."""

    def __init__(self, folder: Path, far: Exchange, server: NatsServer, clock: FastClock) -> None:
        self.data_dir = folder / "data"
        self.board = HealthBoard()
        self._speed = clock.speed
        self.bombs = {name: Bomb() for name in ACTORS}
        settings = Settings(kraken=ExchangeSettings(ws_url=far.url))
        loaded = environment.load(str(write_environment(folder / "environment.yaml", NAMES)))
        spec = trees.RoleSpec("connector", "kraken", loaded, settings, server.url, str(self.data_dir), "")
        world = trees.World(NatsDialer(server.url), local_store(self.data_dir), now=clock)
        self.tree = Supervisor(
            "chaos",
            Strategy.ONE_FOR_ONE,
            self._children(spec, world),
            intensity=Intensity(restarts=10_000),  # the crashes are ours
            surroundings=Surroundings(board=self.board, observe=trees.observe),
        )

    def _children(self, spec: trees.RoleSpec, world: trees.World) -> Sequence[ChildSpec]:
        connector = Connector(spec, world, self.board)
        build_session = connector._session  # noqa: SLF001  # the one actor that is built inside of a nested supervisor
        connector._session = lambda slot: armed(partial(build_session, slot), self.bombs[SESSION])()  # type: ignore[method-assign,assignment,return-value]  # noqa: SLF001  # as above
        children = [*trees.archiver(spec, world, self.board), *connector.children()]
        return [with_bomb(child, self.bombs[child.name]) if child.name in STEADY else child for child in children]

    def restarts(self) -> dict[str, int]:
        """Return how often each actor was started again."""
        return {child.path.removeprefix("chaos/"): child.restarts for child in self.board.snapshot()}

    async def crash(self, name: str, random: Random) -> float:
        """Crash an actor and return the seconds until events of new frames are published; wait until it runs."""
        watch, before = Stopwatch(), self.restarts()
        strike = name in STRIKABLE and random.random() < 0.5  # a coin
        (self.bombs[name].strike if strike else self.bombs[name].shake)()

        async def is_broken() -> bool:
            return self._child(name).state is not ChildState.RUNNING or self.restarts()[name] > before[name]

        await until(is_broken, LATE_S, f"{name} crashes")
        published = total(EVENTS)

        async def is_publishing() -> bool:
            return total(EVENTS) > published and total(LAG) < watch.elapsed_s * self._speed

        await until(is_publishing, LATE_S, f"events are published after a crash of {name}")
        back_s = watch.elapsed_s
        await until(partial(self._runs_again, name, before[name]), LATE_S, f"{name} runs again")
        others = {path for path, count in self.restarts().items() if count != before.get(path, 0)} - {name}
        assert not others, f"a crash of {name} restarted {others}"
        return back_s

    async def _runs_again(self, name: str, restarts: int) -> bool:
        child = self._child(name)
        return child.restarts > restarts and child.state is ChildState.RUNNING

    def _child(self, name: str) -> ChildHealth:
        return next(child for child in self.board.snapshot() if child.path == f"chaos/{name}")


def total(name: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, {"feed": "kraken"}) or 0.0


@asynccontextmanager
async def running(tree: Supervisor) -> AsyncIterator[None]:
    """Run a tree; drain it at the end, whatever happened inside."""
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        try:
            yield
        finally:
            tree.drain()


async def crash_in_turn(row: Row, folder: Path, target: Crashes, pauses_s: tuple[float, float]) -> None:
    """Crash one actor after the other for as long as the target says, drain, and check everything."""
    random, watch = Random(row.seed), Stopwatch()
    slowest_s = dict.fromkeys(ACTORS, 0.0)
    words = f"--rate {target.rate_per_s} --seed {row.seed}"
    async with nats_server(folder / "nats") as server, exchange(folder, NAMES, words) as far:
        clock = FastClock(target.clock_speed)
        mined = Mined(folder, far, server, clock)
        began = total(EVENTS)
        async with running(mined.tree):

            async def first_events() -> bool:
                return total(EVENTS) > began

            await until(first_events, LATE_S, "the first events are published")
            rounds = 0
            while watch.elapsed_s < target.for_s or not rounds:
                rounds += 1
                actors = ACTORS if rounds <= SESSION_ROUNDS else STEADY
                for name in random.sample(actors, len(actors)):
                    await trio.sleep(random.uniform(*pauses_s))
                    slowest_s[name] = max(slowest_s[name], await mined.crash(name, random))
        await far.stop()
        row.note(crashes=sum(mined.restarts().values()), slowest_s={k: round(v, 2) for k, v in slowest_s.items()})
        row.at_most("slowest_back_s", max(slowest_s.values()), target.back_within_s)
        store = local_store(mined.data_dir)
        verdict = await check(store, "kraken", far.ledger, clock=clock.at)
        row.note(stream_duplicates=await check_stream(NatsDialer(server.url), store, "kraken", verdict))
        row.judge(verdict, target.archive_duplicates, target.frames_unaccounted)
    row.duration_s = watch.elapsed_s
