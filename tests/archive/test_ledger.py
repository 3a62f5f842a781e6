"""Readers get an answer for every minute, and never a better one than is known."""

import pytest
from msgspec.structs import replace

from ssmd.actors.absence import note_absence
from ssmd.actors.lineage import Link
from ssmd.archive.ledger import FeedLedger, MinuteState, ledger, merged_gaps
from ssmd.protocols import quality
from ssmd.protocols.coverage import Gap
from ssmd.records import Configured, Disconnected, FeedConfig, Predecessor
from ssmd.reprocess.verify import VerifySpec, verify
from ssmd.store.keys import QualityKey
from tests.reprocess.captured import FEED, Captured, at, faulty_run


@pytest.fixture
async def world(tmp_path, autojump_clock) -> Captured:
    return Captured(tmp_path)


async def states(world: Captured, start: int, end: int) -> list[MinuteState]:
    return [state async for state in ledger(world.store, "v1", FEED, at(start), at(end))]


async def answers(world: Captured, start: int, end: int) -> list[str]:
    return [state.answer for state in await states(world, start, end)]


async def test_every_minute_gets_an_answer(world, autojump_clock):
    await faulty_run(world, restarts=False)
    found = await states(world, -2, 6)
    assert [state.minute for state in found] == [at(minute) for minute in range(-2, 6)]
    assert [state.answer for state in found] == [
        "not_captured", "not_captured", "suspect", "missing", "missing", "verified", "verified", "missing",
    ]  # fmt: skip
    assert found[4].reasons == ("reset",)
    assert (found[7].reasons, found[7].gaps) == (("no_record",), ())


async def test_a_minute_that_nobody_wanted_is_not_captured(world, autojump_clock):
    conn = world.connect()
    world.traffic(conn)
    world.note(conn, Configured(FeedConfig(symbols=(), enabled=False)))
    await world.end()
    assert await answers(world, -1, 3) == ["not_captured", "verified", "not_captured", "not_captured"]


async def test_a_gap_that_only_a_later_minute_tells_makes_the_earlier_ones_missing(world, autojump_clock):
    """Mutant: take each minute's own record for the last word; the minute of the crash was `verified` for ever."""
    world.traffic(world.connect())
    await world.normalize()  # and then it is killed
    world.until(7)
    world.begin()
    world.traffic(world.connect())
    await world.end()
    assert world.record(world.raw_keys()[0]).status == "verified"
    assert await answers(world, 0, 9) == ["missing"] * 7 + ["verified", "missing"]
    (first, *_) = await states(world, 0, 1)
    assert first.reasons == ("crash",)
    assert await answers(world, 3, 5) == ["missing", "missing"]


async def test_raw_data_that_no_normalizer_has_passed_is_not_yet_archived(world, autojump_clock):
    await faulty_run(world, restarts=False)
    del world.store.objects[QualityKey("v1", FEED, at(4)).key]
    (state,) = await states(world, 4, 5)
    assert (state.answer, state.reasons) == ("missing", ("not_yet_archived",))


async def test_a_record_that_cannot_be_read_is_no_good_news(world, autojump_clock):
    await faulty_run(world, restarts=False)
    world.store.objects[QualityKey("v1", FEED, at(4)).key] = b"{"
    (state,) = await states(world, 4, 5)
    assert (state.answer, state.reasons) == ("missing", ("unreadable_record",))


async def test_the_ledger_outlives_raw_data_that_retention_deleted(world, autojump_clock):
    await faulty_run(world, restarts=False)
    before = await states(world, 0, 5)
    for key in [key for key in world.store.objects if key.startswith("raw/")]:
        del world.store.objects[key]
    assert await states(world, 0, 5) == before


async def test_an_exchange_that_was_unreachable_from_the_start_is_the_reason_of_every_minute(world, autojump_clock):
    """Also of the minutes of which there is no raw object at all; and the raw data alone proves it."""
    note_absence(world.journal, Link("c-0-0", None), "ws://x", world.config, Disconnected("unreachable", "", at(0)))
    world.until(3)
    world.traffic(world.connect(Predecessor("c-0-0", 2, at(0))))
    await world.end()
    world.archive()
    found = await states(world, 0, 4)
    assert [state.answer for state in found] == ["missing"] * 3 + ["verified"]
    assert found[1].reasons == found[2].reasons == ("unreachable",)
    (gap,) = await merged_gaps(ledger(world.store, "v1", FEED, at(0), at(4)))
    assert gap == Gap(at(0), at(3), "unreachable", ("BTCUSD",))
    assert (await verify(world.store, VerifySpec(FEED, "v1", at(0), at(4)))).findings == []
    assert (await verify(world.store, VerifySpec(FEED, "v1", at(3), at(4)))).findings == []


async def test_several_parts_are_one_minute_together(world, autojump_clock):
    await faulty_run(world, restarts=False)
    record = world.record(world.raw_keys()[3])
    part = QualityKey("v1", FEED, at(4), 1)
    failed = replace(record.figures, checksums_failed=2)
    world.store.objects[part.key] = quality.encode(replace(record, figures=failed, raw_key=part.raw.key))
    (state,) = await states(world, 4, 5)
    assert (state.answer, state.reasons, len(state.records)) == ("suspect", ("checksum",), 2)
    assert state.figures.frames == 2 * record.figures.frames


async def test_gaps_are_merged_over_minutes_and_silent_minutes_are_gaps(world, autojump_clock):
    await faulty_run(world, restarts=False)
    *known, silent = await merged_gaps(ledger(world.store, "v1", FEED, at(0), at(7)))
    assert [(gap.reason, gap.to_ns) for gap in known] == [("reset", at(3))]
    assert silent == Gap(at(5), at(7), "no_record", ())


async def test_an_open_gap_stays_open(world, autojump_clock):
    conn = world.connect()
    world.traffic(conn)
    world.disconnect(conn, "silent")
    await world.end()
    (gap,) = await merged_gaps(ledger(world.store, "v1", FEED, at(0), at(60)))
    assert (gap.reason, gap.to_ns, gap.symbols) == ("silent", None, ("BTCUSD",))


async def test_the_last_minute_is_found_over_days(world, autojump_clock):
    world.traffic(world.connect())
    await world.end()
    assert await FeedLedger(world.store, "v1", FEED).last_minute(at(40 * 1440)) == at(0)
    assert await FeedLedger(world.store, "v1", FEED).last_minute(at(-1)) is None
    world.begin()
    world.until(3 * 1440)
    world.traffic(world.connect(Predecessor("c-0-1", 99, at(0))))
    await world.end()
    assert set(await answers(world, 1, 3 * 1440)) == {"missing"}
