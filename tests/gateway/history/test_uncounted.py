"""Where the stream may have lost something before it was archived, nobody is told `verified` before it was counted."""

import pytest
import trio
from msgspec.structs import replace

from ssmd.archive.shortfall import Shortfall, put_mark
from ssmd.blocking import inline
from ssmd.bus.memory_store import MemoryStream
from ssmd.gateway.history.link import CONNECT_WITHIN_S, BusLink
from ssmd.gateway.history.plan import Source, Span
from ssmd.gateway.history.reader import Archive
from ssmd.gateway.history.uncounted import Uncounted
from ssmd.gateway.times import rfc3339
from ssmd.model import Trade
from ssmd.supervisor import HealthBoard
from tests.gateway.serving import FEED, STREAM, Serving
from tests.reprocess.captured import Captured, at, faulty_run

CLEAN = f"symbol=BTCUSD&start={rfc3339(at(4))}&end={rfc3339(at(5))}"


@pytest.fixture
async def captured(tmp_path, autojump_clock) -> Captured:
    world = Captured(tmp_path)
    await faulty_run(world, restarts=False)
    return world


@pytest.fixture
def serving(captured) -> Serving:
    return Serving(lambda: at(125), captured.store)


def made(number: int) -> Trade:
    recv_ns = at(4) + number
    return Trade(FEED, "BTCUSD", recv_ns, "c", number, 0, recv_ns, "1.5", "1.0", "buy", str(number))


async def said(serving: Serving) -> tuple[str, list[str]]:
    await trio.sleep(2)  # whoever asked before has kept the position for a moment
    quality = (await serving.json(f"/api/v1/trades?{CLEAN}"))["quality"]
    return quality["status"], [window["reason"] for window in quality["windows"]]


async def stream(serving: Serving, *trades: Trade) -> MemoryStream:
    await serving.publish(*trades)
    return serving.broker.streams["marketdata"]


async def test_a_stream_that_has_everything_behind_the_counted_minutes_leaves_no_doubt(autojump_clock, serving):
    known = await stream(serving, made(1), made(2), made(3))
    await serving.counted(at(2), known.created_ns, stream_seq=1)
    assert await said(serving) == ("verified", [])


async def test_a_stream_that_was_cut_behind_them_does(autojump_clock, serving):
    """The archiver is away, and the limits take what it has not read; the ledger still says `verified`."""
    known = await stream(serving, *(made(number) for number in range(6)))
    await serving.counted(at(3), known.created_ns, stream_seq=1)
    await serving.acknowledge(1)
    known.spec = replace(STREAM, max_bytes=known.stored_bytes // 2)
    known.keep_limits()
    assert await said(serving) == ("unverifiable", ["uncounted"])
    await serving.acknowledge(1)  # the archiver is back, and has passed the hole; nothing is counted yet
    assert await said(serving) == ("unverifiable", ["uncounted"])
    await serving.counted(at(4), known.created_ns, stream_seq=6)
    assert await said(serving) == ("verified", [])


async def test_another_stream_than_the_counted_one_does_and_none(autojump_clock, serving):
    known = await stream(serving, made(1))
    await serving.counted(at(3), known.created_ns - 1, stream_seq=1)
    assert await said(serving) == ("unverifiable", ["uncounted"])
    await serving.counted(at(3), known.created_ns, stream_seq=1)
    assert await said(serving) == ("verified", [])
    del serving.broker.streams["marketdata"]
    assert await said(serving) == ("unverifiable", ["uncounted"])


async def test_where_nobody_has_ever_counted_the_last_days_are_in_doubt(autojump_clock, serving, captured):
    await stream(serving, made(1))
    assert await said(serving) == ("unverifiable", ["uncounted"])
    later = Serving(lambda: at(4 * 1440), captured.store)
    assert await said(later) == ("verified", [])


async def test_a_minute_that_waits_for_a_late_record_is_in_doubt_alone(autojump_clock, serving):
    known = await stream(serving, made(1), made(2))
    await serving.counted(at(9), known.created_ns - 1, waiting=(at(4),))
    assert await said(serving) == ("unverifiable", ["uncounted"])
    await serving.counted(at(9), known.created_ns - 1, waiting=(at(3),))
    assert await said(serving) == ("verified", [])
    await trio.sleep(2)
    again = Serving(serving.now, serving.store)
    whole = await stream(again, made(1), made(2))
    await again.counted(at(9), whole.created_ns, stream_seq=2, waiting=(at(4),))
    assert await said(again) == (
        "unverifiable",
        ["uncounted"],
    )  # what lies behind the counted minutes is no proof of it


async def test_a_bus_that_is_away_is_waited_for_once(autojump_clock, captured):
    """Mutant: each request about long ago waits for it."""
    serving = Serving(lambda: at(2 * 1440), captured.store)
    link = BusLink(serving.dialer, "marketdata", HealthBoard().check("nats"))
    uncounted = Uncounted(Archive(captured.store, link, "test", now=serving.now, blocking=inline))
    began_s = trio.current_time()
    for feed in ("kraken", "coinbase", "other"):
        source = Source(feed, "v1", f"archiver-{feed}")
        assert await uncounted.within(source, Span(at(4), at(5))) is not None
    assert trio.current_time() - began_s < 2 * CONNECT_WITHIN_S


async def test_what_was_counted_once_stays_verified_while_the_bus_is_away(autojump_clock, captured):
    """The stream has nothing of two days ago any more, so such a range needs no bus."""
    serving = Serving(lambda: at(2 * 1440), captured.store)
    await serving.counted(at(4))
    assert await said(serving) == ("verified", [])
    serving.broker.down()
    assert await said(serving) == ("verified", [])


async def test_another_version_than_the_live_one_is_a_matter_of_its_reprocess(autojump_clock, serving, captured):
    for key in [key for key in captured.store.objects if key.startswith(("normalized/v1/", "quality/v1/"))]:
        captured.store.objects[key.replace("/v1/", "/v2/")] = captured.store.objects[key]
    answer = await serving.json(f"/api/v1/trades?{CLEAN}&version=v2")
    assert "uncounted" not in {window["reason"] for window in answer["quality"]["windows"]}


async def test_a_mark_makes_the_minute_missing_for_every_reader(autojump_clock, serving, captured):
    await serving.counted(at(4))
    await put_mark(captured.store, Shortfall("v1", FEED, at(4), {"trade": 9}, {"trade": 4}))
    assert await said(serving) == ("missing", ["unarchived"])
    for path in ("gaps", "coverage", "books"):
        quality = (await serving.json(f"/api/v1/{path}?{CLEAN}"))["quality"]
        assert (quality["status"], quality["windows"][0]["reason"]) == ("missing", "unarchived"), path
