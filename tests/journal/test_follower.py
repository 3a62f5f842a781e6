"""Reading a journal that another process writes: here it is another object on the same folder."""

from random import Random

import pytest
import trio

from ssmd.blocking import inline
from ssmd.errors import Outrun
from ssmd.journal import Journal, JournalFollower, JournalLimits, JournalReader, Position
from tests.journal.conftest import SteppedClock
from tests.journal.test_journal import drain, fill


@pytest.fixture
def journal(directory, clock) -> Journal:
    return Journal(directory, JournalLimits(), clock, inline)


async def test_every_record_comes_once_and_in_order_however_it_was_written(
    journal, clock, directory, seed, autojump_clock
):
    random, seen = Random(seed), []
    follower = JournalFollower(directory, inline)
    reader = JournalReader(follower, None)

    async def follow() -> None:
        while len(seen) < 900:
            seen.extend(entry.record.seq for entry in await reader.read(7))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            for start in range(0, 900, 30):
                fill(journal, 30, first=start)
                await journal.write_pending()
                clock.forward(random.choice((0, 1, 31)))
                await trio.sleep(random.choice((0, 0.05, 0.3)))
    assert seen == list(range(900))
    assert [segment.name for segment in follower.segments] == [segment.name for segment in journal.segments]


async def test_a_line_that_is_half_written_waits_for_its_end(journal, directory, autojump_clock):
    fill(journal, 3)
    await journal.write_pending()
    path = directory / journal.segments[0].name
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    follower = JournalFollower(directory, inline)
    reader = JournalReader(follower, None)
    assert [record.seq for record in await drain(reader)] == [0, 1]
    path.write_bytes(whole)
    with trio.fail_after(1):
        assert [entry.record.seq for entry in await reader.read(10)] == [2]


async def test_it_tells_that_a_segment_is_closed_when_the_next_one_is_there(journal, clock, directory, autojump_clock):
    fill(journal, 1)
    await journal.write_pending()
    follower = JournalFollower(directory, inline)
    assert follower.closed_segments() == []
    with trio.move_on_after(5) as waiting:
        await follower.wait_closed()
    assert waiting.cancelled_caught
    clock.forward(60)
    fill(journal, 1, first=1)
    await journal.write_pending()
    with trio.fail_after(1):
        await follower.wait_closed()
    assert [segment.name for segment in follower.closed_segments()] == [journal.segments[0].name]


@pytest.mark.parametrize("read_first", [0, 1, 5])
@pytest.mark.parametrize("more", [False, True])
async def test_what_was_deleted_before_it_was_read_is_never_passed_over(
    journal: Journal, clock: SteppedClock, directory, read_first, more, autojump_clock
):
    """Also when all of it was read: nobody can know that any more."""
    fill(journal, 5)
    await journal.write_pending()
    first = journal.segments[0]
    place = await _place_behind(journal, read_first)
    follower = JournalFollower(directory, inline)
    reader = JournalReader(follower, place)
    if more:
        clock.forward(60)
        fill(journal, 5, first=5)
        await journal.write_pending()
    journal.remove(first)
    with trio.fail_after(1), pytest.raises(Outrun, match=first.name):
        await reader.read(10)


async def _place_behind(journal: Journal, count: int) -> Position:
    if not count:
        return Position(journal.segments[0].name, 0)
    entries = await JournalReader(journal, None).read(5)
    return entries[count - 1].position
