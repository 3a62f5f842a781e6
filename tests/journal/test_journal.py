import errno
import os
from pathlib import Path

import pytest
import trio

from ssmd.blocking import inline
from ssmd.clock import NS_PER_S
from ssmd.codec import raw
from ssmd.errors import DiskFull
from ssmd.journal import Journal, JournalLimits, JournalReader
from ssmd.journal import journal as journal_module
from ssmd.journal.recovery import end_orphans
from ssmd.records import Connected, Disconnected, Lost, Record
from tests.journal.conftest import START_NS


def frame(number: int) -> str:
    return f'{{"channel":"trade","n":{number}}}'


def fill(journal: Journal, count: int, first: int = 0, conn: str = "c-0-1") -> None:
    for seq in range(first, first + count):
        journal.append_frame(conn, seq, frame(seq))


async def drain(reader: JournalReader) -> list[Record]:
    records = []
    while not reader.caught_up():
        records += [entry.record for entry in await reader.read(100)]
    return records


async def test_frames_reach_the_segment_byte_for_byte_and_in_order(journal, directory):
    fill(journal, 5)
    await journal.write_pending()
    lines = (directory / journal.segments[0].name).read_bytes().splitlines()
    assert [raw.decode_line(line).frame for line in lines] == [frame(n) for n in range(5)]


async def test_nothing_is_readable_before_it_is_written(journal):
    reader = JournalReader(journal, None)
    fill(journal, 3)
    with trio.move_on_after(0.01) as waiting:
        await reader.read(10)
    assert waiting.cancelled_caught
    await journal.write_pending()
    assert len(await reader.read(10)) == 3


async def test_receive_times_never_fall_and_go_on_while_the_clock_is_behind(journal, clock):
    first = journal.append_frame("c", 0, frame(0))
    clock.forward(-30)
    second = journal.append_frame("c", 1, frame(1))
    third = journal.append_frame("c", 2, frame(2))
    assert first < second < third < first + NS_PER_S


async def test_a_clock_set_back_over_a_restart_does_not_undercut_the_journal(journal, directory, clock):
    clock.forward(40)
    last = journal.append_frame("c-0-1", 0, frame(0))
    await journal.write_pending()
    clock.forward(-30)
    again = Journal(directory, JournalLimits(), clock)
    assert again.append_frame("d-0-1", 0, frame(1)) > last


async def test_a_new_minute_opens_a_new_segment_and_closes_the_old_one(journal, clock):
    fill(journal, 2)
    clock.forward(60)
    fill(journal, 2, first=2)
    await journal.write_pending()
    assert [s.name for s in journal.segments] == ["20251206T1400-0000.jsonl", "20251206T1401-0000.jsonl"]
    assert [s.name for s in journal.closed_segments()] == ["20251206T1400-0000.jsonl"]


async def test_a_segment_with_unwritten_lines_is_not_closed(journal, clock):
    fill(journal, 2)
    await journal.write_pending()
    journal.append_frame("c", 2, frame(2))
    clock.forward(60)
    journal.append_frame("c", 3, frame(3))
    assert journal.closed_segments() == []


async def test_a_quiet_minute_closes_without_another_frame(directory, autojump_clock):
    journal = Journal(directory, now=lambda: START_NS + int(trio.current_time() * NS_PER_S), blocking=inline)
    fill(journal, 1)
    await journal.write_pending()
    with trio.move_on_after(90):
        await journal.wait_pending()
    assert len(journal.closed_segments()) == 1


async def test_a_restart_in_the_same_minute_opens_the_next_part(journal, directory, clock):
    fill(journal, 2)
    await journal.write_pending()
    journal.close()
    again = Journal(directory, JournalLimits(), clock)
    fill(again, 1, conn="c-0-2")
    await again.write_pending()
    assert [s.part for s in again.segments] == [0, 1]


async def test_a_torn_last_line_is_cut_off_and_counted(journal, directory, clock):
    fill(journal, 3)
    await journal.write_pending()
    path = directory / journal.segments[0].name
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"recv_ns":17650296000')
    again = Journal(directory, JournalLimits(), clock)
    assert again.torn_bytes == 22
    assert path.read_bytes() == whole


@pytest.mark.parametrize("size", [0, 1, 70_000, 200_000])
async def test_a_file_without_any_whole_line_is_emptied(directory, clock, size):
    directory.mkdir(parents=True)
    (directory / "20251206T1400-0000.jsonl").write_bytes(b"x" * size)
    assert Journal(directory, JournalLimits(), clock).torn_bytes == size


async def test_a_full_disk_loses_nothing_and_the_same_bytes_are_written_once(journal, directory, monkeypatch):
    fill(journal, 4)
    real, calls = os.pwrite, []

    def half_then_full(fd: int, data: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) == 1:
            return real(fd, data[:30], offset)
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(journal_module.os, "pwrite", half_then_full)
    with pytest.raises(DiskFull):
        await journal.write_pending()
    monkeypatch.setattr(journal_module.os, "pwrite", real)
    fill(journal, 2, first=4)
    await journal.write_pending()
    lines = (directory / journal.segments[0].name).read_bytes().splitlines()
    assert [raw.decode_line(line).seq for line in lines] == list(range(6))
    assert journal.pending_bytes == 0


async def test_a_full_journal_stalls_the_session_and_a_write_wakes_it(directory, clock):
    journal = Journal(directory, JournalLimits(pending_bytes=100), clock)
    fill(journal, 2)
    with trio.move_on_after(0.01) as waiting:
        await journal.room()
    assert waiting.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.room)
        await journal.write_pending()


async def test_capture_stops_at_max_bytes_with_an_outage_not_with_a_loss(directory, clock):
    journal = Journal(directory, JournalLimits(total_bytes=150), clock)
    fill(journal, 2)
    await journal.write_pending()
    fill(journal, 1, first=2)
    with pytest.raises(DiskFull, match="max_bytes"):
        await journal.write_pending()
    assert journal.pending_bytes > 0


async def test_lines_appended_during_a_write_stay_for_the_next(journal):
    fill(journal, 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(journal.write_pending)
        await trio.lowlevel.checkpoint()
        fill(journal, 5, first=10)
    await journal.write_pending()
    assert [r.seq for r in await drain(JournalReader(journal, None))] == list(range(15))


async def test_the_connection_of_a_dead_process_gets_its_end_behind_its_last_record(journal, directory, clock):
    journal.append_note("a-0-1", 0, Connected("ws://x"))
    fill(journal, 3, first=1, conn="a-0-1")
    journal.append_note("a-1-2", 0, Connected("ws://x"))
    journal.append_note("a-1-2", 1, Disconnected("drain"))
    await journal.write_pending()
    clock.forward(10)
    again = Journal(directory, JournalLimits(), clock)
    assert end_orphans(again) == ["a-0-1"]
    await again.write_pending()
    last = (await drain(JournalReader(again, None)))[-1]
    assert (last.conn, last.seq, last.note) == ("a-0-1", 4, Disconnected("crash", "the process ended", START_NS))
    assert end_orphans(Journal(directory, JournalLimits(), clock)) == []


async def test_a_torn_line_is_noted_on_the_connection_it_belonged_to(journal, directory, clock):
    journal.append_note("a-0-1", 0, Connected("ws://x"))
    await journal.write_pending()
    with (directory / journal.segments[0].name).open("ab") as file:
        file.write(b"half a line")
    again = Journal(directory, JournalLimits(), clock)
    end_orphans(again)
    await again.write_pending()
    notes = [record.note for record in await drain(JournalReader(again, None))]
    assert notes[1] == Lost("torn_line", 11)
    assert isinstance(notes[2], Disconnected)


async def test_segments_without_a_line_do_not_hide_an_orphan(journal, directory, clock):
    """Mutant: look at the last two files; two processes that died at once left them empty, and the gap was lost."""
    journal.append_note("a-0-1", 0, Connected("ws://x"))
    await journal.write_pending()
    for part in (1, 2, 3):
        (directory / f"20251206T1400-{part:04d}.jsonl").touch()
    assert end_orphans(Journal(directory, JournalLimits(), clock)) == ["a-0-1"]


async def test_a_second_crash_during_recovery_keeps_where_the_data_ended(journal, directory, clock):
    journal.append_note("a-0-1", 0, Connected("ws://x"))
    await journal.write_pending()
    clock.forward(15)
    again = Journal(directory, JournalLimits(), clock)
    again.append_note("a-0-1", 1, Lost("torn_line", 11))
    await again.write_pending()
    third = Journal(directory, JournalLimits(), clock)
    end_orphans(third)
    await third.write_pending()
    assert (await drain(JournalReader(third, None)))[-1].note.last_frame_ns == START_NS


async def test_a_line_that_rotted_on_disk_stops_nobody(journal, directory, clock):
    journal.append_note("a-0-1", 0, Connected("ws://x"))
    fill(journal, 3, first=1, conn="a-0-1")
    await journal.write_pending()
    path = directory / journal.segments[0].name
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + bytes(20) + b"\n" + lines[3])
    again = Journal(directory, JournalLimits(), clock)
    assert end_orphans(again) == ["a-0-1"]
    await again.write_pending()
    assert [r.conn for r in await drain(JournalReader(again, None))] == [
        "a-0-1",
        "a-0-1",
        "unreadable",
        "a-0-1",
        "a-0-1",
    ]


async def test_every_session_that_waits_for_room_is_woken(directory, clock):
    journal = Journal(directory, JournalLimits(pending_bytes=100), clock)
    fill(journal, 2)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(journal.room)
            await trio.testing.wait_all_tasks_blocked()
            await journal.write_pending()


def test_the_directory_is_made(tmp_path: Path, clock):
    Journal(tmp_path / "a" / "b", JournalLimits(), clock)
    assert (tmp_path / "a" / "b").is_dir()
