"""What every bus must do, shown for the one in memory and for a real nats-server."""

import pytest
import trio

from ssmd.bus.base import LAST_OF_EACH, BucketSpec, Bus, Consumer, Incoming, KvEntry, Outgoing, Start, StreamSpec
from ssmd.bus.names import HEADER_BYTES
from ssmd.clock import now_ns
from ssmd.errors import AlreadyStored, BusDown
from tests.bus.conftest import Rig

EVERYTHING = 10_000


async def read(consumer: Consumer, count: int) -> list[Incoming]:
    got: list[Incoming] = []
    with trio.fail_after(10):
        while len(got) < count:
            got += await consumer.fetch(count - len(got), 1)
    return got


async def drain(bus: Bus, rig: Rig, durable: str = "d") -> list[Incoming]:
    got: list[Incoming] = []
    async with bus.consume(rig.stream, durable, f"{rig.stream}.>") as consumer:
        while batch := await consumer.fetch(EVERYTHING, 0.2):
            got += batch
    return got


async def test_messages_come_in_the_order_of_publishing_with_their_ids(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        published = await bus.publish(rig.batch(0, 100))
        assert (published.stored, published.duplicates, published.last_stream_seq) == (100, 0, 100)
        got = await drain(bus, rig)
    assert [(m.subject, m.payload, m.message_id) for m in got] == [
        (m.subject, m.payload, m.message_id) for m in rig.batch(0, 100)
    ]
    assert [m.stream_seq for m in got] == list(range(1, 101))


async def test_a_repeated_batch_is_stored_once(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 20))
        again = await bus.publish(rig.batch(10, 20))
        assert (again.stored, again.duplicates, again.last_stream_seq) == (10, 10, 30)
        assert len(await drain(bus, rig)) == 30


@pytest.mark.slow
async def test_5000_messages_in_one_batch_arrive_once_each(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        assert (await bus.publish(rig.batch(0, 5000))).stored == 5000
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            got = await read(consumer, 5000)
            assert [m.stream_seq for m in got] == list(range(1, 5001))
            assert got[-1].pending == 0
            await consumer.ack_through(5000)


async def test_a_listener_gets_what_comes_after_it_and_leaves_the_rest_to_others(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 20))
        async with bus.listen(rig.stream, f"{rig.stream}.>") as listener:
            await bus.publish(rig.batch(20, 5))
            assert [m.stream_seq for m in await read(listener, 5)] == list(range(21, 26))
        assert len(await drain(bus, rig)) == 25


async def test_a_listener_begins_where_it_is_told_to(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 10))
        between_ns = now_ns()
        await bus.publish(rig.batch(10, 5))
        for start, first in ((Start(after_seq=0), 1), (Start(after_seq=12), 13), (Start(since_ns=between_ns), 11)):
            async with bus.listen(rig.stream, f"{rig.stream}.>", start) as listener:
                got = [m.stream_seq for m in await read(listener, 16 - first)]
                assert got == list(range(first, 16)), start


async def test_a_listener_may_begin_with_the_last_of_each_subject_and_then_gets_what_comes(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        for first, symbol in ((0, "BTCUSD"), (5, "ETHUSD"), (10, "SOLUSD"), (15, "BTCUSD")):
            await bus.publish(rig.batch(first, 5, symbol))
        async with bus.listen(rig.stream, f"{rig.stream}.>", LAST_OF_EACH) as listener:
            lasts = await read(listener, 3)
            assert [m.stream_seq for m in lasts] == [10, 15, 20]
            assert [m.pending for m in lasts] == [2, 1, 0]
            await bus.publish(rig.batch(20, 2, "ETHUSD"))
            assert [m.stream_seq for m in await read(listener, 2)] == [21, 22]


async def test_a_consumer_tells_how_many_messages_were_there_when_it_was_opened(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish([*rig.batch(0, 10), Outgoing(f"{rig.stream}.other", b"x", "other")])
        for subject, after_seq, count in ((f"{rig.stream}.>", 0, 11), (f"{rig.stream}.other", 4, 1), ("no.such", 0, 0)):
            async with bus.listen(rig.stream, subject, Start(after_seq=after_seq)) as listener:
                await bus.publish(rig.batch(20, 1))
                assert listener.present == count
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            assert consumer.present == 12


async def test_the_stream_tells_its_ends_and_how_far_a_durable_has_acknowledged(rig: Rig):
    async with rig.dialer.connect() as bus:
        assert await bus.acked_through(rig.stream, "d") == 0
        await bus.ensure_stream(rig.spec)
        assert await bus.acked_through(rig.stream, "d") == 0
        await bus.publish(rig.batch(0, 10))
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            await read(consumer, 10)
            await consumer.ack_through(7)
        assert await bus.acked_through(rig.stream, "d") == 7
        usage = await bus.usage(rig.stream)
        assert usage is not None
        assert (usage.first_seq, usage.last_seq, usage.messages) == (1, 10, 10)
        assert usage.created_ns == (await bus.usage(rig.stream)).created_ns > 0


async def test_an_empty_batch_is_published_at_once(rig: Rig):
    async with rig.dialer.connect() as bus:
        assert (await bus.publish([])).stored == 0


async def test_two_tasks_publish_over_one_connection(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bus.publish, rig.batch(0, 300))
            nursery.start_soon(bus.publish, rig.batch(300, 300))
        assert len({m.message_id for m in await drain(bus, rig)}) == 600


@pytest.mark.parametrize("token", ["*", ">", "a b", "", "x\r\nPUB y", "a" * 33, "ü", "a\n"])
async def test_a_subject_that_is_not_all_plain_tokens_is_refused(rig: Rig, token: str):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        with pytest.raises(ValueError, match="subject is"):
            await bus.publish([*rig.batch(0, 3), Outgoing(f"{rig.stream}.{token}", b"", "id")])
        assert await drain(bus, rig) == []


@pytest.mark.parametrize("identity", ["", "a\r\nX: y", " a", "ü", "a\n"])
async def test_a_message_id_that_is_not_one_header_value_is_refused(rig: Rig, identity: str):
    async with rig.dialer.connect() as bus:
        with pytest.raises(ValueError, match="message id"):
            await bus.publish([Outgoing(f"{rig.stream}.x", b"", identity)])


async def test_a_payload_above_the_limit_is_refused_and_the_connection_lives(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        fits = Outgoing(f"{rig.stream}.x", bytes(1_048_576 - HEADER_BYTES - len("big")), "big")
        with pytest.raises(ValueError, match="message big has"):
            await bus.publish([*rig.batch(0, 3), Outgoing(fits.subject, fits.payload + b"x", "big")])
        assert await drain(bus, rig) == []
        assert (await bus.publish([fits])).stored == 1
        assert (await bus.publish([*rig.batch(0, 10), Outgoing(fits.subject, fits.payload, "fat")])).stored == 11


async def test_a_subject_without_stream_is_an_outage(rig: Rig):
    async with rig.dialer.connect() as bus:
        with pytest.raises(BusDown):
            await bus.publish(rig.batch(0, 1))


async def test_a_stream_can_be_ensured_again_with_another_limit(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 5))
        wider = StreamSpec(rig.stream, (*rig.spec.subjects, f"{rig.stream}more.>"), 5_000_000, 7200)
        await bus.ensure_stream(wider)
        await bus.ensure_stream(wider)
        await bus.publish([Outgoing(f"{rig.stream}more.x", b"", "id")])
        assert len(await drain(bus, rig)) == 5


async def test_the_usage_of_a_stream_tells_what_it_holds_and_may_hold(rig: Rig):
    async with rig.dialer.connect() as bus:
        assert await bus.usage(rig.stream) is None
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 5))
        usage = await bus.usage(rig.stream)
    assert usage is not None
    assert (usage.messages, usage.limit_bytes) == (5, rig.spec.max_bytes)
    assert 0 < usage.stored_bytes < usage.limit_bytes


async def test_a_full_stream_drops_its_oldest_messages(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(StreamSpec(rig.stream, rig.spec.subjects, max_bytes=5_000, max_age_s=3600))
        await bus.publish([Outgoing(f"{rig.stream}.x", bytes(1000), f"id{i}") for i in range(10)])
        got = await drain(bus, rig)
        assert 0 < len(got) < 6
        assert got[-1].stream_seq == 10


async def test_fetch_waits_for_the_first_message_and_not_longer(rig: Rig):
    async with rig.dialer.connect() as bus, trio.open_nursery() as nursery:
        await bus.ensure_stream(rig.spec)
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            assert await consumer.fetch(10, 0.05) == []
            nursery.start_soon(bus.publish, rig.batch(0, 1))
            with trio.fail_after(3):
                got = await consumer.fetch(10, 30)
        assert [m.message_id for m in got] == ["feed/conn/0/0"]


async def test_fetch_gives_no_more_than_the_limit_and_says_what_is_left(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 10))
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            got = await consumer.fetch(4, 1)
            assert 1 <= len(got) <= 4
            assert [m.pending for m in got] == [9 - i for i in range(len(got))]


async def test_a_consumer_sees_only_its_subject(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        for i in range(5):
            await bus.publish([*rig.batch(2 * i, 1, "BTCUSD"), *rig.batch(2 * i + 1, 1, "ETHUSD")])
        async with bus.consume(rig.stream, "d", f"{rig.stream}.*.ETHUSD") as consumer:
            got = await read(consumer, 5)
            assert {m.subject for m in got} == {f"{rig.stream}.trade.ETHUSD"}
            await consumer.ack_through(got[2].stream_seq)
        async with bus.consume(rig.stream, "d", f"{rig.stream}.*.ETHUSD") as consumer:
            assert [m.stream_seq for m in await read(consumer, 2)] == [m.stream_seq for m in got[3:]]


async def test_what_is_not_acknowledged_comes_again_in_order_when_the_consumer_is_opened_again(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 100))
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            await read(consumer, 60)
            await consumer.ack_through(25)
    async with rig.dialer.connect() as bus:
        await bus.publish(rig.batch(100, 10))
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            with trio.fail_after(2):
                got = await read(consumer, 85)
            assert [m.stream_seq for m in got] == list(range(26, 111))
            await consumer.ack_through(110)
    async with rig.dialer.connect() as bus:
        assert await drain(bus, rig) == []


async def test_acknowledging_nothing_or_twice_is_harmless(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 3))
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            await consumer.ack_through(2)
            await read(consumer, 3)
            await consumer.ack_through(2)
            await consumer.ack_through(1)
            await consumer.ack_through(2)
        assert [m.stream_seq for m in await drain(bus, rig)] == [3]


async def test_an_unacknowledged_backlog_above_the_limit_stops_the_delivery_until_it_is_acknowledged(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 10))
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>", max_ack_pending=4) as consumer:
            assert len(await read(consumer, 4)) == 4
            assert await consumer.fetch(4, 0.1) == []
            await consumer.ack_through(4)
            assert [m.stream_seq for m in await read(consumer, 4)] == [5, 6, 7, 8]


async def test_a_cancelled_fetch_loses_nothing(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            got = []
            for i in range(10):
                with trio.move_on_after(0.01):
                    got += await consumer.fetch(100, 60)
                await bus.publish(rig.batch(10 * i, 10))
                with trio.move_on_after(0.005):
                    got += await consumer.fetch(3, 60)
            got += await read(consumer, 100 - len(got))
            assert [m.stream_seq for m in got] == list(range(1, 101))


async def test_consumers_with_different_names_are_independent(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 5))
        assert len(await drain(bus, rig, "one")) == 5
        assert len(await drain(bus, rig, "two")) == 5


@pytest.mark.parametrize("pattern", ["a.>.b", "a.b*", "a..b", "", "a b"])
async def test_a_malformed_pattern_is_refused(rig: Rig, pattern: str):
    async with rig.dialer.connect() as bus:
        with pytest.raises(ValueError, match="pattern"):
            async with bus.consume("s", "d", pattern):
                pass


async def test_a_value_is_written_read_and_replaced(rig: Rig):
    async with rig.dialer.connect() as bus:
        assert await bus.kv_get(rig.bucket, "dev.feeds.x") is None
        first = await bus.kv_put(rig.bucket, "dev.feeds.x", b"1")
        assert await bus.kv_get(rig.bucket, "dev.feeds.x") == KvEntry("dev.feeds.x", b"1", first)
        second = await bus.kv_put(rig.bucket, "dev.feeds.x", b"")
        assert second > first
        assert await bus.kv_get(rig.bucket, "dev.feeds.x") == KvEntry("dev.feeds.x", b"", second)
        assert await bus.kv_get(rig.bucket, "dev.feeds.y") is None


async def test_only_the_first_of_two_writers_wins(rig: Rig):
    async with rig.dialer.connect() as bus:
        first = await bus.kv_put(rig.bucket, "k", b"1", expected_revision=0)
        with pytest.raises(AlreadyStored):
            await bus.kv_put(rig.bucket, "k", b"2", expected_revision=0)
        second = await bus.kv_put(rig.bucket, "k", b"3", expected_revision=first)
        with pytest.raises(AlreadyStored):
            await bus.kv_put(rig.bucket, "k", b"4", expected_revision=first)
        assert await bus.kv_get(rig.bucket, "k") == KvEntry("k", b"3", second)


async def test_a_deleted_key_is_gone_and_counts_as_new(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.kv_put(rig.bucket, "k", b"1")
        await rig.delete_key("k")
        assert await bus.kv_get(rig.bucket, "k") is None
        assert await bus.kv_put(rig.bucket, "k", b"2", expected_revision=0) == 3


@pytest.mark.parametrize("key", ["a.*", ">", "a b", "", "a..b"])
async def test_a_key_that_is_not_all_plain_tokens_is_refused(rig: Rig, key: str):
    async with rig.dialer.connect() as bus:
        with pytest.raises(ValueError, match="key is"):
            await bus.kv_put(rig.bucket, key, b"")
        with pytest.raises(ValueError, match="key is"):
            await bus.kv_get(rig.bucket, key)
        with pytest.raises(ValueError, match="key is"):
            await bus.kv_delete(rig.bucket, key)


@pytest.mark.parametrize("pattern", ["a.>.b", "a.b*", "a..b", "", "a b"])
async def test_a_malformed_pattern_of_keys_is_refused(rig: Rig, pattern: str):
    async with rig.dialer.connect() as bus:
        with pytest.raises(ValueError, match="pattern"):
            await bus.kv_list(rig.bucket, pattern)
        with pytest.raises(ValueError, match="pattern"):
            async with bus.kv_watch(rig.bucket, pattern):
                pass


async def test_a_value_above_the_limit_is_refused_and_the_connection_lives(rig: Rig):
    async with rig.dialer.connect() as bus:
        most = bytes(1_048_576 - HEADER_BYTES)
        with pytest.raises(ValueError, match="the server takes"):
            await bus.kv_put(rig.bucket, "k", most + b"x")
        await bus.kv_put(rig.bucket, "k", most, expected_revision=0)
        assert len((await bus.kv_get(rig.bucket, "k")).value) == len(most)


async def test_a_deletion_needs_the_last_revision_when_one_is_named(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.kv_delete(rig.bucket, "k")
        first = await bus.kv_put(rig.bucket, "k", b"1")
        second = await bus.kv_put(rig.bucket, "k", b"2")
        with pytest.raises(AlreadyStored):
            await bus.kv_delete(rig.bucket, "k", expected_revision=first)
        assert (await bus.kv_get(rig.bucket, "k")).value == b"2"
        await bus.kv_delete(rig.bucket, "k", expected_revision=second)
        assert await bus.kv_get(rig.bucket, "k") is None
        await bus.kv_delete(rig.bucket, "k")


async def test_a_list_gives_the_last_value_of_each_key_that_matches_and_no_deleted_one(rig: Rig):
    async with rig.dialer.connect() as bus:
        for key in ("a.x.2", "a.x.1", "a.y.1", "b.x.1", "a.x"):
            await bus.kv_put(rig.bucket, key, b"old")
        for key in ("a.x.2", "a.x.1", "a.y.1"):
            await bus.kv_put(rig.bucket, key, b"new " + key.encode())
        await bus.kv_put(rig.bucket, "a.gone.1", b"1")
        await bus.kv_delete(rig.bucket, "a.gone.1")
        one = await bus.kv_list(rig.bucket, "a.*.1")
        assert [(entry.key, entry.value) for entry in one] == [("a.x.1", b"new a.x.1"), ("a.y.1", b"new a.y.1")]
        assert one[0] == await bus.kv_get(rig.bucket, "a.x.1")
        assert [entry.key for entry in await bus.kv_list(rig.bucket, "a.>")] == ["a.x", "a.x.1", "a.x.2", "a.y.1"]
        assert await bus.kv_list(rig.bucket, "none.>") == []


async def test_a_list_of_a_bucket_that_is_not_there_is_empty_and_makes_none(rig: Rig):
    async with rig.dialer.connect() as bus:
        assert list(await bus.kv_list(rig.bucket, ">")) == []
        await bus.ensure_bucket(BucketSpec(rig.bucket, max_age_s=100, in_memory=True))
        await bus.kv_put(rig.bucket, "k", b"1")
        assert len(await bus.kv_list(rig.bucket, ">")) == 1


@pytest.mark.slow
async def test_a_list_may_be_long(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_bucket(BucketSpec(rig.bucket, in_memory=True))
        for i in range(600):
            await bus.kv_put(rig.bucket, f"k.{i}", b"%d" % i)
        assert {int(entry.value) for entry in await bus.kv_list(rig.bucket, "k.*")} == set(range(600))


async def test_a_bucket_can_be_ensured_again_with_another_age_and_keeps_what_it_holds(rig: Rig):
    async with rig.dialer.connect() as bus:
        for max_age_s in (100.0, 100.0, 3600.0, 0.0, 50.0):
            await bus.ensure_bucket(BucketSpec(rig.bucket, max_age_s, in_memory=True))
            await bus.kv_put(rig.bucket, "k", b"1", expected_revision=0 if max_age_s == 100.0 else None)
            await bus.kv_delete(rig.bucket, "k")
        revision = await bus.kv_put(rig.bucket, "k", b"1")
        await bus.ensure_bucket(BucketSpec(rig.bucket, 100, in_memory=True))
        assert (await bus.kv_get(rig.bucket, "k")).revision == revision == 11


async def test_one_watch_follows_every_key_of_a_pattern(rig: Rig):
    async with rig.dialer.connect() as bus:
        for key in ("a.1", "a.2", "b.1"):
            await bus.kv_put(rig.bucket, key, b"old")
        await bus.kv_put(rig.bucket, "a.1", b"new")
        async with bus.kv_watch(rig.bucket, "a.*") as values:
            with trio.fail_after(5):
                assert {(e.key, e.value) for e in (await anext(values), await anext(values))} == {
                    ("a.1", b"new"),
                    ("a.2", b"old"),
                }
                await bus.kv_put(rig.bucket, "b.1", b"x")
                revision = await bus.kv_put(rig.bucket, "a.3", b"3")
                assert await anext(values) == KvEntry("a.3", b"3", revision)
                await bus.kv_delete(rig.bucket, "a.1")
                gone = await anext(values)
                assert (gone.key, gone.value) == ("a.1", None)


async def test_a_watch_gives_the_present_value_and_each_later_one(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.kv_put(rig.bucket, "k", b"old")
        await bus.kv_put(rig.bucket, "k", b"1")
        async with bus.kv_watch(rig.bucket, "k") as values:
            with trio.fail_after(5):
                assert (await anext(values)).value == b"1"
                await bus.kv_put(rig.bucket, "other", b"x")
                revision = await bus.kv_put(rig.bucket, "k", b"2")
                await rig.delete_key("k")
                assert await anext(values) == KvEntry("k", b"2", revision)
                assert (await anext(values)).value is None


async def test_a_watch_may_begin_before_the_bucket_exists(rig: Rig):
    async with rig.dialer.connect() as bus, bus.kv_watch(rig.bucket, "k") as values:
        with trio.move_on_after(0.1):
            await anext(values)
        await bus.kv_put(rig.bucket, "k", b"1")
        with trio.fail_after(5):
            assert (await anext(values)).value == b"1"


async def test_a_watch_ends_when_its_bucket_is_deleted(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.kv_put(rig.bucket, "k", b"1")
        async with bus.kv_watch(rig.bucket, "k") as values:
            await anext(values)
            await rig.delete_bucket()
            with trio.fail_after(5), pytest.raises(BusDown):
                await anext(values)


async def test_a_new_watch_after_that_sees_the_new_bucket(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.kv_put(rig.bucket, "k", b"1")
        await rig.delete_bucket()
        async with bus.kv_watch(rig.bucket, "k") as values:
            await bus.kv_put(rig.bucket, "k", b"2")
            with trio.fail_after(5):
                assert (await anext(values)).value == b"2"


async def test_a_consumer_says_how_many_messages_are_not_acknowledged_read_or_not(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            assert await consumer.left() == 0
            await bus.publish(rig.batch(0, 10))
            assert await consumer.left() == 10
            await read(consumer, 4)
            assert await consumer.left() == 10
            await consumer.ack_through(4)
            assert await consumer.left() == 6
            await read(consumer, 6)
            await consumer.ack_through(10)
            assert await consumer.left() == 0


async def test_a_consumer_says_what_the_stream_dropped_before_it_was_acknowledged(rig: Rig):
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 100))
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            assert consumer.discarded == 0
            await read(consumer, 10)
            await consumer.ack_through(10)
        small = StreamSpec(rig.spec.name, rig.spec.subjects, max_bytes=500, max_age_s=rig.spec.max_age_s)
        await bus.ensure_stream(small)
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            assert 0 < consumer.discarded <= 90
            first = (await read(consumer, 1))[0]
            assert first.stream_seq == 10 + consumer.discarded + 1
