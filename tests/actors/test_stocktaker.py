"""What the stream lost before it was archived is found by counting, and nothing else is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import pytest
import trio
from msgspec.structs import replace

from ssmd import metrics
from ssmd.actors.batcher import ArchiveFeed, Batcher
from ssmd.actors.edition import Edition
from ssmd.actors.stock_book import MAX_LATE, Kept, StockBook
from ssmd.actors.stocktaker import PACE_S, WHOLE_EVERY, Stock, Stocktaker
from ssmd.archive.digest import unbind
from ssmd.archive.ledger import ledger, merged_gaps
from ssmd.archive.position import BUCKET, Position, decode_position, encode_position
from ssmd.archive.shortfall import NS_PER_DAY, NS_PER_HOUR
from ssmd.blocking import inline
from ssmd.bus.base import Bus, Consumer, Incoming, Outgoing
from ssmd.bus.memory import MemoryDialer
from ssmd.clock import NS_PER_MINUTE, NS_PER_S
from ssmd.codec import blocks, marketdata
from ssmd.errors import StoreDown
from ssmd.model import message_id
from ssmd.protocols import quality
from ssmd.protocols.quality import Figures, LedgerRecord, Source
from ssmd.store.base import ObjectMeta
from ssmd.store.keys import DigestKey, QualityKey, RawKey, ShortfallKey
from ssmd.store.memory import MemoryStore
from ssmd.supervisor import Backoff, ChildSpec, Strategy, Supervisor
from tests.actors.fakes import START_NS, virtual_now_ns
from tests.actors.test_batcher import FIRST, STREAM, Rig, trade

FEED = "kraken"
LONG_S = 8 * PACE_S
"""Every minute that the tests fill is over by then, and archived."""


def minute(number: int) -> int:
    return START_NS + number * NS_PER_MINUTE


def record(number: int, trades: int, part: int = 0) -> LedgerRecord:
    raw = RawKey(FEED, minute(number), part)
    figures = Figures(frames=trades, events={"trade": trades}, checksums_verified=1)
    source = Source("0", "unknown")
    return LedgerRecord(
        "v1", FEED, raw.minute_ns, "verified", (), raw.key, "", "w", 0, figures, (), (), ("BTCUSD",), source
    )


class Choosy(MemoryStore):
    """Fails to create what lies below a prefix, so often."""

    refused = ""
    times = 0

    async def create(self, key: str, body: bytes) -> bool:
        if self.refused and key.startswith(self.refused) and self.times:
            self.times -= 1
            raise StoreDown(f"create {key}: refused")
        return await super().create(key, body)


class Counting(Rig):
    """An archiver: batcher and stocktaker over the same stream, as a tree starts them."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Choosy()
        self.kept_days = -1
        self.archive = ArchiveFeed(Edition(FEED, "v1"), STREAM, inline)

    def batcher(self) -> Batcher:
        return Batcher(self.archive, self.dialer, self.store, self.board, virtual_now_ns)

    def stocktaker(self) -> Stocktaker:
        return Stocktaker(
            self.archive, Stock("test.v1.kraken", Kept(self.kept_days)), self.dialer, self.store, virtual_now_ns
        )

    async def archiver(self, seconds: float) -> None:
        """Run both for a while, as a process of its own would: nothing is remembered from before."""
        self.archive = ArchiveFeed(Edition(FEED, "v1"), STREAM, inline)
        backoff = Backoff(first_s=0.1, cap_s=2)
        children = [ChildSpec("stocktaker", self.stocktaker, backoff), ChildSpec("batcher", self.batcher, backoff)]
        with trio.move_on_after(seconds):
            await Supervisor("archiver", Strategy.ONE_FOR_ONE, children).run()

    async def file(self, *records: LedgerRecord) -> None:
        for one in records:
            key = RawKey.parse(one.raw_key)
            await self.store.create(QualityKey.of("v1", key).key, quality.encode(one))

    def lose(self, count: int) -> None:
        """Let the stream's limits take the oldest messages."""
        stream = self.dialer.broker.streams["marketdata"]
        stream.spec = replace(stream.spec, max_bytes=1)
        kept = stream.messages - count
        size = stream.stored_bytes // stream.messages
        stream.spec = replace(stream.spec, max_bytes=kept * size + size // 2)
        stream.keep_limits()
        assert stream.messages == kept
        stream.spec = STREAM

    @property
    def marks(self) -> list[str]:
        return [key for key in self.store.objects if key.endswith(".short.json")]

    @property
    def position(self) -> Position | None:
        entry = self.dialer.broker.bucket(BUCKET).last("test.v1.kraken")
        return None if entry is None else decode_position(entry.value or b"")

    @property
    def counted(self) -> tuple[int, dict[int, int]] | None:
        """Return through which minute everything is counted, and how many records that are by hour."""
        return None if self.position is None else (self.position.through_ns, self.position.hours)

    async def answers(self, minutes: int) -> list[tuple[str, tuple[str, ...]]]:
        states = ledger(self.store, "v1", FEED, minute(0), minute(minutes))
        return [(state.answer, state.reasons) async for state in states]


@pytest.fixture
def rig() -> Counting:
    return Counting()


async def test_a_minute_that_is_archived_whole_gets_no_mark_and_moves_the_position(rig, autojump_clock):
    await rig.publish(trade(1, 0), trade(2, 1), trade(63, 2))
    await rig.file(record(0, 2))
    await rig.archiver(LONG_S)
    assert rig.marks == []
    assert rig.counted == (minute(0), {minute(0): 1})


async def test_what_the_stream_lost_before_it_was_archived_becomes_a_mark_that_every_reader_sees(rig, autojump_clock):
    """Mutant: no stocktaker; ledger and REST then say `verified`."""
    counter = metrics.ARCHIVER_UNARCHIVED.labels(FEED)
    before = counter._value.get()
    await rig.publish(*(trade(i, i) for i in range(10)), trade(63, 10), trade(125, 11))
    await rig.file(record(0, 10), record(1, 1))
    rig.lose(4)
    await rig.archiver(LONG_S)
    assert rig.marks == [ShortfallKey("v1", FEED, minute(0)).key]
    assert await rig.answers(2) == [("missing", ("unarchived",)), ("verified", ())]
    (gap,) = await merged_gaps(ledger(rig.store, "v1", FEED, minute(0), minute(2)))
    assert (gap.from_ns, gap.to_ns, gap.reason) == (minute(0), minute(1), "unarchived")
    assert counter._value.get() - before == 4
    assert rig.counted == (minute(1), {minute(0): 2})


async def test_a_stream_that_was_lost_whole_is_found_too(rig, autojump_clock):
    """Nothing was discarded as far as the new stream's consumer knows."""
    await rig.publish(trade(1, 0), trade(2, 1))
    await rig.file(record(0, 2))
    del rig.dialer.broker.streams["marketdata"]
    await rig.publish(trade(130, 2), trade(131, 3))
    await rig.archiver(LONG_S)
    assert await rig.answers(1) == [("missing", ("unarchived",))]


async def test_an_archiver_that_is_only_behind_marks_nothing(rig, autojump_clock):
    """Mutant: count as soon as there is a record."""
    rig.store.refused, rig.store.times = "normalized/", 10_000
    await rig.publish(trade(1, 0), trade(2, 1), trade(63, 2))
    await rig.file(record(0, 2))
    await rig.archiver(600)
    assert rig.store.times < 10_000 - 100
    assert rig.marks == []
    assert rig.position is None
    rig.store.times = 0
    await rig.archiver(LONG_S)
    assert rig.marks == []
    assert rig.counted == (minute(0), {minute(0): 1})


async def test_messages_on_their_way_when_the_record_is_seen_are_waited_for(rig, autojump_clock):
    """The stream ends with them; only when that is archived anybody may count."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.archiver, 600)
        await trio.sleep(2 * PACE_S + 1)
        await rig.publish(*(trade(i, i) for i in range(5)))
        await rig.file(record(0, 5))
        for number in range(5, 600):
            await rig.publish(trade(63 + number / 10, number))
            await trio.sleep(0.5)
    assert rig.marks == []
    assert rig.counted == (minute(0), {minute(0): 1})


async def test_a_new_process_reads_the_archive_where_it_remembers_nothing(rig, autojump_clock):
    await rig.publish(trade(1, 0), trade(2, 1), trade(63, 2))
    await rig.archiver(5)
    await rig.file(record(0, 2))
    await rig.archiver(LONG_S)
    assert rig.marks == []
    assert rig.counted == (minute(0), {minute(0): 1})


async def test_what_was_counted_is_not_read_again_after_a_restart(rig, autojump_clock):
    await rig.publish(trade(1, 0), trade(63, 2))
    await rig.file(record(0, 1))
    await rig.archiver(LONG_S)
    rig.store.objects[QualityKey("v1", FEED, minute(0)).key] = b"whoever reads this marks the minute as unreadable"
    del rig.store.objects[FIRST]
    await rig.archiver(LONG_S)
    assert rig.marks == []


async def test_a_record_that_comes_late_has_its_whole_minute_counted_again(rig, autojump_clock):
    """A connector was killed and away; its next start stores what it had left, and more was made of the minute."""
    await rig.publish(trade(1, 0), trade(63, 1))
    await rig.file(record(0, 1))
    await rig.archiver(LONG_S)
    await rig.file(record(0, 3, part=1))
    await rig.archiver(LONG_S)
    assert await rig.answers(1) == [("missing", ("unarchived",))]
    await rig.publish(*(trade(5 + i, 10 + i) for i in range(3)), trade(200, 20))
    await rig.file(record(1, 1))
    await rig.archiver(LONG_S)
    assert await rig.answers(1) == [("missing", ("unarchived",))]  # it has no new record: nobody has looked yet
    await rig.file(record(0, 0, part=2))
    await rig.archiver(LONG_S)
    assert await rig.answers(1) == [("verified", ())]
    assert rig.marks == []


async def test_a_store_that_is_away_while_it_counts_is_an_outage_and_loses_no_minute(rig, autojump_clock):
    await rig.publish(*(trade(i, i) for i in range(3)), trade(63, 3))
    await rig.file(record(0, 3))
    rig.lose(1)
    await rig.archiver(5)
    rig.store.refused, rig.store.times = "quality/", 2
    await rig.archiver(LONG_S)
    assert rig.store.times == 0
    assert await rig.answers(1) == [("missing", ("unarchived",))]


async def test_a_quiet_feed_beside_a_busy_one_is_counted(rig, autojump_clock):
    """The stream ends with the other feed's messages, which nobody acknowledges here."""
    await rig.publish(trade(1, 0))
    await rig.file(record(0, 1))
    other = replace(trade(1, 0), feed="coinbase")
    async with rig.dialer.connect() as bus:
        messages = [
            Outgoing("md.coinbase.trade.BTCUSD", marketdata.encode(one), message_id(one))
            for one in (replace(other, seq=n) for n in range(50))
        ]
        await bus.publish(messages)
    await rig.archiver(200)
    assert rig.counted == (minute(0), {minute(0): 1})


async def test_what_retention_has_deleted_is_not_lost(rig, autojump_clock):
    """Raw data and ledger are kept longer than events; a process without a position looks back over days."""
    old = record(-25 * 60, 5)
    await rig.file(old, record(0, 1))
    await rig.publish(trade(1, 0), trade(63, 1))
    rig.kept_days = 1
    await rig.archiver(LONG_S)
    assert rig.marks == []
    assert rig.counted == (minute(0), {minute(0): 1})
    rig.kept_days = 7  # the objects do not come back by that
    await rig.archiver(LONG_S)
    assert rig.marks == []


async def keep_publishing(rig: Counting) -> None:
    """A busy feed: the batcher always holds a minute that is not over."""
    for number in count(1000):
        await rig.publish(trade(trio.current_time(), number))
        await trio.sleep(0.5)


async def test_a_stream_that_is_lost_under_a_busy_feed_is_found(rig, autojump_clock):
    """Mutant: wait for the number that the old stream went to."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.archiver, 900)
        async with rig.dialer.connect() as bus:
            await bus.ensure_stream(STREAM)
        rig.dialer.broker.streams["marketdata"]._last_seq = 2_000_000
        rig.dialer.broker.streams["marketdata"]._first_seq = 2_000_001
        nursery.start_soon(keep_publishing, rig)
        await trio.sleep(130)
        del rig.dialer.broker.streams["marketdata"]
        rig.dialer.broker.drop_connections()
        await trio.sleep(60)
        await rig.file(record(1, 10_000))
        await trio.sleep(600)
        nursery.cancel_scope.cancel()
    assert rig.marks == [ShortfallKey("v1", FEED, minute(1)).key]


class SlowFirst(MemoryDialer):
    """Sends nothing for a while after each connect, though there is something: a server with a slow disk."""

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Bus]:
        async with super().connect() as bus:
            consume = bus.consume

            @asynccontextmanager
            async def slow_consume(*where: str) -> AsyncIterator[Consumer]:
                async with consume(*where) as consumer:
                    until_s, fetch = trio.current_time() + 2.5, consumer.fetch

                    async def slow_fetch(limit: int, within_s: float) -> Sequence[Incoming]:
                        if (left_s := until_s - trio.current_time()) > 0:
                            await trio.sleep(min(within_s, left_s))
                            return ()
                        return await fetch(limit, within_s)

                    consumer.fetch = slow_fetch
                    yield consumer

            bus.consume = slow_consume
            yield bus


async def test_silence_is_no_proof_that_nothing_is_left(rig, autojump_clock):
    """Mutant: a fetch that brought nothing counts as the end of the stream."""
    rig.dialer = SlowFirst(rig.dialer.broker)
    rig.store.refused, rig.store.times = "normalized/", 200
    await rig.publish(*(trade(i, i) for i in range(10)), trade(63, 10))
    await rig.file(record(0, 10))
    await rig.archiver(900)
    assert rig.marks == []
    assert rig.counted == (minute(0), {minute(0): 1})


async def remember(rig: Counting, position: Position) -> None:
    async with rig.dialer.connect() as bus:
        await bus.kv_put(BUCKET, "test.v1.kraken", encode_position(position))


async def test_it_goes_on_where_it_stopped_however_long_ago_that_was(rig, autojump_clock):
    """Mutant: always begin two days ago, and claim what lies between."""
    lost = -4 * 1440
    await remember(rig, Position(minute(lost - 1440), minute(lost - 1)))
    await rig.file(record(lost, 10), record(0, 1))
    await rig.publish(trade(1, 0), trade(63, 1))
    await rig.archiver(LONG_S)
    assert rig.marks == [ShortfallKey("v1", FEED, minute(lost)).key]
    assert rig.position.through_ns == minute(0)


async def test_records_that_came_while_nobody_counted_are_seen_though_retention_took_others(rig, autojump_clock):
    """Mutant: compare how many there are with how many there were, wherever they are."""
    kept, late = -22 * 60, -10 * 60
    early = [record(minute_of_day, 0) for minute_of_day in range(-25 * 60, -24 * 60)]
    hours = {minute(-25 * 60) // NS_PER_HOUR * NS_PER_HOUR: 60, minute(kept) // NS_PER_HOUR * NS_PER_HOUR: 1}
    await rig.file(*early, record(kept, 0), record(late, 7))
    await remember(rig, Position(minute(-30 * 60), minute(0), hours))
    rig.kept_days = 1
    await rig.archiver(LONG_S)
    assert rig.marks == [ShortfallKey("v1", FEED, minute(late)).key]


async def test_the_last_minutes_of_a_day_are_counted_after_midnight(rig, autojump_clock):
    """Mutant: look at the day that has begun only."""
    midnight = 10 * 60  # minutes after the start of the tests
    before = Position(minute(0), minute(midnight - 3), {minute(midnight - 60): 58})
    await remember(rig, before)
    await rig.publish(trade(midnight * 60 + 30, 0), trade(midnight * 60 + 130, 1))
    await trio.sleep(midnight * 60 + 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.archiver, LONG_S)
        await trio.sleep(PACE_S / 2)
        await rig.file(record(midnight - 1, 5), record(midnight, 1))
    assert rig.marks == [ShortfallKey("v1", FEED, minute(midnight - 1)).key]


async def test_a_first_count_that_is_broken_off_is_gone_on_with(rig, autojump_clock):
    """Mutant: write the position when everything is counted."""
    await rig.file(*(record(number, 1) for number in range(200)))
    await trio.sleep(200 * 60)
    await rig.publish(trade(200 * 60, 0))
    rig.store.faults.delay_s = 0.5
    await rig.archiver(300)
    assert rig.position is not None
    assert minute(0) < rig.position.through_ns < minute(199)


async def test_a_folder_that_is_no_symbol_disturbs_nobody(rig, autojump_clock):
    rig.store.objects["normalized/v1/kraken/trade/readme.txt/x"] = b"?"
    await rig.publish(*(trade(i, i) for i in range(3)), trade(63, 3))
    await rig.file(record(0, 3))
    rig.lose(1)
    await rig.archiver(LONG_S)
    assert rig.marks == [ShortfallKey("v1", FEED, minute(0)).key]


async def test_a_loss_is_told_once_and_its_end_whoever_brought_it(rig, autojump_clock):
    counter = metrics.ARCHIVER_UNARCHIVED.labels(FEED)
    before = counter._value.get()
    await rig.publish(*(trade(i, i) for i in range(3)), trade(63, 3))
    await rig.file(record(0, 3))
    rig.lose(1)
    await rig.archiver(LONG_S)
    await rig.file(record(0, 0, part=1))
    await rig.archiver(LONG_S)
    assert counter._value.get() - before == 1
    part = rig.store.objects[FIRST]
    rig.store.objects[FIRST.replace(".capnp", ".p01.capnp")] = blocks.compress(marketdata.encode(trade(0, 0)))
    await rig.archiver(WHOLE_EVERY * PACE_S + LONG_S)
    assert rig.marks == []
    assert rig.store.objects[FIRST] == part


async def test_the_position_names_the_stream_and_how_far_it_is_counted(rig, autojump_clock):
    await rig.publish(trade(1, 0), trade(2, 1), trade(63, 2), trade(64, 3), trade(125, 4))
    await rig.file(record(0, 2), record(1, 2))
    await rig.archiver(LONG_S)
    created_ns = rig.dialer.broker.streams["marketdata"].created_ns
    assert (rig.position.created_ns, rig.position.stream_seq) == (created_ns, 4)
    await rig.archiver(LONG_S)
    assert (rig.position.created_ns, rig.position.stream_seq) == (created_ns, 4)
    del rig.dialer.broker.streams["marketdata"]
    await rig.publish(trade(500, 5), trade(565, 6))
    await rig.file(record(8, 1))
    await rig.archiver(LONG_S)
    assert rig.position.stream_seq == 1


async def test_the_records_of_a_day_that_is_over_and_counted_are_bound(rig, autojump_clock):
    day_ns = START_NS // NS_PER_DAY * NS_PER_DAY
    digest = DigestKey("v1", FEED, day_ns)
    await remember(rig, Position(day_ns, minute(0), {minute(0): 1}))
    await rig.file(record(0, 0), record(1, 3))
    midnight_s = (day_ns + NS_PER_DAY - START_NS) / NS_PER_S
    await trio.sleep(midnight_s + 3 * 3600)
    await rig.publish(trade(midnight_s + 3 * 3600, 0))  # one minute that is not over: nothing is counted yet
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.archiver, 3600)
        await trio.sleep(1)
        assert digest.key not in rig.store.objects
        await trio.sleep(1800)
        assert set(unbind(rig.store.objects[digest.key])) == {RawKey(FEED, minute(0)), RawKey(FEED, minute(1))}
        nursery.cancel_scope.cancel()
    assert rig.marks == [ShortfallKey("v1", FEED, minute(1)).key]


class Marks:
    """Every mark that ever was, seen twice a second."""

    def __init__(self, rig: Counting) -> None:
        self.seen: set[str] = set()
        self._rig = rig

    async def watch(self) -> None:
        while True:
            self.seen.update(self._rig.marks)
            await trio.sleep(0.5)


async def test_what_is_filed_while_the_store_lists_is_younger_than_the_question(rig, autojump_clock):
    """Mutant: date what a listing names by when the listing began."""
    listing, marks, is_done = rig.store.list, Marks(rig), trio.Event()
    day = QualityKey("v1", FEED, minute(0)).key.rpartition("/")[0] + "/"

    async def slow_list(prefix: str) -> Sequence[ObjectMeta]:
        began_s = trio.current_time()
        if prefix == day and not is_done.is_set() and began_s > 100:
            with trio.move_on_after(3):
                while rig.archive.progress.passed_s < began_s:  # noqa: ASYNC110  (it has no event)
                    await trio.sleep(0.05)
                await trio.sleep(0.1)
                await rig.publish(*(trade(60 + i, 100 + i) for i in range(3)))
                await rig.file(record(1, 3))
                is_done.set()
        return await listing(prefix)

    rig.store.list = slow_list
    async with trio.open_nursery() as nursery:
        nursery.start_soon(marks.watch)
        await rig.archiver(3000)
        nursery.cancel_scope.cancel()
    assert is_done.is_set()
    assert marks.seen == set()


async def test_a_record_that_comes_while_others_are_counted_is_waited_for(rig, autojump_clock):
    """Mutant: go on with what was ripe when it began."""
    marks = Marks(rig)
    await rig.file(*(record(number, 1) for number in range(-40, 0)))
    await rig.publish(*(trade(60 * number, 100 + number) for number in range(-40, 0)))
    await rig.archiver(30)
    rig.dialer.broker.buckets.clear()
    rig.store.faults.delay_s = 0.2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(marks.watch)
        nursery.start_soon(rig.archiver, 1500)
        await trio.sleep(35)
        await rig.publish(*(trade(-55 + i, 900 + i) for i in range(3)), trade(90, 2000))
        await rig.file(record(-1, 3, part=1))
        await trio.sleep(1400)
        nursery.cancel_scope.cancel()
    assert marks.seen == set()
    assert rig.position.through_ns == minute(-1)


async def test_a_late_record_counts_though_nobody_was_there_for_days(rig, autojump_clock):
    """Mutant: begin with the day on which the counting stopped."""
    late, days = -16 * 60, 3
    await remember(rig, Position(minute(-2 * 1440), minute(0), {minute(0): 1}))
    await rig.file(record(0, 0))
    await trio.sleep(600)
    await rig.file(record(late, 7))
    await trio.sleep(days * 86_400)
    last = days * 1440 + 10
    await rig.publish(trade(last * 60 + 1, 1))
    await rig.file(record(last - 1, 0))
    await rig.archiver(LONG_S)
    assert rig.marks == [ShortfallKey("v1", FEED, minute(late)).key]


async def test_yesterday_is_listed_until_it_is_counted(rig, autojump_clock):
    """A connector that was cut off over night files both at once. Mutant: the newest record tells how far it is counted."""
    lost, present = 9 * 60, 15 * 60
    await remember(rig, Position(minute(0), minute(lost - 1)))
    await trio.sleep(present * 60)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.archiver, 1200)
        await trio.sleep(5)
        await rig.publish(trade((present - 3) * 60 + 1, 1), trade(present * 60, 2))
        await rig.file(record(lost, 10), record(present - 3, 1))
        for _ in range(110):
            await trio.sleep(10)
            assert rig.marks or rig.position.through_ns < minute(lost) or minute(lost) in rig.position.waiting
        nursery.cancel_scope.cancel()
    assert rig.marks == [ShortfallKey("v1", FEED, minute(lost)).key]


def test_a_late_record_leaves_everything_else_counted():
    """Mutant: the position falls back to before it."""
    book = StockBook(None, Kept())
    for number in range(10):
        book.note(QualityKey("v1", FEED, minute(number)), 0.0)
        book.counted(minute(number), 100 + number, 1)
    book.note(QualityKey("v1", FEED, minute(4), 1), 5.0)
    position = book.position(minute(20))
    assert (position.through_ns, position.waiting, position.stream_seq) == (minute(9), (minute(4),), 109)
    assert sum(position.hours.values()) == 9
    again = StockBook(position, Kept())
    again.take_up([*(QualityKey("v1", FEED, minute(n)) for n in range(10)), QualityKey("v1", FEED, minute(4), 1)], 9.0)
    assert again.ripe(9.0) == [
        minute(n) for n in range(10)
    ]  # the whole hour: which of its records are new is not known
    book.counted(minute(4), 0, 1)
    assert book.position(minute(20)).waiting == ()


def test_many_late_records_hold_back_what_lies_behind_them():
    book = StockBook(None, Kept())
    for number in range(MAX_LATE + 2):
        book.note(QualityKey("v1", FEED, minute(number)), 0.0)
    for number in (0, MAX_LATE + 1):
        book.counted(minute(number), 0, 1)
    book.note(QualityKey("v1", FEED, minute(0), 1), 0.0)
    assert book.position(minute(MAX_LATE + 9)).waiting == ()
    assert book.position(minute(MAX_LATE + 9)).through_ns == minute(-1)
