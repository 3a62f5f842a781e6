"""What the raw data says while there is no connection: since when something is missing, and why, or that nothing is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from ssmd import metrics
from ssmd.actors.transport import Connection
from ssmd.clock import NS_PER_S
from ssmd.errors import ExchangeDown
from ssmd.protocols.coverage import Coverage, Gap
from ssmd.records import Configured, Connected, Disconnected, Unconnected
from ssmd.supervisor import Backoff, ChildSpec, Strategy, Supervisor
from tests.actors.fakes import BTC, HEARTBEAT, SOL, START_NS, Bench, FakeTransport
from tests.actors.test_session import change_at, gaps


class Unreachable(FakeTransport):
    """Refuses every attempt in these spans of seconds, each after having tried for three."""

    def __init__(self, *spans_s: tuple[float, float]) -> None:
        super().__init__()
        self.spans_s = spans_s
        self.refused = 0

    @asynccontextmanager
    async def connect(self, url: str, max_frame_bytes: int) -> AsyncIterator[Connection]:
        if any(start <= trio.current_time() < end for start, end in self.spans_s):
            await trio.sleep(3)
            self.refused += 1
            raise ExchangeDown("connect", f"{url}: refused")
        async with super().connect(url, max_frame_bytes) as connection:
            yield connection


async def run_supervised(bench: Bench, seconds: float, steps: dict[float, dict[str, object]]) -> None:
    """Run the session as its tree does: attempts at most ten seconds apart, beats from each far end."""
    spec = ChildSpec("session-0", bench.session, Backoff(first_s=1, cap_s=10, jitter=0))

    async def beat() -> None:
        while True:
            await trio.sleep(1)
            for far in bench.transport.opened:
                if not far.closed:
                    far.say(HEARTBEAT)

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(change_at, bench, steps)
            nursery.start_soon(beat)
            await Supervisor("sessions", Strategy.ONE_FOR_ONE, [spec]).run()


def spans(found: tuple[Gap, ...]) -> list[tuple[float, float, str, tuple[str, ...]]]:
    """Return gaps in seconds since the start; the end of the last one is a drain that nobody waits for."""
    seconds = [((gap.from_ns - START_NS) / NS_PER_S, gap.to_ns and (gap.to_ns - START_NS) / NS_PER_S) for gap in found]
    return [(*span, gap.reason, gap.symbols) for span, gap in zip(seconds, found, strict=True) if gap.to_ns is not None]


BOTH = ("BTCUSD", "ETHUSD")


async def test_an_exchange_that_cannot_be_reached_from_the_start_is_a_gap_with_that_reason(tmp_path, autojump_clock):
    """Mutant: note it when the attempt has failed, three seconds too late. Mutant: note each attempt."""
    bench = Bench(tmp_path / "kraken", Unreachable((0, 300)))
    await run_supervised(bench, 400, {})
    assert bench.transport.refused > 20
    (connected_s,) = bench.transport.opened_at_s
    ends = sorted({end for _, end, reason, _ in spans(await gaps(bench)) if reason == "unreachable"})
    assert connected_s <= ends[0] <= ends[-1] < connected_s + 2
    assert {gap[0] for gap in spans(await gaps(bench))} == {0}
    notes = await bench.notes()
    assert [type(note) for note in notes[:4]] == [Unconnected, Configured, Disconnected, Connected]
    records = await bench.records()
    assert notes[3].after.conn == records[0].conn
    assert sum(isinstance(note, Unconnected) for note in notes) == 1


async def test_while_it_is_unreachable_the_gap_is_open_and_the_symbols_are_wanted(tmp_path, autojump_clock):
    bench = Bench(tmp_path / "kraken", Unreachable((0, 300)))
    await run_supervised(bench, 100, {})
    coverage = Coverage()
    for record in await bench.records():
        coverage.note(record)
    assert coverage.gaps_between(0, 1 << 63) == (Gap(START_NS, None, "unreachable", BOTH),)
    assert coverage.wanted() == BOTH


async def test_a_first_connection_that_took_several_attempts_is_no_reconnect(tmp_path, autojump_clock):
    before = metrics.WEBSOCKET_RECONNECTS.labels("kraken")._value.get()
    bench = Bench(tmp_path / "kraken", Unreachable((0, 50)))
    await run_supervised(bench, 100, {})
    assert len(bench.transport.opened) == 1
    assert metrics.WEBSOCKET_RECONNECTS.labels("kraken")._value.get() == before


async def test_the_time_in_which_nobody_wanted_anything_is_no_gap(tmp_path, autojump_clock):
    """The exchange is lost at 100 s and away; disabled at 200 s, enabled an hour later.

    Mutant: leave the gap open until the next connection.
    """
    bench = Bench(tmp_path / "kraken", Unreachable((100, 1000)))

    async def lose() -> None:
        await trio.sleep(100)
        bench.transport.opened[0].fail("reset")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose)
        await run_supervised(bench, 4000, {200: {"enabled": False}, 3800: {"enabled": True}})
    (gap,) = spans(await gaps(bench))
    assert gap[0] == pytest.approx(100, abs=1.1)
    assert 200 <= gap[1] <= 215  # an attempt and a pause later at the most
    assert gap[2:] == ("reset", BOTH)
    assert sum(isinstance(note, Unconnected) for note in await bench.notes()) == 1  # a lost connection says enough
    assert len(bench.transport.opened) == 2


async def test_what_is_wanted_again_while_the_exchange_is_away_is_missing_from_then_on(tmp_path, autojump_clock):
    bench = Bench(tmp_path / "kraken", Unreachable((90, 1500)))
    steps = {100: {"enabled": False}, 1000: {"enabled": True}}
    await run_supervised(bench, 2000, steps)
    found = spans(await gaps(bench))
    assert {(gap[0], gap[2]) for gap in found} == {(1000, "unreachable")}
    assert all(1500 <= gap[1] < 1515 for gap in found)


async def test_a_symbol_added_or_removed_while_the_exchange_is_away_is_missing_only_while_it_is_wanted(
    tmp_path, autojump_clock
):
    """Mutant: note the absence only once."""
    bench = Bench(tmp_path / "kraken", Unreachable((0, 1000)))
    steps = {200: {"symbols": (BTC, SOL)}, 400: {"symbols": (BTC,)}}
    await run_supervised(bench, 1500, steps)
    found = {symbol: gap[:2] for gap in spans(await gaps(bench)) for symbol in gap[3]}
    assert {symbol: round(start, -1) for symbol, (start, _) in found.items()} == {
        "BTCUSD": 0,
        "ETHUSD": 0,
        "SOLUSD": pytest.approx(200, abs=15),
    }
    assert {symbol: end for symbol, (_, end) in found.items()} == {
        "BTCUSD": pytest.approx(1000, abs=15),
        "ETHUSD": pytest.approx(200, abs=15),
        "SOLUSD": pytest.approx(400, abs=15),
    }


async def test_a_process_that_ends_before_it_could_connect_says_that_it_ended(tmp_path, autojump_clock):
    bench = Bench(tmp_path / "kraken", Unreachable((0, 300)))
    session = bench.session()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        await trio.sleep(1)
        session.drain()
    assert await gaps(bench) == (Gap(START_NS, None, "drain", BOTH),)
