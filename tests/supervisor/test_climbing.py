import pytest
import trio

from ssmd.errors import BusDown, Outage, RestartIntensityExceeded
from ssmd.supervisor import (
    Backoff,
    ChildSpec,
    HealthBoard,
    Intensity,
    Strategy,
    Supervisor,
    Surroundings,
)

from .fakes import STEADY, Log, child, crash_always, crash_on, hang

LENIENT = Intensity(restarts=10_000, within_s=60)


def tree(strategy, *children, intensity=LENIENT, **surroundings):
    return Supervisor("tree", strategy, children, intensity=intensity, surroundings=Surroundings(**surroundings))


async def run_for(seconds, supervisor):
    with trio.move_on_after(seconds):
        await supervisor.run()


async def test_backoff_doubles(autojump_clock):
    log = Log()
    await run_for(3, tree(Strategy.ONE_FOR_ONE, child("a", log, crash_always())))
    assert log.at_s("start", "a") == pytest.approx([0, 0.1, 0.3, 0.7, 1.5])


async def test_backoff_is_forgiven_after_a_long_run(autojump_clock):
    log = Log()
    forgiving = Backoff(first_s=1, jitter=0, forgive_after_s=10)

    async def work(fake):
        await trio.sleep(10 if fake.run_no == 3 else 0)
        raise ValueError("again")

    await run_for(16, tree(Strategy.ONE_FOR_ONE, child("a", log, work, backoff=forgiving)))
    assert log.at_s("start", "a") == pytest.approx([0, 1, 3, 14])


async def test_time_before_started_does_not_forgive(autojump_clock):
    log = Log()
    forgiving = Backoff(first_s=1, jitter=0, forgive_after_s=10)
    slow_failure = child("a", log, crash_always(after_s=20), says_started=False, backoff=forgiving)
    await run_for(70, tree(Strategy.ONE_FOR_ONE, slow_failure))
    assert log.at_s("start", "a") == pytest.approx([0, 21, 43, 67])


@pytest.mark.parametrize("strategy", Strategy)
async def test_the_sixth_quick_bug_climbs_with_the_bug_as_its_cause(autojump_clock, strategy):
    log = Log()
    group = tree(
        strategy, child("a", log, crash_always()), child("b", log), intensity=Intensity(restarts=5, within_s=60)
    )
    with pytest.raises(RestartIntensityExceeded, match="tree: more than 5 crashes within 60 s") as climbing:
        await group.run()
    assert repr(climbing.value.__cause__) == "ValueError('run 6')"
    assert log.names("start").count("a") == 6


async def test_an_hour_of_outage_neither_climbs_nor_overflows(autojump_clock):
    # Mutant: `factor ** (failures - 1)` without MAX_EXPONENT; the 1025th crash raises OverflowError.
    log = Log()
    group = tree(
        Strategy.ONE_FOR_ONE,
        child("a", log, crash_always(error=BusDown), backoff=Backoff(cap_s=3.0)),
        intensity=Intensity(restarts=1, within_s=60),
    )
    await run_for(3600, group)
    assert 1200 < len(log.names("start")) < 1500


async def test_a_group_of_outages_does_not_count(autojump_clock):
    log = Log()
    away = ExceptionGroup("away", [Outage("one"), ExceptionGroup("more", [BusDown("two")])])
    group = tree(
        Strategy.ONE_FOR_ONE,
        child("a", log, crash_always(error=lambda _: away)),
        intensity=Intensity(restarts=0, within_s=60),
    )
    await run_for(10, group)
    assert len(log.names("start")) == 7


async def test_a_group_with_one_bug_among_outages_counts(autojump_clock):
    error = ExceptionGroup("mixed", [BusDown("away"), ValueError("bug")])
    group = tree(
        Strategy.ONE_FOR_ONE,
        child("a", Log(), crash_always(error=lambda _: error)),
        intensity=Intensity(restarts=2, within_s=60),
    )
    with pytest.raises(RestartIntensityExceeded, match="ValueError"):
        await group.run()


async def test_slow_bugs_never_climb(autojump_clock):
    log = Log()
    group = tree(
        Strategy.ONE_FOR_ONE, child("a", log, crash_always(after_s=61)), intensity=Intensity(restarts=1, within_s=60)
    )
    await run_for(3600, group)
    assert len(log.names("start")) == 59


async def test_too_many_crashes_stop_the_others_from_last_to_first(autojump_clock):
    log = Log()
    names = "bcdef"
    group = tree(
        Strategy.ONE_FOR_ONE,
        child("a", log, crash_always(after_s=1)),
        *(child(name, log, hang) for name in names),
        intensity=Intensity(restarts=0, within_s=60),
    )
    with pytest.raises(RestartIntensityExceeded):
        await group.run()
    assert log.names("end") == ["a", *reversed(names)]
    assert log.names("drain") == []


async def test_too_many_crashes_during_the_boot_start_no_further_child(autojump_clock):
    log = Log()
    group = tree(
        Strategy.ONE_FOR_ONE,
        child("a", log, crash_always(after_s=1)),
        child("b", log, hang, says_started=False),
        child("c", log),
        intensity=Intensity(restarts=0, within_s=60),
    )
    with pytest.raises(RestartIntensityExceeded):
        await group.run()
    assert log.names("start") == ["a", "b"]
    assert max(log.times_s) == 1.0


async def test_no_child_in_backoff_starts_again_once_the_supervisor_gives_up(autojump_clock):
    # Mutant: `while True` in _retry; the end wakes a from its backoff while b still cleans up, and a starts.
    log = Log()

    async def slow_to_end(fake):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 3):
                await trio.sleep_forever()

    group = tree(
        Strategy.ONE_FOR_ONE,
        child("a", log, crash_always(error=BusDown), backoff=Backoff(first_s=20, jitter=0)),
        child("b", log, slow_to_end),
        child("c", log, crash_always(after_s=1)),
        intensity=Intensity(restarts=0, within_s=60),
    )
    with pytest.raises(RestartIntensityExceeded):
        await group.run()
    assert log.names("start") == ["a", "b", "c"]
    assert log.at_s("end", "b") == [4.0]


async def test_a_crash_climbs_through_a_nested_tree_and_restarts_only_the_branch(autojump_clock):
    log, board = Log(), HealthBoard()
    strict = Intensity(restarts=1, within_s=60)

    def branch():
        crashing = child("leaf", log, crash_on(1, 2, after_s=1))
        return Supervisor("branch", Strategy.ONE_FOR_ONE, [crashing], intensity=strict)

    group = tree(Strategy.ONE_FOR_ONE, child("other", log), ChildSpec("branch", branch, backoff=STEADY), board=board)
    await run_for(30, group)
    assert log.names("start") == ["other", "leaf", "leaf", "leaf"]
    shown = {health.path: (health.restarts, health.error) for health in board.snapshot()}
    assert shown["tree/branch"][0] == 1
    assert "RestartIntensityExceeded" in shown["tree/branch"][1]
    assert shown["tree/branch/leaf"] == (2, "ValueError('run 2')")
