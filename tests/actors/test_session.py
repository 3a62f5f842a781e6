import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from msgspec.structs import replace

from ssmd import metrics
from ssmd.actors.report import RefusedSymbol
from ssmd.actors.session import SHOW_EVERY_S
from ssmd.actors.transport import Connection
from ssmd.errors import ExchangeDown
from ssmd.protocols.coverage import Coverage, Gap
from ssmd.protocols.decoder import Desync
from ssmd.records import Configured, Connected, Disconnected, FeedConfig, Live, Missed, Refused, Resync
from ssmd.supervisor import Backoff, ChildSpec, Strategy, Supervisor
from tests.actors.fakes import BTC, ETH, HEARTBEAT, SOL, Bench, FakeExchange, FakeTransport, acknowledge, never


@pytest.fixture
def far() -> FakeExchange:
    return FakeExchange()


@pytest.fixture
def bench(tmp_path, far) -> Bench:
    return Bench(tmp_path / "kraken", FakeTransport(far))


def leaf(group: BaseExceptionGroup) -> BaseException:
    error = group
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


async def run_until_down(bench: Bench) -> ExchangeDown:
    with pytest.raises(BaseExceptionGroup) as caught:
        await bench.session().run()
    error = leaf(caught.value)
    assert isinstance(error, ExchangeDown)
    return error


async def run_for(bench: Bench, seconds: float, far: FakeExchange) -> None:
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.heart)
            await bench.session().run()


async def test_the_first_records_tell_what_was_wanted_and_the_frames_follow_verbatim(bench, far, autojump_clock):
    far.say('{"channel":"status",  "data":[{"system":"online"}]}')
    far.fail("closed")
    await run_until_down(bench)
    records = await bench.records()
    assert [type(record.note) for record in records[:2]] == [Connected, Configured]
    assert records[2].frame == '{"channel":"status",  "data":[{"system":"online"}]}'
    assert [record.seq for record in records] == list(range(len(records)))


async def test_a_socket_without_any_frame_is_cut_after_five_seconds(bench, far, autojump_clock):
    far.answer = never
    error = await run_until_down(bench)
    assert error.reason == "silent"
    assert trio.current_time() == pytest.approx(5, abs=0.1)
    assert isinstance((await bench.notes())[-1], Disconnected)


async def test_heartbeats_keep_a_quiet_connection(bench, far, autojump_clock):
    await run_for(bench, 120, far)
    assert trio.current_time() == pytest.approx(120)
    assert len(bench.transport.opened) == 1


async def test_heartbeats_without_any_ack_are_not_enough(bench, far, autojump_clock):
    far.answer = never

    async def run_with_heart() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.heart)
            await bench.session().run()

    with pytest.raises(BaseExceptionGroup) as caught:
        await run_with_heart()
    assert leaf(caught.value).reason == "no_ack"
    assert trio.current_time() == pytest.approx(10, abs=1)


async def test_symbols_are_noted_live_once_every_subscription_is_acknowledged(bench, far, autojump_clock):
    await run_for(bench, 3, far)
    lives = [note.symbols for note in await bench.notes() if isinstance(note, Live)]
    assert lives == [("BTCUSD",), ("ETHUSD",)]


NOT_SUPPORTED = "Currency pair not supported ETH/USD"


def refuse_eth(message: dict) -> list[str]:
    error = {"error": NOT_SUPPORTED, "method": "subscribe", "success": False}
    if message["method"] == "ping" or "ETH/USD" not in message["params"]["symbol"]:
        return acknowledge(message)
    rest = {**message, "params": {**message["params"], "symbol": ["BTC/USD"]}}
    return [json.dumps({**error, "symbol": "ETH/USD", "req_id": message["req_id"]}), *acknowledge(rest)]


async def test_one_refused_symbol_leaves_the_rest(bench, far, autojump_clock):
    far.answer = refuse_eth
    await run_for(bench, 60, far)
    notes = await bench.notes()
    assert [note.symbols for note in notes if isinstance(note, Live)] == [("BTCUSD",)]
    assert {note.symbol for note in notes if isinstance(note, Refused)} == {"ETHUSD"}
    assert len(bench.transport.opened) == 1


async def test_a_hot_change_asks_only_for_the_difference_on_the_open_connection(bench, far, autojump_clock):
    async def change() -> None:
        await trio.sleep(5)
        far.received.clear()
        bench.config.set(replace(bench.config.get(), symbols=(BTC, SOL), revision=7))

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.heart)
            nursery.start_soon(change)
            await bench.session().run()
    asked = {(m["method"], *m["params"]["symbol"]) for m in far.received if m["method"] != "ping"}
    assert asked == {("unsubscribe", "ETH/USD"), ("subscribe", "SOL/USD")}
    assert len(bench.transport.opened) == 1
    assert [n.config.revision for n in await bench.notes() if isinstance(n, Configured)] == [0, 7]


async def test_a_desynchronised_book_is_asked_for_again_alone(bench, far, autojump_clock):
    conn = "0"

    async def desync() -> None:
        nonlocal conn
        await trio.sleep(5)
        far.received.clear()
        conn = next(r.conn for r in await bench.records())
        bench.wishes.offer(Desync(conn, "BTCUSD", "BTC/USD", "checksum", 123))
        bench.wishes.offer(Desync("older-0-1", "ETHUSD", "ETH/USD", "checksum", 100))

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.heart)
            nursery.start_soon(desync)
            await bench.session().run()
    asked = [(m["method"], m["params"]["channel"], *m["params"]["symbol"]) for m in far.received]
    assert asked == [("unsubscribe", "book", "BTC/USD"), ("subscribe", "book", "BTC/USD")]
    notes = await bench.notes()
    assert [note for note in notes if isinstance(note, Resync)] == [Resync("BTCUSD", "checksum", 123)]
    assert notes.index(Resync("BTCUSD", "checksum", 123)) < len(notes) - 1 - notes[::-1].index(Live(("BTCUSD",)))


async def test_drain_closes_the_connection_and_notes_why(bench, far, autojump_clock):
    session = bench.session()

    async def drain() -> None:
        await trio.sleep(3)
        session.drain()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far.heart)
        nursery.start_soon(drain)
        await session.run()
    assert (await bench.notes())[-1].reason == "drain"
    assert far.closed


async def test_a_session_drained_before_it_runs_opens_nothing(bench, autojump_clock):
    session = bench.session()
    session.drain()
    await session.run()
    assert bench.transport.opened == []


async def test_a_disabled_feed_opens_nothing_until_it_is_enabled(bench, far, autojump_clock):
    bench.config.set(replace(bench.config.get(), enabled=False))

    async def enable() -> None:
        await trio.sleep(50)
        bench.config.set(replace(bench.config.get(), enabled=True))

    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enable)
            nursery.start_soon(far.heart)
            await bench.session().run()
    assert bench.transport.opened_at_s == [pytest.approx(50, abs=0.1)]


async def test_reconnects_are_paced_never_give_up_and_name_their_predecessor(tmp_path, autojump_clock):
    class Refusing(FakeExchange):
        async def receive(self) -> str:
            raise ExchangeDown("reset")

    transport = FakeTransport(*(Refusing() for _ in range(30)))
    bench = Bench(tmp_path / "kraken", transport)
    spec = ChildSpec("session-0", bench.session, Backoff(first_s=1, cap_s=30, jitter=0.2, forgive_after_s=30))
    with trio.move_on_after(900):
        await Supervisor("sessions", Strategy.ONE_FOR_ONE, [spec]).run()
    assert len(transport.opened) >= 30
    waits_s = [b - a for a, b in pairwise(transport.opened_at_s)]
    assert max(waits_s[:30]) <= 36 + 0.1
    connected = [(r.conn, r.note.after) for r in await bench.records() if isinstance(r.note, Connected)]
    for (conn, _), (_, after) in pairwise(connected):
        assert after.conn == conn


async def test_maintenance_holds_the_next_connection_back(bench, far, autojump_clock):
    far.say('{"channel":"status","type":"update","data":[{"system":"maintenance"}]}')
    far.fail("closed")
    await run_until_down(bench)
    began_s = trio.current_time()
    await bench.budget.take()
    assert trio.current_time() - began_s == pytest.approx(5, abs=0.1)


async def test_a_garbage_frame_keeps_the_socket(bench, far, autojump_clock):
    far.say("not json \n at all")
    await run_for(bench, 20, far)
    assert len(bench.transport.opened) == 1
    assert [r.text for r in await bench.records() if r.text is not None] == ["not json \n at all"]


async def test_a_crash_leaves_a_note_and_nothing_in_the_gauges(bench, far, autojump_clock):
    open_before = gauge(metrics.CONNECTED)
    far.answer = lambda _message: 1 / 0
    with pytest.raises(BaseExceptionGroup):
        await bench.session().run()
    assert (await bench.notes())[-1].reason == "crash"
    assert gauge(metrics.CONNECTED) == open_before


async def test_a_session_that_breaks_while_it_opens_is_noted_and_the_next_one_goes_on(bench, far, autojump_clock):
    """Mutant: open outside of the try; the crash then left the connection counted as open for good."""
    open_before = gauge(metrics.CONNECTED)
    bench.config.set(None)  # a bug: the session will break on it
    with pytest.raises(AttributeError):
        await bench.session().run()
    assert gauge(metrics.CONNECTED) == open_before
    bench.config.set(FeedConfig(symbols=(BTC, ETH)))
    await run_for(bench, 2, far)
    assert HEARTBEAT in [r.frame for r in await bench.records()]


def gauge(metric, *labels: str) -> float:
    return metric.labels("kraken", *labels)._value.get()


async def test_the_symbol_gauges_count_this_connection_only_while_it_is_open(bench, far, autojump_clock):
    """Mutants: set() instead of inc(), and no zero at the end: shards hid each other, a dead feed looked live."""
    before = [gauge(metrics.SYMBOLS, state) for state in ("live", "pending", "refused")]
    metrics.SYMBOLS.labels("kraken", "live").inc(5)  # another shard's
    seen = []

    async def look() -> None:
        await trio.sleep(3)
        seen.append(gauge(metrics.SYMBOLS, "live") - before[0])

    with trio.move_on_after(4):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.heart)
            nursery.start_soon(look)
            await bench.session().run()
    assert seen == [5 + 2]
    metrics.SYMBOLS.labels("kraken", "live").dec(5)
    assert [gauge(metrics.SYMBOLS, state) for state in ("live", "pending", "refused")] == before


async def test_a_wish_from_an_earlier_connection_becomes_a_gap_not_a_resync(bench, far, autojump_clock):
    bench.wishes.offer(Desync("older-0-1", "ETHUSD", "ETH/USD", "checksum", 100))
    await run_for(bench, 2, far)
    (missed,) = [note for note in await bench.notes() if isinstance(note, Missed)]
    assert (missed.symbol, missed.reason, missed.from_ns) == ("ETHUSD", "checksum", 100)


async def test_a_renamed_symbol_is_live_under_its_new_name(bench, far, autojump_clock):
    async def rename() -> None:
        await trio.sleep(5)
        renamed = replace(BTC, symbol="XBTUSD")
        bench.config.set(replace(bench.config.get(), symbols=(renamed, ETH), revision=2))

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.heart)
            nursery.start_soon(rename)
            await bench.session().run()
    assert Live(("XBTUSD",)) in await bench.notes()


async def test_another_depth_is_a_gap_of_the_book_until_it_is_live_again(bench, far, autojump_clock):
    async def deepen() -> None:
        await trio.sleep(5)
        bench.config.set(replace(bench.config.get(), book_depth=100, revision=2))

    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.heart)
            nursery.start_soon(deepen)
            await bench.session().run()
    notes = await bench.notes()
    assert {note.symbol for note in notes if isinstance(note, Resync)} == {"BTCUSD", "ETHUSD"}
    at = next(i for i, note in enumerate(notes) if isinstance(note, Resync))
    assert {symbol for note in notes[at:] if isinstance(note, Live) for symbol in note.symbols} == {"BTCUSD", "ETHUSD"}


# hot changes -------------------------------------------------------------------------------------------------


async def change_at(bench: Bench, steps: dict[float, dict[str, object]]) -> None:
    """Set fields of the configuration at given times; each step is one revision."""
    for revision, (at_s, fields) in enumerate(steps.items(), 1):
        await trio.sleep_until(at_s)
        bench.config.set(replace(bench.config.get(), revision=revision, **fields))


async def run_changed(bench: Bench, seconds: float, steps: dict[float, dict[str, object]], *also) -> None:
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(change_at, bench, steps)
            for each in also:
                nursery.start_soon(each)
            await bench.session().run()


async def gaps(bench: Bench) -> tuple[Gap, ...]:
    coverage = Coverage()
    for record in await bench.records():
        coverage.note(record)
    return coverage.gaps_between(0, 1 << 63)


async def test_a_hot_change_makes_no_gap_for_any_symbol(bench, far, autojump_clock):
    steps = {5: {"symbols": (BTC, SOL)}, 8: {"symbols": (BTC, SOL, ETH)}, 11: {"symbols": (BTC,)}}
    seen = []

    async def look() -> None:
        await trio.sleep(14)
        seen.append(await gaps(bench))

    await run_changed(bench, 15, steps, far.heart, look)
    assert seen == [()]
    assert len(bench.transport.opened) == 1


async def test_a_feed_disabled_hot_closes_its_connection_stays_ready_and_comes_back_when_enabled(
    bench, far, autojump_clock
):
    """Mutant: end by an outage. It was a restart with backoff, and not ready until that was over."""
    ready = []

    async def look() -> None:
        for at_s in (4, 5.01, 9, 10.5, 14):
            await trio.sleep_until(at_s)
            ready.append((at_s, bench.board.ready, sum(not each.closed for each in bench.transport.opened)))

    second = FakeExchange()
    bench.transport._next.append(second)
    await run_changed(bench, 15, {5: {"enabled": False}, 10: {"enabled": True}}, far.heart, second.heart, look)
    assert ready == [(4, True, 1), (5.01, True, 0), (9, True, 0), (10.5, True, 1), (14, True, 1)]
    notes = await bench.notes()
    ends = [note.reason for note in notes if isinstance(note, Disconnected)]
    assert ends[0] == "not_wanted"
    opened = [note.after for note in notes if isinstance(note, Connected)]
    assert opened[0] is None
    assert opened[1] is not None
    at = next(i for i, note in enumerate(notes) if isinstance(note, Disconnected))
    assert notes[at - 1] == Configured(FeedConfig((), revision=1, enabled=False))
    assert [gap.reason for gap in await gaps(bench)] == [ends[-1]], "only the end of the test is a gap"


class SlowlyClosing(FakeTransport):
    @asynccontextmanager
    async def connect(self, url: str, max_frame_bytes: int) -> AsyncIterator[Connection]:
        async with super().connect(url, max_frame_bytes) as connection:
            try:
                yield connection
            finally:
                await trio.sleep(1)


async def test_a_feed_disabled_hot_is_ready_also_while_its_connection_closes(tmp_path, far, autojump_clock):
    bench = Bench(tmp_path / "kraken", SlowlyClosing(far))
    ready = []

    async def look() -> None:
        for at_s in (4.9, 5.5, 6.5):
            await trio.sleep_until(at_s)
            ready.append((bench.board.ready, far.closed))

    await run_changed(bench, 7, {5: {"enabled": False}}, far.heart, look)
    assert ready == [(True, False), (True, False), (True, True)]


async def test_a_feed_disabled_while_it_waits_for_its_connection_does_not_keep_it(bench, far, autojump_clock):
    """Mutant: wait for the next configuration first; the connection then stayed open with nothing on it."""
    bench.budget.hold(5)
    await run_changed(bench, 20, {2: {"enabled": False}}, far.heart)
    assert bench.transport.opened_at_s == [pytest.approx(5, abs=0.1)]
    assert far.closed
    assert bench.board.ready


async def test_a_drain_while_disabled_ends_it(bench, autojump_clock):
    bench.config.set(replace(bench.config.get(), enabled=False))
    session = bench.session()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        await trio.sleep(5)
        session.drain()
    assert bench.transport.opened == []


# what it tells of itself -------------------------------------------------------------------------------------


async def test_a_revision_is_in_force_when_the_session_has_applied_it_not_when_it_was_taken(bench, far, autojump_clock):
    """Mutant: take the revision from the configuration cell."""
    bench.budget.hold(5)
    seen = []

    async def look() -> None:
        for at_s in (4, 6):
            await trio.sleep_until(at_s)
            seen.append(bench.standing.cell.get().in_force.revision)

    await run_changed(bench, 7, {2: {"symbols": (SOL,)}}, far.heart, look)
    assert seen == [0, 1]


async def test_it_tells_which_symbols_are_live_pending_and_refused(bench, far, autojump_clock):
    far.answer = refuse_eth
    seen = []

    async def look() -> None:
        for at_s in (0.15, 6):
            await trio.sleep_until(at_s)
            (slot,) = bench.standing.cell.get().slots
            seen.append((slot.live, slot.pending, slot.refused))

    await run_changed(bench, 7, {5: {"symbols": (BTC, ETH, SOL)}}, far.heart, look)
    refused = (RefusedSymbol("ETHUSD", NOT_SUPPORTED),)
    assert seen == [((), ("BTCUSD",), refused), (("BTCUSD", "SOLUSD"), (), refused)]


async def test_after_a_lost_connection_everything_is_pending_under_the_revision_it_had(bench, far, autojump_clock):
    async def lose() -> None:
        await trio.sleep(5)
        far.fail("reset")

    with pytest.raises(BaseExceptionGroup):
        await run_changed(bench, 10, {3: {"symbols": (BTC, SOL)}}, far.heart, lose)
    (slot,) = bench.standing.cell.get().slots
    assert (slot.live, slot.pending, slot.config.revision) == ((), ("BTCUSD", "SOLUSD"), 1)


async def test_a_disabled_feed_runs_each_new_revision_at_once_with_nothing_in_it(bench, far, autojump_clock):
    steps = {2: {"enabled": False}, 4: {"symbols": (SOL,)}}
    await run_changed(bench, 5, steps, far.heart)
    (slot,) = bench.standing.cell.get().slots
    assert (slot.config.revision, slot.live, slot.pending) == (2, (), ())


async def test_a_symbol_refused_again_for_the_same_reason_is_refused_not_pending(bench, far, autojump_clock):
    """Mutant: tell only what the subscriptions call a change; a repeated refusal is none."""

    def answer(message: dict) -> list[str]:
        if message["method"] == "unsubscribe" and trio.current_time() < 6:
            return []  # lost, so that the symbol is wanted again while it still leaves
        return refuse_eth(message) if message["method"] == "subscribe" else acknowledge(message)

    seen = []

    async def look() -> None:
        for at_s in (4, 10, 30):
            await trio.sleep_until(at_s)
            (slot,) = bench.standing.cell.get().slots
            seen.append((slot.pending, slot.refused))

    far.answer = answer
    await run_changed(bench, 31, {5: {"symbols": (BTC,)}, 5.05: {"symbols": (BTC, ETH)}}, far.heart, look)
    refused = ((), (RefusedSymbol("ETHUSD", NOT_SUPPORTED),))
    assert seen == [refused, (("ETHUSD",), ()), refused]


async def test_frames_and_answers_that_move_no_symbol_tell_nothing(bench, far, autojump_clock):
    """Mutant: tell after each answer; after a connect there are thousands."""
    calls = []
    tell = bench.standing.tell
    bench.standing.tell = lambda slot, state: calls.append((trio.current_time(), state)) or tell(slot, state)
    await run_changed(bench, 60, {}, far.heart)
    times_s = [at_s for at_s, _ in calls]
    assert [len(state.live) for _, state in calls][-2:] == [2, 0]  # the last one is the end
    assert times_s[-2] < 2
    assert all(later - earlier > SHOW_EVERY_S - 0.001 for earlier, later in pairwise(times_s[:-1]))


async def test_a_removed_symbol_leaves_until_the_exchange_has_confirmed_it(bench, far, autojump_clock):
    def answer(message: dict) -> list[str]:
        return [] if message["method"] == "unsubscribe" and trio.current_time() < 8 else acknowledge(message)

    seen = []

    async def look() -> None:
        for at_s in (4, 7, 40):
            await trio.sleep_until(at_s)
            seen.append(bench.standing.cell.get().slots[0].leaving)

    far.answer = answer
    await run_changed(bench, 41, {5: {"symbols": (BTC,)}}, far.heart, look)
    assert seen == [(), ("ETHUSD",), ()]
