"""Random trees that crash, hang, break while cancelled and get drained or cancelled at random moments.

Each seed gives one run on the virtual clock with Trio's scheduler seeded too, so a failure replays exactly:
    pytest "tests/supervisor/test_random_trees.py" -k "seed17-"
What must hold in each: no child runs twice at once; the first starts go left to right and drains from last to first;
no item of a tree-owned mailbox is lost, doubled or overtaken; everything ends within its deadlines.
"""

import math
import random

import pytest
import trio

from ssmd.errors import BusDown, RestartIntensityExceeded
from ssmd.supervisor import (
    Backoff,
    ChildSpec,
    ChildState,
    HealthBoard,
    Intensity,
    Mailbox,
    Overflow,
    Restart,
    Strategy,
    Supervisor,
    Surroundings,
    longest_drain_s,
)

from .fakes import run_seeded

SEEDS = range(150)
EDGE_S = 1e-6


class Record:
    """What every actor of a run did, and at once refused: a second run of the same child."""

    def __init__(self):
        self.events = []
        self.running = set()

    def add(self, what, path):
        self.events.append((round(trio.current_time() - self.zero_s, 6), what, path))

    def enter(self, path):
        assert path not in self.running, f"{path} runs twice at once"
        self.running.add(path)
        self.add("start", path)

    def leave(self, path):
        self.running.remove(path)
        self.add("end", path)

    def paths(self, what):
        return [path for _, event, path in self.events if event == what]


class Wild:
    """Does one of many bad things per run, drawn when it is built."""

    def __init__(self, path, record, dice):
        self.path = path
        self.record = record
        self.drained = trio.Event()
        self.starts_after_s = dice.choice([0, 0, 0, 0.5, math.inf])
        self.lives_s = dice.choice([0, 0, 0.01, 1, 7, math.inf, math.inf])
        self.end = dice.choice(["return", "bug", "outage", "group", "bug", "outage"])
        self.drains_in_s = dice.choice([0, 0, 0.5, 3, math.inf])
        self.breaks_in_drain = dice.random() < 0.2
        self.cleanup = dice.choice(["quiet", "quiet", "slow", "error", "mixed"])

    def drain(self):
        self.drained.set()

    async def run(self, *, task_status):
        self.record.enter(self.path)
        try:
            await self._work(task_status)
        except trio.Cancelled:
            await self._clean_up()
            raise
        finally:
            self.record.leave(self.path)

    async def _work(self, task_status):
        with trio.move_on_after(self.starts_after_s):
            await self.drained.wait()
        if not self.drained.is_set():
            task_status.started()
        with trio.move_on_after(self.lives_s):
            await self.drained.wait()
        if self.drained.is_set():
            await trio.sleep(self.drains_in_s)
            if self.breaks_in_drain:
                raise ValueError("in drain")
        else:
            self._break()

    def _break(self):
        if self.end == "bug":
            raise ValueError("bug")
        if self.end == "outage":
            raise BusDown("away")
        if self.end == "group":
            raise ExceptionGroup("both", [ValueError("bug"), BusDown("away")])

    async def _clean_up(self):
        if self.cleanup == "slow":
            with trio.CancelScope(shield=True):
                await trio.sleep(0.2)
        if self.cleanup == "error":
            raise ValueError("in cleanup")
        if self.cleanup == "mixed":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise KeyError("in cleanup")


def random_spec(path, record, dice, depth):
    backoff = Backoff(cap_s=dice.choice([0.5, 5.0, 30.0]))
    start_within_s = dice.choice([0.3, 2.0])
    restart = dice.choice([Restart.TRANSIENT, Restart.TRANSIENT, Restart.PERMANENT, Restart.TEMPORARY])
    name = path.rsplit("/", 1)[-1]
    if depth and dice.random() < 0.35:
        specs, strategy, intensity = random_children(path, record, dice, depth - 1)
        # slack for cleanup that takes its time after each deadline
        drain_within_s = longest_drain_s(specs) + len(specs)
        return ChildSpec(
            name,
            lambda: Supervisor(name, strategy, specs, intensity=intensity),
            backoff,
            drain_within_s,
            restart,
            start_within_s,
        )
    drain_within_s = dice.choice([0.0, 1.0, 2.0])
    return ChildSpec(name, lambda: Wild(path, record, dice), backoff, drain_within_s, restart, start_within_s)


def random_children(path, record, dice, depth):
    specs = [random_spec(f"{path}/{index}", record, dice, depth) for index in range(dice.randint(1, 4))]
    intensity = Intensity(dice.choice([0, 2, 10, 1000]), dice.choice([1.0, 60.0]))
    return specs, dice.choice(list(Strategy)), intensity


async def live_and_end(seed):
    """Run one random tree, end it at a random time in a random way; return its record and how long the end took."""
    dice, record = random.Random(seed), Record()
    record.zero_s = trio.current_time()
    specs, strategy, intensity = random_children("tree", record, dice, depth=2)
    board, changes = HealthBoard(), []
    surroundings = Surroundings(board=board, observe=changes.append, random=dice)
    tree = Supervisor("tree", strategy, specs, intensity=intensity, surroundings=surroundings)
    ending = dice.choice(["drain", "drain", "drain", "cancel", "drain before run"])
    lasts_s = dice.choice([0.0, 0.01, 1.0, 2.3, 20.0, 120.0])
    end_s = trio.current_time() + lasts_s
    if ending == "drain before run":
        end_s = trio.current_time()
        tree.drain()

    async with trio.open_nursery() as nursery:
        outcome = []

        async def run():
            try:
                await tree.run()
            except RestartIntensityExceeded as climbed:
                outcome.append(climbed)
            outcome.append(trio.current_time())

        nursery.start_soon(run)
        await trio.sleep_until(end_s)
        record.add("asked", ending)
        if ending == "drain":
            tree.drain()
        if ending == "cancel":
            nursery.cancel_scope.cancel()
    took_s = trio.current_time() - end_s
    asked_at = record.events.index(next(event for event in record.events if event[1] == "asked"))
    cleanup_s = 0.2 * sum(what == "end" for _, what, _ in record.events[asked_at:])
    allowed_s = cleanup_s + (0 if ending == "cancel" else longest_drain_s(specs))
    return record, took_s, allowed_s, board, changes


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed{seed}-")
def test_a_random_tree_keeps_its_promises(seed):
    record, took_s, allowed_s, board, changes = run_seeded(seed, live_and_end, seed)
    assert record.running == set(), f"seed {seed}: still running"
    assert took_s <= allowed_s + EDGE_S, f"seed {seed}: took {took_s} s, allowed {allowed_s} s"
    for supervisor in {change.supervisor for change in changes}:
        starting = [c.child for c in changes if c.supervisor == supervisor and c.state is ChildState.STARTING]
        first_starts = list(dict.fromkeys(starting))
        assert first_starts == sorted(first_starts), f"seed {seed}: {supervisor} started {first_starts}"
    assert {health.state for health in board.snapshot()} <= {ChildState.FINISHED, ChildState.FAILED}, f"seed {seed}"


def test_one_seed_twice_is_the_same_run_twice():
    for seed in (3, 4):
        first, second = (run_seeded(seed, live_and_end, seed)[0].events for _ in range(2))
        assert first == second


class Polite:
    """Lives until drained, then takes a moment; may crash, but never while it drains."""

    def __init__(self, path, record, dice):
        self.path = path
        self.record = record
        self.drained = trio.Event()
        self.lives_s = dice.choice([0.01, 1, 7, math.inf])

    def drain(self):
        self.drained.set()

    async def run(self, *, task_status):
        self.record.enter(self.path)
        try:
            task_status.started()
            with trio.move_on_after(self.lives_s):
                await self.drained.wait()
            if not self.drained.is_set():
                raise BusDown("away")
            self.record.add("draining", self.path)
            await trio.sleep(0.5)
            self.record.add("drained", self.path)
        finally:
            self.record.leave(self.path)


async def drain_polite_tree(seed):
    dice, record = random.Random(seed), Record()
    record.zero_s = trio.current_time()

    def specs(path, depth):
        for index in range(dice.randint(1, 4)):
            inner_path = f"{path}/{index}"
            if depth and dice.random() < 0.4:
                inner, strategy = list(specs(inner_path, depth - 1)), dice.choice(list(Strategy))
                yield ChildSpec(
                    str(index), lambda s=strategy, i=inner: Supervisor("", s, i), drain_within_s=longest_drain_s(inner)
                )
            else:
                yield ChildSpec(str(index), lambda p=inner_path: Polite(p, record, dice))

    tree = Supervisor("tree", dice.choice(list(Strategy)), list(specs("tree", 2)), surroundings=Surroundings())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tree.run)
        await trio.sleep(dice.choice([0, 0.01, 0.05, 1, 1.05, 8.3, 40]))
        tree.drain()
    return record


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed{seed}-")
def test_every_child_of_a_random_tree_drains_once_and_after_all_to_its_right(seed):
    record = run_seeded(seed, drain_polite_tree, seed)
    drained = record.paths("drained")
    assert len(drained) == len(set(drained)), f"seed {seed}: {drained}"
    assert set(drained) == set(record.paths("start")), f"seed {seed}: not drained"
    assert drained == sorted(drained, reverse=True), f"seed {seed}: {drained}"
    draining = [path for _, what, path in record.events if what in {"draining", "drained"}]
    assert draining == [path for path in drained for _ in range(2)], f"seed {seed}: two at once"


async def pump(seed):
    """A source numbers items into a mailbox, a sink leases them into a list; both keep crashing until the drain."""
    dice = random.Random(seed)
    pipe, sent, got = Mailbox("pipe", dice.randint(1, 6), Overflow.BLOCK), [], []

    class Source:
        def __init__(self):
            self.drained = trio.Event()

        def drain(self):
            self.drained.set()

        async def run(self, *, task_status):
            task_status.started()
            while not self.drained.is_set():
                await pipe.room()
                pipe.offer(len(sent))
                sent.append(len(sent))
                await trio.sleep(dice.random() / 10)
                maybe_crash(dice)

    class Sink:
        def __init__(self):
            self.drained = trio.Event()

        def drain(self):
            self.drained.set()
            pipe.close()

        async def run(self, *, task_status):
            task_status.started()
            while not (self.drained.is_set() and pipe.statistics().used == 0):
                async with pipe.lease(dice.randint(1, 4)) as items:
                    await trio.sleep(dice.random() / 20)
                    if not self.drained.is_set():
                        maybe_crash(dice)
                    got.extend(items)

    specs = [ChildSpec("sink", Sink), ChildSpec("source", Source)]
    tree = Supervisor("tree", dice.choice(list(Strategy)), specs, intensity=Intensity(10**6, 1.0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tree.run)
        await trio.sleep(dice.random() * 30)
        tree.drain()
    return sent, got


def maybe_crash(dice):
    if dice.random() < 0.15:
        raise dice.choice([ValueError("bug"), BusDown("away")])


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"seed{seed}-")
def test_no_mailbox_item_is_lost_doubled_or_overtaken(seed):
    sent, got = run_seeded(seed, pump, seed)
    assert got == sent, f"seed {seed}"
