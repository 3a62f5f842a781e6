import io
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from ssmd.cli.live_view import FeedRow, _screen, feed_row, frames_per_s, size
from ssmd.cli.samples import Samples
from ssmd.environment import load as environment
from ssmd.settings import Settings
from ssmd.supervisor import ChildState
from ssmd.trees import System, UpSpec

HEALTHY = """\
ssmd_connector_connections_open{feed="kraken"} 1
ssmd_connector_symbols{feed="kraken",state="live"} 3
ssmd_connector_symbols{feed="kraken",state="pending"} 0
ssmd_connector_symbols{feed="kraken",state="refused"} 0
ssmd_connector_frames_received_total{feed="kraken"} 1000
ssmd_connector_lag_seconds{feed="kraken"} 0.012
ssmd_connector_gaps_total{feed="kraken",reason="reset"} 2
ssmd_connector_gaps_total{feed="kraken",reason="checksum"} 1
ssmd_connector_disconnects_total{feed="kraken",reason="reset"} 9
ssmd_connector_journal_backlog_bytes 1200000
ssmd_connector_frames_received_total{feed="other"} 77
"""


def row_of(text: str, at_s: float = 0.0) -> FeedRow:
    return feed_row("kraken", Samples.parse(text), at_s)


def test_a_healthy_feed_is_live_with_its_recorded_gaps():
    row = row_of(HEALTHY)
    assert row == FeedRow("kraken", 0.0, "live", 3, 0, 1000, 0.012, 3, 1_200_000)


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ('{feed="kraken",state="pending"} 1', "degraded"),
        ('{feed="kraken",state="refused"} 1', "degraded"),
        ('{feed="kraken",state="live"} 0', "degraded"),
        ('connections_open{feed="kraken"} 0', "waiting"),
    ],
)
def test_anything_less_is_said(changed, state):
    head = changed.rpartition(" ")[0]
    lines = [line for line in HEALTHY.splitlines() if head not in line]
    name = "ssmd_connector_" if changed.startswith("connections") else "ssmd_connector_symbols"
    assert row_of("\n".join([*lines, name + changed, ""])).state == state


def test_a_role_that_says_nothing_waits():
    assert not Samples()
    assert row_of("").state == "waiting"


def test_the_rate_is_over_the_time_that_passed_and_never_negative():
    """Mutant: divide by the refresh interval; a screen that was late by a second then showed twice the rate."""
    before = row_of(HEALTHY, at_s=10)
    assert frames_per_s(before, replace(before, frames=1600, at_s=12)) == 300
    assert frames_per_s(before, replace(before, frames=5, at_s=12)) == 0  # started anew
    assert frames_per_s(before, before) == 0
    assert frames_per_s(None, before) == 0


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1_200_000, "1.2 MB"), (5e12, "5000.0 GB"), (1000, "1.0 kB")]
)
def test_sizes_are_for_people(count, text):
    assert size(count) == text


async def test_the_screen_shows_each_feed_and_process(tmp_path: Path):
    system = System(UpSpec(environment.load("demo"), Settings(), tmp_path, simulator=()))
    system.board.record("up/connector:kraken", ChildState.RUNNING)
    system.board.record("up/archiver", ChildState.BACKOFF, "died")
    system.board.record("up/archiver", ChildState.STARTING)
    system.board.record("up/archiver", ChildState.STARTING)
    system.pids["archiver"] = 4711
    before = row_of(HEALTHY, at_s=10)
    row = replace(before, at_s=11, frames=1250, refused=1)
    out = io.StringIO()
    archiver = Samples.parse("ssmd_archiver_lag_seconds 33\n")
    Console(file=out, width=110).print(
        _screen(system, [row], {"kraken": before}, archiver, ("session-0 waits: no route",))
    )
    text = " ".join(out.getvalue().split())
    for shown in (
        "demo source: simulator",
        "kraken live",
        "3 (+1 refused)",
        "250",
        "12 ms",
        "1.2 MB",
        "33 s",
        "session-0 waits: no route",
    ):
        assert shown in text
    assert "archiver starting pid 4711 restarts 1" in text
