import random

import pytest

from ssmd.errors import BusDown, StoreDown
from ssmd.supervisor import Backoff, Intensity
from ssmd.supervisor.pacing import CrashLog, brief, is_outage


def test_the_pause_doubles_up_to_the_cap():
    backoff = Backoff(first_s=0.1, factor=2, cap_s=1.0, jitter=0)
    pauses_s = [backoff.delay_s(failures, random.Random(0)) for failures in range(1, 7)]
    assert pauses_s == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])


def test_the_pause_of_the_millionth_crash_is_the_cap_and_no_overflow():
    for factor in (1.0, 2.0, 1000.0):
        assert Backoff(factor=factor, jitter=0).delay_s(1_000_000, random.Random(0)) <= 30.0


def test_jitter_spreads_the_pause_below_the_cap_even_at_the_cap():
    rng = random.Random(1)
    pauses_s = [Backoff(jitter=0.2).delay_s(50, rng) for _ in range(200)]
    assert 24.0 <= min(pauses_s) < 25.0
    assert 29.0 < max(pauses_s) <= 30.0


@pytest.mark.parametrize("wrong", [{"factor": 0.5}, {"factor": 1e9}, {"jitter": 1.5}, {"jitter": -0.1}])
def test_a_backoff_that_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match="allowed"):
        Backoff(**wrong)


def test_one_crash_more_than_allowed_is_too_many():
    crashes = CrashLog(Intensity(restarts=2, within_s=10))
    assert [crashes.add(now_s) for now_s in (0, 1, 2)] == [False, False, True]


def test_crashes_older_than_the_period_do_not_count():
    crashes = CrashLog(Intensity(restarts=2, within_s=10))
    assert not any(crashes.add(now_s) for now_s in range(0, 1000, 5))


def test_a_group_is_an_outage_only_if_every_leaf_is_one():
    inner = ExceptionGroup("inner", [StoreDown("s"), BusDown("b")])
    assert is_outage(BusDown("b"))
    assert is_outage(ExceptionGroup("all away", [inner, BusDown("b")]))
    assert not is_outage(ExceptionGroup("mixed", [inner, ValueError("bug")]))
    assert not is_outage(ValueError("bug"))


def test_the_text_of_a_group_is_its_leaves():
    assert brief(ExceptionGroup("g", [ValueError("a"), ExceptionGroup("h", [KeyError("b")])])) == (
        "ValueError('a'); KeyError('b')"
    )
