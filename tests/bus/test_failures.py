"""What the bus over NATS does when the server, the connection, the thread or the caller goes away."""

import asyncio
import signal
import threading
import time
from functools import partial

import pytest
import trio

from ssmd.bus import island, outbox
from ssmd.bus.base import Outgoing, Start
from ssmd.bus.island import open_island
from ssmd.bus.nats import NatsBus, NatsDialer
from ssmd.bus.server import wait_ready
from ssmd.errors import BusDown
from tests.bus.conftest import RunningServer, as_admin, nats_rig
from tests.bus.test_conformance import drain, read

pytestmark = pytest.mark.slow


async def test_nobody_listening_is_an_outage_at_once(own_server: RunningServer):
    own_server.kill()
    started_s = time.monotonic()
    with pytest.raises(BusDown, match=r"cannot connect to 127\.0\.0\.1"):
        async with NatsDialer(own_server.url).connect():
            pass
    assert time.monotonic() - started_s < 1


async def test_a_server_that_accepts_and_says_nothing_is_an_outage_within_the_deadline():
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    with trio.fail_after(8), pytest.raises(BusDown):
        async with NatsDialer(f"nats://user:secret@127.0.0.1:{port}").connect():
            pass
    await listeners[0].aclose()


async def test_no_secret_of_the_url_is_in_the_error():
    with pytest.raises(BusDown) as caught:
        async with NatsDialer("nats://user:secret@127.0.0.1:1,nats://token@127.0.0.1:2").connect():
            pass
    assert "127.0.0.1:1,127.0.0.1:2" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "token" not in str(caught.value)


async def test_a_kill_in_a_burst_is_noticed_and_a_repeat_leaves_each_message_once(own_server: RunningServer):
    rig = nats_rig(own_server.url)
    batch = rig.batch(0, 20_000)
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill_after, own_server, 0.2)
            with trio.fail_after(8), pytest.raises(BusDown):
                await bus.publish(batch)
        with pytest.raises(BusDown):
            await bus.publish(batch[:1])
    own_server.start()
    await wait_ready(own_server.settings)
    async with rig.dialer.connect() as bus:
        again = await bus.publish(batch)
        assert again.duplicates > 0
        assert again.stored + again.duplicates == len(batch)
        assert [m.message_id for m in await drain(bus, rig)] == [m.message_id for m in batch]


async def kill_after(server: RunningServer, delay_s: float) -> None:
    await trio.sleep(delay_s)
    server.kill()


async def test_a_frozen_server_is_noticed_by_the_ack_deadline(own_server: RunningServer, monkeypatch):
    monkeypatch.setattr(outbox, "ACK_WITHIN_S", 0.5)
    rig = nats_rig(own_server.url)
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        own_server.signal(signal.SIGSTOP)
        with trio.fail_after(3), pytest.raises(BusDown, match="no ack"):
            await bus.publish(rig.batch(0, 100))
        own_server.signal(signal.SIGCONT)


async def test_a_frozen_server_with_full_buffers_is_noticed_too(own_server: RunningServer):
    rig = nats_rig(own_server.url)
    batch = [Outgoing(f"{rig.stream}.x", bytes(900_000), f"id{i}") for i in range(40)]
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        own_server.signal(signal.SIGSTOP)
        with trio.fail_after(8), pytest.raises(BusDown):
            await bus.publish(batch)
        own_server.signal(signal.SIGCONT)


async def test_a_cancel_gets_through_to_a_publish_with_full_buffers(own_server: RunningServer):
    rig = nats_rig(own_server.url)
    batch = [Outgoing(f"{rig.stream}.x", bytes(900_000), f"id{i}") for i in range(40)]
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        own_server.signal(signal.SIGSTOP)
        started_s = time.monotonic()
        with trio.move_on_after(0.2) as scope:
            await bus.publish(batch)
        assert scope.cancelled_caught
        assert time.monotonic() - started_s < 0.6
        own_server.signal(signal.SIGCONT)


async def test_a_reader_notices_the_kill_at_once(own_server: RunningServer):
    rig = nats_rig(own_server.url)
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        async with (
            bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer,
            bus.kv_watch(rig.bucket, "k") as values,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(kill_after, own_server, 0.1)
            nursery.start_soon(expect_outage, partial(consumer.fetch, 10, 60))
            nursery.start_soon(expect_outage, partial(anext, values))


async def expect_outage(work) -> None:
    with trio.fail_after(3), pytest.raises(BusDown):
        await work()


async def test_a_frozen_server_is_noticed_by_a_reader(own_server: RunningServer, monkeypatch):
    monkeypatch.setattr("ssmd.bus.pulling.PULL_EXPIRES_S", 0.3)
    monkeypatch.setattr("ssmd.bus.pulling.PULL_GRACE_S", 0.3)
    rig = nats_rig(own_server.url)
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            assert await consumer.fetch(10, 1) == []
            own_server.signal(signal.SIGSTOP)
            with trio.fail_after(3), pytest.raises(BusDown, match="no answer"):
                await consumer.fetch(10, 60)
            own_server.signal(signal.SIGCONT)


async def test_a_restarted_server_sends_everything_unacknowledged_again_in_order(own_server: RunningServer):
    rig = nats_rig(own_server.url)
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 50))
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer:
            await read(consumer, 40)
            await consumer.ack_through(30)
        own_server.kill()
    own_server.start()
    await wait_ready(own_server.settings)
    async with rig.dialer.connect() as bus:
        seqs = [m.stream_seq for m in await drain(bus, rig)]
    assert seqs[0] <= 31
    assert seqs == list(range(seqs[0], 51))


async def test_a_second_reader_of_a_durable_takes_it_over_and_the_first_notices(nats_server: RunningServer):
    rig = nats_rig(nats_server.url)
    async with rig.dialer.connect() as one, rig.dialer.connect() as two:
        await one.ensure_stream(rig.spec)
        async with one.consume(rig.stream, "d", f"{rig.stream}.>") as first:
            await one.publish(rig.batch(0, 10))
            await read(first, 10)
            async with two.consume(rig.stream, "d", f"{rig.stream}.>") as second:
                assert [m.stream_seq for m in await read(second, 10)] == list(range(1, 11))
                await two.publish(rig.batch(10, 10))
                await read(second, 5)
                with pytest.raises(BusDown, match="one reader"):
                    await first.fetch(10, 2)


async def test_a_listener_leaves_nothing_on_the_server_also_when_it_is_cancelled(nats_server: RunningServer):
    rig = nats_rig(nats_server.url)
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        await bus.publish(rig.batch(0, 5))
        for within_s in (5.0, 0.0):
            with trio.move_on_after(5) as scope:
                async with bus.listen(rig.stream, f"{rig.stream}.>", Start(after_seq=0)) as listener:
                    assert len(await as_admin(nats_server.url, lambda js: js.consumers_info(rig.stream))) == 1
                    scope.deadline = trio.current_time() + within_s
                    await read(listener, 5)
            assert await as_admin(nats_server.url, lambda js: js.consumers_info(rig.stream)) == []


async def test_a_stream_that_takes_no_groups_is_published_to_one_by_one(nats_server: RunningServer):
    rig = nats_rig(nats_server.url)
    await as_admin(nats_server.url, lambda js: js.add_stream(name=rig.stream, subjects=[f"{rig.stream}.>"]))
    async with rig.dialer.connect() as bus:
        assert (await bus.publish(rig.batch(0, 600))).stored == 600
        assert [m.message_id for m in await drain(bus, rig)] == [m.message_id for m in rig.batch(0, 600)]


async def test_a_group_that_goes_to_two_streams_is_published_one_by_one(nats_server: RunningServer):
    one, two = nats_rig(nats_server.url), nats_rig(nats_server.url)
    async with one.dialer.connect() as bus:
        await bus.ensure_stream(one.spec)
        await bus.ensure_stream(two.spec)
        mixed = [message for pair in zip(one.batch(0, 50), two.batch(0, 50), strict=True) for message in pair]
        assert (await bus.publish(mixed)).stored == 100
        assert len(await drain(bus, one)) == len(await drain(bus, two)) == 50


async def test_an_abandoned_group_leaves_nothing_and_blocks_nothing(nats_server: RunningServer):
    rig = nats_rig(nats_server.url)
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        stored = 0
        for i in range(60):  # the server allows 50 open groups in a stream
            with trio.move_on_after(0.004):
                stored += (await bus.publish(rig.batch(i * 500, 500))).stored
        for i in range(60):
            published = await bus.publish(rig.batch(i * 500, 500))
            assert published.stored + published.duplicates == 500
        assert len(await drain(bus, rig)) == 30_000


@pytest.mark.parametrize("work", ["publish", "fetch", "watch", "connect"])
async def test_a_cancel_returns_promptly_and_leaves_no_task(nats_server: RunningServer, work: str):
    rig = nats_rig(nats_server.url)
    threads = threading.active_count()
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        tasks = await count_tasks(bus)
        for delay_s in (0, 0.001, 0.003, 0.01, 0.03):
            started_s = time.monotonic()
            with trio.move_on_after(delay_s) as scope:
                await endless(work, bus, rig)
            assert scope.cancelled_caught
            assert time.monotonic() - started_s < delay_s + 0.5
        assert await count_tasks(bus) == tasks
        assert (await bus.publish(rig.batch(10**6, 1))).stored == 1
    assert threading.active_count() == threads


async def endless(work: str, bus, rig) -> None:
    if work == "publish":
        await bus.publish(rig.batch(0, 50_000))
    elif work == "connect":
        async with rig.dialer.connect():
            await trio.sleep_forever()
    elif work == "fetch":
        async with bus.consume(rig.stream, "d", f"{rig.stream}.none") as consumer:
            await consumer.fetch(10, 60)
    else:
        async with bus.kv_watch(rig.bucket, "k") as values:
            await anext(values)


async def count_tasks(bus: NatsBus) -> int:
    async def count() -> int:
        await asyncio.sleep(0.05)
        return len(asyncio.all_tasks())

    return await bus._island.run(count)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_dead_bus_thread_is_an_outage_and_connecting_again_heals_it(nats_server: RunningServer):
    rig = nats_rig(nats_server.url)
    async with rig.dialer.connect() as bus:
        await bus.ensure_stream(rig.spec)
        async with bus.consume(rig.stream, "d", f"{rig.stream}.>") as consumer, trio.open_nursery() as nursery:
            nursery.start_soon(expect_outage, partial(consumer.fetch, 10, 60))
            await trio.testing.wait_all_tasks_blocked(0.1)
            bus._island._loop.call_soon_threadsafe(die)
        await expect_outage(partial(bus.publish, rig.batch(0, 1)))
    async with rig.dialer.connect() as bus:
        assert (await bus.publish(rig.batch(0, 1))).stored == 1


def die() -> None:
    raise SystemExit


async def test_a_hanging_bus_thread_is_noticed_by_its_pulse(nats_server: RunningServer, monkeypatch):
    monkeypatch.setattr(island, "PULSE_EVERY_S", 0.2)
    monkeypatch.setattr(island, "PULSE_WITHIN_S", 0.3)
    rig = nats_rig(nats_server.url)
    hanging = threading.Event()
    async with rig.dialer.connect() as bus:
        bus._island._loop.call_soon_threadsafe(hanging.wait, 30)
        with trio.fail_after(2), pytest.raises(BusDown, match="not answered"):
            await bus.kv_get(rig.bucket, "k")
        with pytest.raises(BusDown):
            await bus.kv_get(rig.bucket, "k")
        hanging.set()
    async with rig.dialer.connect() as bus:
        assert await bus.kv_get(rig.bucket, "k") is None


async def test_errors_and_results_cross_the_island_unchanged():
    async def divide(by: int) -> float:
        return 6 / by

    async with open_island() as land:
        assert await land.run(partial(divide, 2)) == 3
        with pytest.raises(ZeroDivisionError):
            await land.run(partial(divide, 0))


async def test_work_that_swallows_its_cancel_does_not_turn_it_into_an_error():
    async def stubborn() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            raise ValueError("stalled") from None

    async with open_island() as land:
        with trio.move_on_after(0.05) as scope:
            await land.run(stubborn)
        assert scope.cancelled_caught


async def test_an_island_ends_its_thread_also_when_cancelled_at_once():
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_island("short"):
            await trio.sleep_forever()
    assert "short" not in [t.name for t in threading.enumerate()]
