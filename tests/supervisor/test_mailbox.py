from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from ssmd.errors import MailboxClosed, MailboxFull
from ssmd.supervisor import Mailbox, Overflow, Strategy, Supervisor

from .fakes import Log, child


class ReaderBroke(Exception):
    pass


def filled(overflow=Overflow.BLOCK, capacity=4, items=()):
    mailbox = Mailbox("inbox", capacity, overflow)
    for item in items:
        mailbox.offer(item)
    return mailbox


async def take(mailbox, limit=100):
    async with mailbox.lease(limit) as items:
        return list(items)


def counts(mailbox):
    statistics = mailbox.statistics()
    return statistics.used, statistics.leased, statistics.dropped_total, statistics.offered_total


async def test_a_lease_gives_items_in_order_up_to_the_limit():
    mailbox = filled(items=[1, 2, 3])
    assert await take(mailbox, 2) == [1, 2]
    assert await take(mailbox, 2) == [3]


async def test_a_lease_waits_for_the_first_item():
    mailbox, got = filled(), []

    async def read():
        got.extend(await take(mailbox))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        mailbox.offer("late")
    assert got == ["late"]


@pytest.mark.parametrize("overflow", Overflow)
async def test_an_error_in_the_lease_brings_every_item_back_in_order(overflow):
    mailbox = filled(overflow, items=[1, 2, 3])
    with pytest.raises(ValueError, match="reader broke"):
        async with mailbox.lease(2):
            raise ValueError("reader broke")
    assert await take(mailbox) == [1, 2, 3]


async def test_cancellation_in_the_lease_brings_every_item_back_in_order():
    mailbox = filled(items=[1, 2])
    with trio.CancelScope() as scope:
        async with mailbox.lease(2):
            mailbox.offer(3)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert await take(mailbox) == [1, 2, 3]


async def test_a_killed_reader_loses_nothing_for_its_successor(autojump_clock):
    mailbox, done, log = filled(capacity=8, items=range(8)), [], Log()

    async def work(fake):
        while len(done) < 8:
            async with mailbox.lease(3) as items:
                await trio.sleep(0.1)
                if fake.run_no <= 2:
                    raise ValueError("killed with items in hand")
                done.extend(items)

    await Supervisor("tree", Strategy.ONE_FOR_ONE, [child("reader", log, work)]).run()
    assert log.names("start") == ["reader"] * 3
    assert done == list(range(8))


async def test_a_second_reader_waits_until_the_lease_of_the_first_has_ended():
    # Mutant: without `self._leased or` in _until_readable the second reader gets 3 while 1 and 2 may still come back.
    mailbox, got = filled(items=[1, 2, 3]), []

    async def second():
        got.extend(await take(mailbox))

    async with trio.open_nursery() as nursery:
        with suppress(ReaderBroke):
            async with mailbox.lease(2):
                nursery.start_soon(second)
                await wait_all_tasks_blocked()
                assert got == []
                raise ReaderBroke
    assert got == [1, 2, 3]


@pytest.mark.parametrize("overflow", [Overflow.BLOCK, Overflow.FAIL])
async def test_an_offer_to_a_full_mailbox_is_refused(overflow):
    mailbox = filled(overflow, capacity=2, items=[1, 2])
    with pytest.raises(MailboxFull, match="inbox has no room; it holds 2 items"):
        mailbox.offer(3)
    assert counts(mailbox) == (2, 0, 0, 2)


async def test_leased_items_keep_their_places():
    mailbox = filled(capacity=2, items=[1, 2])
    async with mailbox.lease(2):
        assert counts(mailbox) == (2, 2, 0, 2)
        with pytest.raises(MailboxFull):
            mailbox.offer(3)
    assert counts(mailbox) == (0, 0, 0, 2)


async def test_drop_oldest_takes_every_offer_and_counts_what_it_dropped():
    mailbox = filled(Overflow.DROP_OLDEST, capacity=2, items=[1, 2, 3, 4])
    await mailbox.room()
    assert counts(mailbox) == (2, 0, 2, 4)
    assert await take(mailbox) == [3, 4]


async def test_drop_oldest_lets_what_a_broken_lease_brings_back_go_first():
    mailbox = filled(Overflow.DROP_OLDEST, capacity=2, items=[1, 2])
    with suppress(ReaderBroke):
        async with mailbox.lease(2):
            mailbox.offer(3)
            assert counts(mailbox) == (2, 2, 0, 3)
            raise ReaderBroke
    assert counts(mailbox) == (2, 0, 1, 3)
    assert await take(mailbox) == [2, 3]


async def test_room_waits_until_the_lease_is_committed():
    mailbox, got = filled(capacity=1, items=[1]), []

    async def write():
        await mailbox.room()
        mailbox.offer(2)
        got.append("written")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await wait_all_tasks_blocked()
        async with mailbox.lease(1):
            await wait_all_tasks_blocked()
            assert got == []
        await wait_all_tasks_blocked()
        assert got == ["written"]


async def test_several_writers_that_put_never_overfill():
    # Mutant: `if` for `while` in room(): two writers woken by one free place, and the second gets MailboxFull.
    mailbox, got = filled(capacity=2, items=[0, 0]), []
    async with trio.open_nursery() as nursery:
        for number in range(1, 11):
            nursery.start_soon(mailbox.put, number)
        while len(got) < 12:
            got.extend(await take(mailbox, 1))
    assert sorted(got) == [0, 0, *range(1, 11)]


async def test_room_is_a_checkpoint_even_if_there_is_room():
    with trio.testing.assert_checkpoints():
        await filled().room()


async def test_offer_is_no_checkpoint():
    with trio.testing.assert_no_checkpoints():
        filled().offer(1)


async def test_readers_finish_the_rest_of_a_closed_mailbox():
    mailbox = filled(items=[1])
    mailbox.close()
    mailbox.close()
    assert await take(mailbox) == [1]
    with pytest.raises(MailboxClosed, match="inbox is closed"):
        await take(mailbox)


async def test_closing_wakes_waiting_readers_and_writers():
    empty, full, ended = filled(), filled(capacity=1, items=[1]), []

    async def expect_closed(wait):
        with pytest.raises(MailboxClosed):
            await wait()
        ended.append(wait)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_closed, lambda: take(empty))
        nursery.start_soon(expect_closed, full.room)
        await wait_all_tasks_blocked()
        empty.close()
        full.close()
    assert len(ended) == 2


async def test_a_closed_mailbox_takes_no_offer_but_does_take_back_a_lease():
    mailbox = filled(items=[1])
    with suppress(ReaderBroke):
        async with mailbox.lease(1):
            mailbox.close()
            raise ReaderBroke
    with pytest.raises(MailboxClosed):
        mailbox.offer(2)
    assert await take(mailbox) == [1]


async def test_a_reader_of_a_closed_mailbox_waits_for_a_lease_that_may_come_back():
    # Mutant: raising MailboxClosed without looking at `_leased` lets the last reader leave while an item returns.
    mailbox, got = filled(items=[1]), []

    async def second():
        got.extend(await take(mailbox))

    async with trio.open_nursery() as nursery:
        with suppress(ReaderBroke):
            async with mailbox.lease(1):
                mailbox.close()
                nursery.start_soon(second)
                await wait_all_tasks_blocked()
                raise ReaderBroke
    assert got == [1]


async def test_sizes_below_one_are_refused():
    with pytest.raises(ValueError, match="capacity is 0"):
        Mailbox("inbox", 0, Overflow.FAIL)
    with pytest.raises(ValueError, match="limit is 0"):
        async with filled(items=[1]).lease(0):
            pass
