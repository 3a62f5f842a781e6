import random

import pytest
import trio

from ssmd.journal import Journal, JournalLimits, JournalReader, Position
from tests.journal.test_journal import drain, fill


async def test_a_reader_behind_the_tail_reads_from_disk_and_changes_over_without_loss(directory, clock):
    journal = Journal(directory, JournalLimits(tail_bytes=5_000), clock)
    reader = JournalReader(journal, None)
    seen = []
    for start in range(0, 600, 100):
        fill(journal, 100, first=start)
        await journal.write_pending()
        if start % 200 == 0:
            seen += [entry.record.seq for entry in await reader.read(7)]
        clock.forward(31)
    seen += [record.seq for record in await drain(reader)]
    assert seen == list(range(600))


async def test_a_reader_goes_on_behind_its_start(directory, clock):
    journal = Journal(directory, JournalLimits(), clock)
    fill(journal, 10)
    await journal.write_pending()
    fourth = (await JournalReader(journal, None).read(4))[-1].position
    again = Journal(directory, JournalLimits(), clock)
    assert [r.seq for r in await drain(JournalReader(again, fourth))] == list(range(4, 10))


async def test_a_restart_reads_old_segments_then_new_ones(directory, clock):
    journal = Journal(directory, JournalLimits(), clock)
    fill(journal, 10)
    await journal.write_pending()
    again = Journal(directory, JournalLimits(), clock)
    reader = JournalReader(again, None)
    fill(again, 5, first=10)
    await again.write_pending()
    assert [r.seq for r in await drain(reader)] == list(range(15))


async def test_an_empty_journal_is_waited_on(journal):
    reader = JournalReader(journal, None)
    got = []

    async def read() -> None:
        got.extend(await reader.read(10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        fill(journal, 1)
        await journal.write_pending()
    assert [entry.record.seq for entry in got] == [0]


async def test_a_record_longer_than_a_block_is_read_whole(directory, clock):
    journal = Journal(directory, JournalLimits(tail_bytes=0), clock)
    long = '"' + "x" * 700_000 + '"'
    journal.append_frame("c", 0, long)
    fill(journal, 2, first=1)
    await journal.write_pending()
    records = await drain(JournalReader(journal, Position("", 0)))
    assert len(records[0].frame) == len(long)
    assert [record.seq for record in records] == [0, 1, 2]


@pytest.mark.parametrize("seed", range(20))
async def test_any_mix_of_writes_rolls_and_slow_reads_gives_each_record_once(directory, clock, seed):
    chance = random.Random(seed)
    journal = Journal(directory, JournalLimits(tail_bytes=chance.choice([0, 2_000, 50_000])), clock)
    reader = JournalReader(journal, None)
    seen, sent = [], 0
    for _ in range(60):
        count = chance.randrange(20)
        fill(journal, count, first=sent)
        sent += count
        clock.forward(chance.choice([0, 0.1, 20, 61]))
        if chance.random() < 0.7:
            await journal.write_pending()
        if chance.random() < 0.5 and not reader.caught_up():
            seen += [entry.record.seq for entry in await reader.read(chance.randrange(1, 30))]
    await journal.write_pending()
    seen += [record.seq for record in await drain(reader)]
    assert seen == list(range(sent)), f"seed {seed}"
