import trio
from trio.testing import wait_all_tasks_blocked

from ssmd.supervisor import Cell


async def test_the_first_value_reaches_a_reader_that_has_seen_nothing():
    seen = await Cell("a").wait_newer(0)
    assert (seen.version, seen.value) == (1, "a")


async def test_set_wakes_every_reader():
    cell, got = Cell(0), []

    async def read():
        got.append((await cell.wait_newer(cell.version)).value)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read)
        await wait_all_tasks_blocked()
        cell.set(7)
    assert got == [7, 7, 7]
    assert cell.get() == 7


async def test_a_reader_that_was_busy_gets_the_latest_value_and_only_that():
    cell = Cell(0)
    seen = await cell.wait_newer(0)
    for value in (1, 2, 3):
        cell.set(value)
    assert (await cell.wait_newer(seen.version)).value == 3


async def test_a_value_set_between_wakeup_and_resume_is_not_missed():
    cell, got = Cell(0), []

    async def read():
        version = cell.version
        while not got or got[-1] < 3:
            seen = await cell.wait_newer(version)
            version = seen.version
            got.append(seen.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        cell.set(1)
        cell.set(2)
        await wait_all_tasks_blocked()
        cell.set(3)
    assert got == [2, 3]


async def test_setting_an_equal_value_counts_as_newer():
    cell = Cell("same")
    cell.set("same")
    assert (await cell.wait_newer(1)).version == 2


async def test_a_reader_may_wait_for_a_version_further_ahead():
    cell, got = Cell(1), []

    async def read():
        got.append((await cell.wait_newer(3)).value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for value in (2, 3, 4):
            await wait_all_tasks_blocked()
            assert got == []
            cell.set(value)
    assert got == [4]
