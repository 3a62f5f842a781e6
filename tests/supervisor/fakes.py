"""Actors that do what a test tells them, and a log of what they did when."""

from collections.abc import Awaitable, Callable

import trio
from trio.testing import MockClock

from ssmd.supervisor import Backoff, ChildSpec

STEADY = Backoff(jitter=0.0)


class Log:
    """What happened, in order: `("start", "publisher")`, with the virtual time since the first look."""

    def __init__(self):
        self.events = []
        self.times_s = []
        self._zero_s = None

    def add(self, what, name):
        if self._zero_s is None:
            self._zero_s = trio.current_time()
        self.events.append((what, name))
        self.times_s.append(trio.current_time() - self._zero_s)

    def names(self, what):
        return [name for event, name in self.events if event == what]

    def at_s(self, what, name):
        return [time_s for event, time_s in zip(self.events, self.times_s, strict=True) if event == (what, name)]


Work = Callable[["Fake"], Awaitable[None]]


async def until_drained(fake):
    await fake.drained.wait()


class Fake:
    """Runs `work`, which may look at `drained` and at how many runs of that name came before (`run_no`, from 1)."""

    def __init__(self, name, log, work=until_drained, *, says_started=True):
        self.name = name
        self.log = log
        self.work = work
        self.says_started = says_started
        self.drained = trio.Event()
        self.run_no = 0

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):
        self.log.add("start", self.name)
        self.run_no = self.log.names("start").count(self.name)
        try:
            if self.says_started:
                task_status.started()
            await self.work(self)
        finally:
            self.log.add("end", self.name)

    def drain(self):
        self.log.add("drain", self.name)
        self.drained.set()


def child(name, log, work=until_drained, *, says_started=True, **spec):
    spec.setdefault("backoff", STEADY)
    return ChildSpec(name, lambda: Fake(name, log, work, says_started=says_started), **spec)


def crash_on(*runs, after_s=1.0, error=ValueError):
    """Work that raises on these runs and else works until drained."""

    async def work(fake):
        if fake.run_no in runs:
            await trio.sleep(after_s)
            raise error(f"run {fake.run_no}")
        await fake.drained.wait()

    return work


def crash_always(after_s=0.0, error=ValueError):
    async def work(fake):
        await trio.sleep(after_s)
        raise error(f"run {fake.run_no}")

    return work


async def hang(fake):
    await trio.sleep_forever()


async def finish(fake):
    await trio.sleep(1)


def run_seeded(seed, main, *args):
    """Run on a virtual clock with the scheduler's own dice seeded: private names, guarded by the replay test."""
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True
    trio._core._run._r.seed(seed)
    try:
        return trio.run(main, *args, clock=MockClock(autojump_threshold=0))
    finally:
        trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = False
