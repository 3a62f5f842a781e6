import json
from itertools import pairwise

import pytest
import trio
from msgspec.structs import replace

from ssmd import metrics
from ssmd.errors import ExchangeDown
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


async def test_one_refused_symbol_leaves_the_rest(bench, far, autojump_clock):
    def refuse_eth(message: dict) -> list[str]:
        error = {"error": "Currency pair not supported ETH/USD", "method": "subscribe", "success": False}
        if message["method"] == "ping" or "ETH/USD" not in message["params"]["symbol"]:
            return acknowledge(message)
        rest = {**message, "params": {**message["params"], "symbol": ["BTC/USD"]}}
        return [json.dumps({**error, "symbol": "ETH/USD", "req_id": message["req_id"]}), *acknowledge(rest)]

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
