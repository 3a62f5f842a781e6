"""The faults that the bus in memory can be told to have, on a virtual clock."""

import pytest
import trio

from ssmd.bus.base import BucketSpec
from ssmd.bus.memory import MAX_PAYLOAD_BYTES, MemoryDialer
from ssmd.bus.memory_store import matches
from ssmd.bus.nats import NatsDialer
from ssmd.errors import BusDown
from tests.bus.conftest import memory_rig


async def test_down_ends_every_connection_and_up_takes_new_ones(autojump_clock):
    rig = memory_rig()
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer, trio.open_nursery() as nursery:
            nursery.start_soon(down_after, rig.dialer, 5)
            with pytest.raises(BusDown):
                await consumer.fetch(10, 3600)
        with pytest.raises(BusDown):
            await bus.publish(rig.batch(0, 1))
        with pytest.raises(BusDown):
            async with rig.dialer.connect():
                pass
        rig.dialer.broker.up()
        with pytest.raises(BusDown):
            await bus.publish(rig.batch(0, 1))
    async with rig.dialer.connect() as bus:
        assert (await bus.publish(rig.batch(0, 1))).stored == 1


async def down_after(dialer: MemoryDialer, delay_s: float) -> None:
    await trio.sleep(delay_s)
    dialer.broker.down()


async def test_a_lost_ack_leaves_the_messages_stored_once(autojump_clock):
    rig = memory_rig()
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        rig.dialer.broker.fail_next_acks(1)
        with pytest.raises(BusDown):
            await bus.publish(rig.batch(0, 5))
        again = await bus.publish(rig.batch(0, 5))
        assert (again.stored, again.duplicates) == (0, 5)


async def test_the_duplicate_window_ends(autojump_clock):
    rig = memory_rig()
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 1))
        await trio.sleep(599)
        assert (await bus.publish(rig.batch(0, 1))).duplicates == 1
        await trio.sleep(2)
        assert (await bus.publish(rig.batch(0, 1))).stored == 1


async def test_a_value_that_nobody_renews_ages_out(autojump_clock):
    rig = memory_rig()
    async with rig.dialer.connect() as bus:
        await bus.ensure_bucket(BucketSpec(rig.bucket, max_age_s=3600, in_memory=True))
        await bus.kv_put(rig.bucket, "dead", b"1")
        for _ in range(4):
            await bus.kv_put(rig.bucket, "alive", b"1")
            await trio.sleep(1000)
        assert [entry.key for entry in await bus.kv_list(rig.bucket, ">")] == ["alive"]
        assert await bus.kv_get(rig.bucket, "dead") is None


async def test_a_restart_loses_what_was_kept_in_memory_only(autojump_clock):
    rig = memory_rig()
    async with rig.dialer.connect() as bus:
        await bus.ensure_bucket(BucketSpec("short", in_memory=True))
        await bus.kv_put("short", "k", b"1")
        await bus.kv_put("long", "k", b"1")
        rig.dialer.broker.lose_memory()
        with pytest.raises(BusDown):
            await bus.kv_get("long", "k")
    async with rig.dialer.connect() as bus:
        assert await bus.kv_get("long", "k") is not None
        assert await bus.kv_get("short", "k") is None


async def test_the_limit_is_the_one_of_a_real_server(nats_server):
    async with NatsDialer(nats_server.url).connect() as bus:
        assert bus._link.client.max_payload == MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        (">", "a", True),
        ("*.b", "a.b", True),
        ("a", "a.b", False),
    ],
)
def test_patterns_match_as_in_nats(pattern: str, subject: str, expected: bool):
    assert matches(pattern, subject) is expected
