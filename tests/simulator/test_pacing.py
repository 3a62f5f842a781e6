import pytest
import trio

from ssmd.simulator.gate import Gate
from ssmd.simulator.pacing import Pace


async def test_late_wake_ups_do_not_add_up_to_drift(autojump_clock):
    pace = Pace(50, trio.current_time())
    start_s, sent = trio.current_time(), 0
    while sent < 5000:
        await trio.sleep_until(pace.next_s() + 0.007)
        due = pace.due(trio.current_time())
        pace.done(due)
        sent += due
    assert trio.current_time() - start_s == pytest.approx(100, abs=0.05)


async def test_a_wake_up_on_time_finds_exactly_one_frame_due(autojump_clock):
    pace = Pace(333, trio.current_time())
    for _ in range(1000):
        await trio.sleep_until(pace.next_s())
        assert pace.due(trio.current_time()) == 1
        pace.done(1)


def test_after_a_long_sleep_only_a_second_is_caught_up():
    pace = Pace(100, now_s=0)
    assert pace.due(3600) == 101
    pace.done(101)
    assert pace.due(3600) == 0
    assert pace.due(3600.5) == 50


def test_the_150th_connect_in_ten_minutes_passes_and_the_next_bans_for_ten():
    gate = Gate(150, 600)
    assert all(gate.knock("a", float(second)) is None for second in range(150))
    refused = gate.knock("a", 150)
    assert refused is not None
    assert (refused.status, refused.retry_after_s) == (429, 600)
    assert gate.knock("a", 749) is not None
    assert gate.knock("b", 749) is None
    assert gate.knock("a", 751) is None
    assert gate.limit_broken == 2


def test_four_connects_a_minute_never_pass_the_limit():
    gate = Gate(150, 600)
    assert all(gate.knock("a", 15.0 * number) is None for number in range(1000))
