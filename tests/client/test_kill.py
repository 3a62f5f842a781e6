"""A gateway that is killed, with real processes: who listens to it misses nothing and gets nothing twice."""

import itertools
import json
import os
import signal
from functools import partial

import pytest
import trio

from ssmd.client import Client, Connection, Patience, Quote, Trade
from ssmd.client.times import text_of
from tests.cli.commands import started, until_ready

pytestmark = pytest.mark.slow

TYPES = ("trade", "quote")


def place(event) -> tuple[int, str, int, int]:
    _feed, conn, seq, n = event.id.split("/")
    return (event.received_ns, conn, int(seq), int(n))


def kill_gateway(data_dir) -> int:
    pid = json.loads((data_dir / "run/processes.json").read_text())["gateway"]
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_gateway_killed_twice_loses_and_repeats_nothing(tmp_path):
    data_dir = tmp_path / "data"
    with started(tmp_path, "up", "--demo", "--data-dir", str(data_dir), "--simulate=--rate 300") as process:
        trio.run(partial(until_ready, process, data_dir))
        with Client(data_dir=data_dir, patience=Patience(tries=30, cap_s=0.5)) as client:
            heard, states, killed = listen(client, data_dir)
            assert states == ["lost", "resumed"] * 2
            assert len(set(killed)) == 2
            span = (text_of(heard[0].received_ns), text_of(heard[-1].received_ns + 1))
            kept = [*client.trades("BTCUSD", *span), *client.quotes("BTCUSD", *span)]
    first, last = place(heard[0]), place(heard[-1])
    wanted = sorted((event for event in kept if first <= place(event) <= last), key=place)
    assert [event.id for event in heard] == [event.id for event in wanted]
    assert [one.pos for one in heard] == sorted({one.pos for one in heard})


def listen(client, data_dir) -> tuple[list[Trade | Quote], list[str], list[int]]:
    heard, states, killed = [], [], []
    due = itertools.count(40, 80)
    kill_at = next(due)
    for message in client.subscribe("BTCUSD", types=TYPES):
        if isinstance(message, Connection):
            states.append(message.state)
        elif isinstance(message, (Trade, Quote)):
            heard.append(message)
        if len(heard) >= kill_at and len(states) == 2 * len(killed):
            if len(killed) == 2:
                break
            killed.append(kill_gateway(data_dir))
            kill_at = next(due)
    return heard, states, killed
