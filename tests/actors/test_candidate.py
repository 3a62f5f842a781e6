import pytest
import trio
from msgspec.structs import replace

from ssmd import metrics
from ssmd.actors.candidate import DRAIN_WITHIN_S, CandidateKeeper
from ssmd.errors import CandidateDown, Outage
from ssmd.records import FeedConfig
from ssmd.supervisor import Cell
from ssmd.supervisor.process import ProcessFailed

NONE = FeedConfig(symbols=())
V2, V3 = (replace(NONE, candidate_normalizer=version) for version in ("v2", "v3"))


class FakeProcess:
    """Runs until it is drained, killed by `fail`, or for ever when it hangs."""

    def __init__(self, version: str, *, hangs: bool = False) -> None:
        self.version = version
        self.state = "made"
        self.ended = trio.Event()
        self._hangs = hangs
        self._end = trio.Event()
        self._error: ProcessFailed | None = None

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        self.state = "running"
        try:
            await self._end.wait()
        finally:
            self.state = "ended"
            self.ended.set()
        if self._error:
            raise self._error

    def drain(self) -> None:
        if not self._hangs:
            self._end.set()

    def fail(self) -> None:
        self._error = ProcessFailed("candidate", "was killed by SIGABRT", -6)
        self._end.set()


class World:
    def __init__(self, nursery, config: FeedConfig, *, hang: bool = False) -> None:
        self.config = Cell(config)
        self.made: list[FakeProcess] = []
        self.keeper = CandidateKeeper("kraken", self.config, lambda v: self.make(v, hangs=hang))
        self.nursery = nursery

    def make(self, version: str, *, hangs: bool) -> FakeProcess:
        self.made.append(FakeProcess(version, hangs=hangs))
        return self.made[-1]

    async def start(self) -> None:
        await self.nursery.start(self.keeper.run)
        await settle()

    def states(self) -> list[tuple[str, str]]:
        return [(process.version, process.state) for process in self.made]


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


def is_up(version: str) -> float | None:
    return metrics.REGISTRY.get_sample_value("ssmd_candidate_up", {"feed": "kraken", "version": version})


async def test_it_runs_what_the_configuration_names_from_one_moment_to_the_next(nursery, autojump_clock):
    world = World(nursery, NONE)
    await world.start()
    assert world.made == []
    world.config.set(V2)
    await settle()
    assert (world.states(), is_up("v2")) == ([("v2", "running")], 1)
    world.config.set(replace(V2, book_depth=25))
    await settle()
    assert world.states() == [("v2", "running")]
    world.config.set(V3)
    await settle()
    assert (world.states(), is_up("v2"), is_up("v3")) == ([("v2", "ended"), ("v3", "running")], 0, 1)
    metrics.CANDIDATE_CURSOR_AGE.labels("kraken").set_function(lambda: 77.0)
    world.config.set(NONE)
    await settle()
    assert world.states() == [("v2", "ended"), ("v3", "ended")]
    assert metrics.REGISTRY.get_sample_value("ssmd_candidate_cursor_age_seconds", {"feed": "kraken"}) == 0


async def test_its_death_is_an_outage_of_nobody_else(nursery, autojump_clock):
    world = World(nursery, V2)
    async with trio.open_nursery() as inner:
        inner.start_soon(_raises_candidate_down, world.keeper)
        await settle()
        world.made[0].fail()
    assert (world.states(), is_up("v2")) == ([("v2", "ended")], 0)
    assert issubclass(CandidateDown, Outage)  # paced by backoff, never counted against the connector


async def _raises_candidate_down(keeper: CandidateKeeper) -> None:
    with pytest.raises(CandidateDown, match=r"candidate v2 of kraken.*SIGABRT"):
        await keeper.run()


@pytest.mark.parametrize("drained", [True, False])
async def test_one_that_does_not_end_is_ended(drained, nursery, autojump_clock):
    world = World(nursery, V2, hang=True)
    await world.start()
    begun_s = trio.current_time()
    if drained:
        world.keeper.drain()
    else:
        world.config.set(NONE)
    with trio.move_on_after(60):
        await world.made[0].ended.wait()
    assert DRAIN_WITHIN_S <= trio.current_time() - begun_s <= DRAIN_WITHIN_S + 1


@pytest.mark.parametrize("config", [NONE, V2])
@pytest.mark.parametrize("early", [True, False])
async def test_it_drains(config, early, nursery, autojump_clock):
    world = World(nursery, config)
    if early:
        world.keeper.drain()
        with trio.fail_after(1):
            await world.keeper.run()
        assert world.made == []
        return
    async with trio.open_nursery() as inner:
        inner.start_soon(world.keeper.run)
        await settle()
        world.keeper.drain()
    assert all(state == "ended" for _, state in world.states())
