from pathlib import Path

import pytest
import trio
import trio.testing

from ssmd.actors.raw_writer import PACE_SHARE, RawWriter
from ssmd.blocking import inline
from ssmd.codec import raw
from ssmd.errors import DiskFull
from ssmd.journal import Journal, JournalLimits
from ssmd.settings import JournalSettings
from ssmd.supervisor import Backoff, ChildSpec, Strategy, Supervisor
from tests.actors.fakes import virtual_now_ns

FLUSH_MS = 50


class Disk:
    """The journal's way to the disk: watched, and full or slow on request."""

    def __init__(self) -> None:
        self.full = False
        self.delay_s = 0.0
        self.synced_at_s: list[float] = []

    async def __call__(self, work, *args):
        await trio.sleep(self.delay_s)
        if self.full:
            raise OSError(28, "No space left on device")
        if work.__name__ == "_sync_file":
            self.synced_at_s.append(trio.current_time())
        return await inline(work, *args)


class Rig:
    def __init__(self, directory) -> None:
        self.disk = Disk()
        self.journal = Journal(directory, JournalLimits(pending_bytes=2_000), virtual_now_ns, self.disk)

    def writer(self) -> RawWriter:
        return RawWriter(self.journal, JournalSettings(flush_ms=FLUSH_MS, fsync_ms=1000))

    def supervised(self) -> Supervisor:
        spec = ChildSpec("raw-writer", self.writer, Backoff(first_s=0.1, cap_s=1.0))
        return Supervisor("connector", Strategy.ONE_FOR_ONE, [spec])

    def on_disk(self) -> list[str]:
        data = b"".join((self.journal.directory / s.name).read_bytes() for s in self.journal.segments)
        return [raw.decode_line(line).frame for line in data.splitlines()]


@pytest.fixture
def rig(tmp_path) -> Rig:
    return Rig(tmp_path / "kraken")


def frames(count: int) -> list[str]:
    return [f'{{"i":{i}}}' for i in range(count)]


async def append(rig: Rig, texts: list[str], every_s: float) -> None:
    for seq, text in enumerate(texts):
        await rig.journal.room()
        rig.journal.append_frame("c-0-1", seq, text)
        await trio.sleep(every_s)


async def test_a_frame_is_on_disk_within_the_flush_time(rig, autojump_clock):
    with trio.move_on_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.writer().run)
            await trio.sleep(0.5)
            rig.journal.append_frame("c-0-1", 0, '{"a":1}')
            await trio.sleep(FLUSH_MS / 1000)
            assert rig.on_disk() == ['{"a":1}']


async def test_a_frame_behind_a_pause_is_written_at_once_and_the_next_ones_wait_to_be_a_group(rig, mock_clock):
    texts = frames(3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.writer().run)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(0.5)
        rig.journal.append_frame("c-0-1", 0, texts[0])
        await trio.testing.wait_all_tasks_blocked()
        assert rig.on_disk() == texts[:1]
        for seq in (1, 2):
            rig.journal.append_frame("c-0-1", seq, texts[seq])
            await trio.testing.wait_all_tasks_blocked()
        assert rig.on_disk() == texts[:1]
        mock_clock.jump(FLUSH_MS * PACE_SHARE / 1000)
        await trio.testing.wait_all_tasks_blocked()
        assert rig.on_disk() == texts
        nursery.cancel_scope.cancel()


async def test_frames_are_written_in_groups_and_synced_about_once_a_second(rig, autojump_clock):
    with trio.move_on_after(10.5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.writer().run)
            await append(rig, frames(2000), 0.005)
    assert rig.on_disk() == frames(2000)
    assert 9 <= len(rig.disk.synced_at_s) <= 12


async def test_drain_writes_and_syncs_the_rest_and_closes_the_segment(rig, autojump_clock):
    writer = rig.writer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer.run)
        await trio.sleep(0.5)
        rig.journal.append_frame("c-0-1", 0, '{"a":1}')
        writer.drain()
    assert rig.on_disk() == ['{"a":1}']
    assert rig.disk.synced_at_s
    assert rig.journal.closed_segments() == list(rig.journal.segments)


async def test_drain_during_a_slow_write_ends_behind_it(rig, autojump_clock):
    rig.disk.delay_s = 3
    writer = rig.writer()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run)
            rig.journal.append_frame("c-0-1", 0, '{"a":1}')
            await trio.sleep(1)
            rig.journal.append_frame("c-0-1", 1, '{"a":2}')
            writer.drain()
    assert rig.on_disk() == ['{"a":1}', '{"a":2}']


async def test_a_full_disk_is_an_outage(rig, autojump_clock):
    rig.disk.full = True
    rig.journal.append_frame("c-0-1", 0, '{"a":1}')
    with pytest.raises(BaseExceptionGroup) as caught:
        await rig.writer().run()
    assert caught.group_contains(DiskFull)


async def test_while_the_disk_is_full_appenders_stall_and_afterwards_every_frame_is_there_once(rig, autojump_clock):
    async def make_room() -> None:
        await trio.sleep(2)
        rig.disk.full = True
        await trio.sleep(600)
        assert rig.journal.is_full
        rig.disk.full = False

    with trio.move_on_after(620):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(make_room)
            nursery.start_soon(append, rig, frames(500), 0.01)
            await rig.supervised().run()
    assert rig.on_disk() == frames(500)


async def test_a_drained_writer_leaves_no_open_file(rig, autojump_clock):
    before = open_files()
    writer = rig.writer()
    rig.journal.append_frame("c-0-1", 0, '{"a":1}')
    writer.drain()
    await writer.run()
    assert open_files() == before


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
