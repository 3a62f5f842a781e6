from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import trio

from ssmd.actors.edition import Edition
from ssmd.actors.sealer import Manifest, Sealer
from ssmd.blocking import inline
from ssmd.codec import blocks
from ssmd.errors import StoreDown
from ssmd.journal import Cursor, Journal, JournalLimits, Position
from ssmd.protocols.coverage import Gap
from ssmd.records import Configured, Connected, Disconnected, FeedConfig, Live
from ssmd.store.memory import MemoryStore
from tests.actors.fakes import BTC, START_NS, virtual_now_ns

MINUTE_14_00 = "raw/kraken/2025/12/06/14/00-00.jsonl.zst"
MANIFEST_14_00 = "raw/kraken/2025/12/06/14/00-00.manifest.json"


class Rig:
    """A journal that the test writes by hand, and the sealer behind it."""

    def __init__(self, directory: Path, store: MemoryStore | None = None) -> None:
        self.journal = Journal(directory, JournalLimits(), virtual_now_ns, inline)
        self.cursor = Cursor(directory)
        self.store = store or MemoryStore()

    def sealer(self) -> Sealer:
        return Sealer(Edition("kraken", "v1"), self.journal, self.cursor, self.store)

    async def write(self, *frames: str, conn: str = "c-0-1", seq: int = 0) -> None:
        for number, frame in enumerate(frames, seq):
            self.journal.append_frame(conn, number, frame)
        await self.journal.write_pending()

    def manifest(self, key: str = MANIFEST_14_00) -> Manifest:
        return msgspec.json.decode(self.store.objects[key], type=Manifest)

    def lines(self, key: str = MINUTE_14_00) -> list[bytes]:
        return blocks.decompress(self.store.objects[key], 1 << 20).splitlines()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "kraken")


async def test_a_closed_minute_becomes_an_object_with_a_manifest_that_proves_it(rig, autojump_clock):
    await rig.write('{"a":1}', '{"a": 2}')
    await trio.sleep(61)
    await rig.write('{"b":1}', seq=2)
    with trio.move_on_after(1):
        await rig.sealer().run()
    assert [line.partition(b'"frame":')[2] for line in rig.lines()] == [b'{"a":1}}', b'{"a": 2}}']
    manifest = rig.manifest()
    body = rig.store.objects[MINUTE_14_00]
    assert (manifest.frames, manifest.events, manifest.key) == (2, 0, MINUTE_14_00)
    assert (manifest.sha256, manifest.stored_bytes) == (sha256(body).hexdigest(), len(body))
    assert manifest.raw_bytes == sum(len(line) + 1 for line in rig.lines())
    assert (manifest.first.seq, manifest.last.seq, manifest.previous_sha256) == (0, 1, None)
    assert len(rig.store.objects) == 2  # the open minute waits


async def test_each_manifest_names_the_one_before(rig, autojump_clock):
    for minute in range(3):
        await rig.write(f'{{"m":{minute}}}', seq=minute)
        await trio.sleep(60)
    await rig.write('{"m":3}', seq=3)
    with trio.move_on_after(1):
        await rig.sealer().run()
    texts = [rig.store.objects[key] for key in sorted(rig.store.objects) if key.endswith("manifest.json")]
    manifests = [msgspec.json.decode(text, type=Manifest) for text in texts]
    assert [m.previous_sha256 for m in manifests] == [None, *(sha256(text).hexdigest() for text in texts[:-1])]


async def test_a_drain_while_a_segment_is_being_stored_ends_after_one_more_look(rig, autojump_clock):
    """Mutant: wait for the next closed minute after drain() came in the middle of storing; it hung until cut short."""
    rig.store.faults.delay_s = 2
    sealer = rig.sealer()
    await rig.write('{"a":1}')
    rig.journal.close()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sealer.run)
            await trio.sleep(1)
            sealer.drain()
    assert MANIFEST_14_00 in rig.store.objects


async def test_a_segment_closed_while_another_is_being_stored_is_not_left_until_the_next_one(rig, autojump_clock):
    rig.store.faults.delay_s = 2
    await rig.write('{"a":1}')
    await trio.sleep(59.5)
    rig.journal.append_frame("c-0-1", 1, '{"a":2}')
    await trio.sleep(1)
    await rig.write('{"b":1}', seq=2)  # closes the first minute

    async def close_the_second() -> None:
        await trio.sleep(1)
        rig.journal.close()

    with trio.move_on_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.sealer().run)
            nursery.start_soon(close_the_second)
    assert "raw/kraken/2025/12/06/14/00-01.manifest.json" in rig.store.objects


async def test_drain_seals_what_the_raw_writer_closed_last(rig, autojump_clock):
    sealer = rig.sealer()

    async def end() -> None:
        await trio.sleep(5)
        rig.journal.close()
        sealer.drain()

    await rig.write('{"a":1}')
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sealer.run)
        nursery.start_soon(end)
    assert rig.manifest().frames == 1


async def test_a_segment_is_deleted_only_when_it_is_stored_and_the_cursor_has_passed_it(rig, autojump_clock):
    await rig.write('{"a":1}')
    await trio.sleep(61)
    await rig.write('{"b":1}', seq=1)
    await trio.sleep(61)
    await rig.write('{"c":1}', seq=2)
    first, second, third = (rig.journal.directory / segment.name for segment in rig.journal.segments)
    with trio.move_on_after(1):
        await rig.sealer().run()
    assert first.exists()
    rig.cursor.advance(Position(third.name, 0))
    rig.cursor.save()
    rig.store.faults.down = True
    with trio.move_on_after(1):
        await rig.sealer().run()  # it is stored already, so a store that is away does not matter
    assert not first.exists()
    assert second.exists(), "a recovery looks back over two minutes"
    assert third.exists()


async def test_a_full_journal_frees_itself_once_the_cursor_has_passed(rig, autojump_clock):
    """Mutant: wait for a segment to close; a full journal closes none, so nothing was ever deleted."""
    for minute in range(3):
        await rig.write(f'{{"m":{minute}}}', seq=minute)
        await trio.sleep(61)
    await rig.write('{"m":3}', seq=3)
    segments = list(rig.journal.segments)
    rig.journal.limits = JournalLimits(total_bytes=1)

    async def pass_by() -> None:
        await trio.sleep(10)
        rig.cursor.advance(Position(segments[-1].name, 0))
        rig.cursor.save()

    with trio.move_on_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.sealer().run)
            nursery.start_soon(pass_by)
    assert list(rig.journal.segments) == segments[2:]


async def test_a_segment_stays_while_a_restart_would_begin_in_it(rig, autojump_clock):
    """Mutant: delete by the cursor in memory; after a SIGKILL the decoder had an old state and no records to replay."""
    await rig.write('{"a":1}')
    await trio.sleep(61)
    await rig.write('{"b":1}', seq=1)
    first, second = (segment.name for segment in rig.journal.segments)
    rig.cursor.advance(Position(first, 5))
    rig.cursor.save()
    rig.cursor.advance(Position(second, 0))
    with trio.move_on_after(1):
        await rig.sealer().run()
    assert (rig.journal.directory / Cursor(rig.journal.directory).position.segment).exists()


async def test_segments_of_writers_that_died_at_once_become_no_objects(tmp_path, autojump_clock):
    """Mutant: store each; two empty objects are equal, the second took the first one's key and broke its manifest."""
    for part in range(3):
        path = tmp_path / "kraken" / f"20251206T1400-{part:04d}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.touch()
    rig = Rig(tmp_path / "kraken")
    await rig.write('{"a":1}')
    rig.journal.close()
    with trio.move_on_after(1):
        await rig.sealer().run()
    assert len(rig.lines()) == 1
    assert sorted(rig.store.objects) == [MINUTE_14_00, MANIFEST_14_00]


async def test_a_store_that_is_away_costs_nothing_but_time(rig, autojump_clock):
    await rig.write('{"a":1}')
    rig.journal.close()
    rig.store.faults.down = True
    with pytest.raises(StoreDown):
        await rig.sealer().run()
    rig.store.faults.down = False
    with trio.move_on_after(1):
        await rig.sealer().run()
    assert rig.manifest().frames == 1


@pytest.mark.parametrize("answers_lost", [1, 2])
async def test_an_upload_whose_answer_was_lost_is_repeated_without_a_second_object(rig, answers_lost, autojump_clock):
    await rig.write('{"a":1}')
    rig.journal.close()
    rig.store.faults.creates_failing_after_store = answers_lost
    for _ in range(answers_lost):
        with pytest.raises(StoreDown):
            await rig.sealer().run()
    with trio.move_on_after(1):
        await rig.sealer().run()
    assert sorted(rig.store.objects) == [MINUTE_14_00, MANIFEST_14_00]


async def test_a_writer_of_the_same_minute_takes_the_next_part(rig, autojump_clock):
    await rig.store.create(MINUTE_14_00, b"of another writer")
    await rig.write('{"a":1}')
    rig.journal.close()
    with trio.move_on_after(1):
        await rig.sealer().run()
    assert rig.store.objects[MINUTE_14_00] == b"of another writer"
    assert rig.manifest("raw/kraken/2025/12/06/14/01-00.manifest.json").key.endswith("/01-00.jsonl.zst")


async def test_a_sealer_of_the_next_process_adopts_what_a_dead_one_left(rig, tmp_path, autojump_clock):
    await rig.write('{"a":1}')
    later = Rig(tmp_path / "kraken", rig.store)
    with trio.move_on_after(1):
        await later.sealer().run()
    assert later.manifest().frames == 1
    await later.write('{"b":1}', conn="d-0-1")
    later.journal.close()
    with trio.move_on_after(1):
        await later.sealer().run()
    second = later.manifest("raw/kraken/2025/12/06/14/01-00.manifest.json")
    assert second.previous_sha256 == sha256(rig.store.objects[MANIFEST_14_00]).hexdigest()


async def test_a_disconnect_stays_an_open_gap_over_minutes_until_the_symbol_is_live_again(rig, autojump_clock):
    journal = rig.journal
    config = FeedConfig(symbols=(BTC,))
    notes = [Connected("ws://x"), Configured(config), Live(("BTCUSD",)), Disconnected("reset", "", START_NS)]
    for seq, note in enumerate(notes):
        journal.append_note("c-0-1", seq, note)
    await trio.sleep(61)
    for seq, note in enumerate([Connected("ws://x"), Configured(config), Live(("BTCUSD",))]):
        journal.append_note("c-0-2", seq, note)
    await journal.write_pending()
    journal.close()
    with trio.move_on_after(1):
        await rig.sealer().run()
    assert rig.manifest().gaps == (Gap(START_NS, None, "reset", ("BTCUSD",)),)
    (closed,) = rig.manifest("raw/kraken/2025/12/06/14/00-01.manifest.json").gaps
    assert (closed.from_ns, closed.reason) == (START_NS, "reset")
    assert closed.to_ns >= START_NS + 61 * 10**9
