"""Who writes the quality ledger and when: a crash neither loses nor doubles a minute, nor claims what nobody knows."""

import pytest
import trio
from msgspec.structs import replace

from ssmd.actors.ledger_desk import Published
from ssmd.codec import marketdata, raw
from ssmd.errors import BadRecord, StoreDown
from ssmd.journal import Cursor, Position, Tallies, TallyName, candidate_directory
from ssmd.model import type_of
from ssmd.protocols import exchange, quality
from ssmd.protocols.decoder import decoder
from ssmd.protocols.quality import MinuteFold
from ssmd.records import Configured, FeedConfig
from ssmd.store.keys import QualityKey
from tests.reprocess.captured import HEARTBEAT, Captured, at, faulty_run


@pytest.fixture
async def world(tmp_path, autojump_clock) -> Captured:
    return Captured(tmp_path)


def reprocessed(world: Captured) -> dict[str, bytes]:
    """Return the ledger that the stored raw data gives."""
    again, ledger = decoder("v1", "kraken", exchange("kraken")), {}
    for key in world.raw_keys():
        fold = MinuteFold(again.counts)
        for record in map(raw.read_line, world.lines(key)):
            fold.take(record.conn, record.seq)
            for event in again.feed(record).events:
                try:
                    marketdata.encode(event)
                except BadRecord:
                    fold.reject_event(type_of(event))
        made = quality.ledger_record("v1", world.manifest(key), fold.tally(again.counts), quality.source())
        ledger[QualityKey.of("v1", key).key] = quality.encode(made)
    return ledger


def ledger_of(world: Captured) -> dict[str, bytes]:
    return {key: body for key, body in world.store.objects.items() if key.startswith("quality/")}


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_faulty_run_and_a_reprocess_of_its_raw_data_give_the_same_ledger(world, restarts, autojump_clock):
    await faulty_run(world, restarts=restarts)
    assert ledger_of(world) == reprocessed(world)
    assert len(world.raw_keys()) == 4
    first, second, third, fourth = map(world.record, world.raw_keys())
    figures = first.figures
    assert (figures.events["trade"], figures.duplicates, figures.trade_id_gaps) == (12, 1, 1)
    assert figures.rejects == {"bad_number": 1, "unknown_channel": 1}
    assert (first.status, first.reasons) == ("suspect", ("rejected", "trade_ids"))
    assert (second.status, second.figures.checksums_failed, second.figures.desyncs) == ("missing", 1, 1)
    assert second.reasons == ("checksum", "rejected", "reset")
    assert (third.status, third.connections[0].first_seq, third.gaps[0].reason) == ("verified", 0, "reset")
    assert (fourth.status, fourth.reasons) == ("verified", ())
    assert not Tallies(world.directory).names()


async def test_restarts_change_nothing_in_the_ledger(tmp_path, world, autojump_clock):
    other = Captured(tmp_path / "other")
    await faulty_run(world, restarts=True)
    await faulty_run(other, restarts=False)
    pairs = [(world.record(key), other.record(key)) for key in world.raw_keys()]
    assert all(replace(one, writer="", raw_key="") == replace(two, writer="", raw_key="") for one, two in pairs)


async def test_a_minute_is_not_in_the_ledger_before_the_normalizer_has_passed_it(world, autojump_clock):
    world.traffic(world.connect())
    world.until(1)
    world.trade("c-0-1")
    await world.journal.write_pending()
    await world.seal()
    assert (len(world.raw_keys()), len(ledger_of(world))) == (1, 0)
    await world.normalize()
    await world.seal()
    assert len(ledger_of(world)) == 1


async def test_a_minute_is_not_in_the_ledger_before_its_raw_object_is_stored(world, autojump_clock):
    world.traffic(world.connect())
    world.until(1)
    world.trade("c-0-1")
    world.store.faults.down = True
    await world.normalize()
    with pytest.raises(StoreDown):
        await world.seal()
    assert [name.version for name in Tallies(world.directory).names()] == ["v1"]
    world.store.faults.down = False
    await world.seal()
    assert len(ledger_of(world)) == 1


@pytest.mark.parametrize("lost_answers", [1, 2, 3, 4, 5])
async def test_a_store_that_loses_answers_gets_each_record_once(world, lost_answers, autojump_clock):
    world.traffic(world.connect())
    world.until(1)
    world.trade("c-0-1")
    await world.normalize()
    world.store.faults.creates_failing_after_store = lost_answers
    for _ in range(lost_answers):
        with pytest.raises(StoreDown):
            await world.seal()
        if not world.store.faults.creates_failing_after_store:
            break
    await world.seal()
    await world.end()
    assert ledger_of(world) == reprocessed(world)


async def test_a_crash_behind_the_hand_over_and_before_the_filing_loses_nothing(world, autojump_clock):
    world.traffic(world.connect())
    world.until(1)
    world.trade("c-0-1")
    await world.normalize()
    await world.journal.write_pending()
    world.begin()  # the next process; its sealer has stored nothing yet
    await world.end()
    assert ledger_of(world) == reprocessed(world)
    assert len(ledger_of(world)) == len(world.raw_keys())


async def test_a_batch_that_is_repeated_after_its_minute_was_filed_says_the_same(world, autojump_clock):
    """Mutant: count from where the normalizer goes on; the minute's second record had other figures."""
    conn = world.connect()
    world.traffic(conn)
    world.until(1)
    world.traffic(conn)
    position = world.progress.position
    await world.normalize()
    await world.seal()
    before = ledger_of(world)
    world.progress.position = position
    await world.normalize()
    await world.end()
    assert ledger_of(world).items() >= before.items()
    assert ledger_of(world) == reprocessed(world)


async def test_a_restart_that_reads_an_earlier_segment_again_counts_each_segment_by_itself(world, autojump_clock):
    """Mutant: count from where the replay begins; the minute after a damaged checkpoint had the figures of two."""
    conn = world.connect()
    world.traffic(conn)
    world.until(1)
    world.traffic(conn)
    await world.normalize()
    world.checkpoints.save(world.journal.segments[-1].name, b"damaged")
    world.traffic(conn)
    await world.end()
    assert ledger_of(world) == reprocessed(world)
    assert len(ledger_of(world)) == 2


async def test_a_minute_behind_which_nothing_follows_is_handed_over_when_its_segment_closes(world, autojump_clock):
    """Mutant: hand over with the next minute's first record; a feed that was disabled never gave its last minute."""
    world.traffic(world.connect())

    async def close_later() -> None:
        await trio.sleep(0.2)
        assert not Tallies(world.directory).names()
        world.journal.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close_later)
        await world.normalize()
    assert len(Tallies(world.directory).names()) == 1


async def test_a_segment_that_was_closed_before_the_normalizer_began_is_handed_over_too(world, autojump_clock):
    world.traffic(world.connect())
    await world.normalize()
    world.journal.close()
    await world.normalize()
    assert len(Tallies(world.directory).names()) == 1


async def test_a_lost_state_begins_a_chain_of_its_own_and_loses_no_object(world, autojump_clock):
    world.traffic(world.connect())
    await world.end()
    (world.directory / "sealed.json").write_bytes(b"{half")
    world.begin()
    world.until(1)
    world.traffic(world.connect())
    await world.end()
    first, *_, last = (world.manifest(key) for key in world.raw_keys())
    assert len({key.minute_ns for key in world.raw_keys()}) == 2
    assert first.writer != last.writer


async def test_what_is_wanted_is_known_so_that_a_minute_without_record_can_be_told(world, autojump_clock):
    conn = world.connect()
    world.until(1)
    world.frame(conn, HEARTBEAT)
    world.note(conn, Configured(FeedConfig(symbols=(), enabled=False)))
    await world.end()
    assert [world.record(key).wanted for key in world.raw_keys()] == [("BTCUSD",), ()]
    assert world.record(world.raw_keys()[0]).minute == at(0)


async def test_a_record_is_filed_once_everything_that_came_of_its_segment_is_published(tmp_path, autojump_clock):
    """Mutant: as soon as it is decoded. Whoever counts the archive would miss what waits for a bus that is away."""
    world = Captured(tmp_path)
    conn = world.connect()
    for minute in range(1, 4):
        world.traffic(conn)
        world.until(minute)
    world.trade(conn)
    await world.normalize(publish=False)
    await world.seal()
    assert len(world.raw_keys()) == 3
    assert [key for key in world.store.objects if key.startswith("quality/")] == []
    async with world.outbox.lease(1000) as batches:
        world._publish(batches[:1])
    await world.seal()
    first = [key for key in world.store.objects if key.startswith("quality/")]
    await world.end()
    assert len(first) < len([key for key in world.store.objects if key.startswith("quality/")]) == 4


async def test_a_candidate_s_record_waits_for_the_candidate_s_own_cursor(tmp_path, autojump_clock):
    """Mutant: the primary's cursor for all, or a candidate's for ever."""
    world = Captured(tmp_path)
    conn = world.connect()
    world.traffic(conn)
    await world.end()
    segment = world.journal.segments[0].name
    running = ["v9"]
    published = Published(world.journal, world.cursor, "v1", lambda: running[0])
    assert published.has_all(TallyName(segment, "v1"))
    assert not published.has_all(TallyName(segment, "v9"))  # it has published nothing yet, so it has no cursor
    own = candidate_directory(world.journal.directory, "v9")
    own.mkdir(parents=True)
    cursor = Cursor(own)
    cursor.advance(Position(segment, 0))
    cursor.save()
    assert not published.has_all(TallyName(segment, "v9"))
    cursor.advance(Position(segment, (world.journal.directory / segment).stat().st_size))
    cursor.save()
    assert published.has_all(TallyName(segment, "v9"))
    (world.journal.directory / segment).unlink()  # the primary is done with it; the candidate may not be
    assert published.has_all(TallyName(segment, "v1"))
    assert not published.has_all(TallyName(segment, "v9"))
    running[0] = ""  # taken out: what is left of it waits for nobody
    assert published.has_all(TallyName(segment, "v9"))
