"""Real processes die, hang or misbehave for some seconds; everything that was sent is kept, archived once, in order."""

import signal

import pytest

from chaos import targets
from chaos.actors import crash_in_turn
from chaos.away import bus_away
from chaos.faults import misbehave
from chaos.hot import change_hot
from chaos.kills import kill_each
from chaos.revoking import take_from_live
from chaos.system import end_and_start_again

pytestmark = pytest.mark.slow

KILLED = targets.load("short_processes_killed", targets.Recovery)
CRASHED = targets.load("short_actors_crashed", targets.Crashes)
ENDED = targets.load("short_system_ended", targets.Restart)
FAULTS = targets.load("short_exchange_faults", targets.Faults)
AWAY = targets.load("short_nats_away", targets.BusAway)
REVOKING = targets.load("short_revoke_live", targets.Revoking)
HOT = targets.load("short_symbols_changed_hot", targets.HotChange)


async def test_each_killed_process_comes_back_and_nothing_is_lost_or_doubled(row, tmp_path):
    await kill_each(row, tmp_path, KILLED)


async def test_each_crashed_actor_comes_back_alone(row, tmp_path):
    await crash_in_turn(row, tmp_path, CRASHED, (0.0, 0.3))


async def test_a_killed_system_leaves_no_process_and_goes_on_where_it_was(row, tmp_path):
    await end_and_start_again(row, tmp_path, ENDED, signal.SIGKILL, signal.SIGTERM)


async def test_a_faulty_exchange_costs_only_what_is_recorded_as_a_gap(row, tmp_path):
    await misbehave(row, tmp_path, FAULTS)


async def test_what_was_received_while_the_bus_was_away_is_published_afterwards(row, tmp_path):
    await bus_away(row, tmp_path, AWAY)


async def test_symbols_change_while_everything_runs_and_no_other_frame_is_lost(row, tmp_path):
    await change_hot(row, tmp_path, HOT)


async def test_live_sockets_feel_at_once_what_is_taken_from_them(row, tmp_path):
    await take_from_live(row, tmp_path, REVOKING)
