from functools import partial

import pytest
import trio

from ssmd import metrics
from ssmd.actors.edition import Edition
from ssmd.actors.normalizer import Normalizer, NormalizerLinks
from ssmd.actors.pipeline import Batch, Progress
from ssmd.blocking import inline
from ssmd.codec import marketdata, raw
from ssmd.errors import MailboxClosed
from ssmd.journal import Checkpoints, Journal, JournalLimits
from ssmd.model import Event, Trade, message_id
from ssmd.protocols import exchange
from ssmd.protocols.decoder import Desync, decoder
from ssmd.records import Configured, Connected, FeedConfig
from ssmd.reprocess import normalize
from ssmd.supervisor import Mailbox, Overflow
from tests.actors.fakes import BTC, virtual_now_ns
from tests.protocols.recorded import VenueBook, trade
from tests.protocols.recorded import frame as frame_of

CONN = "c-0-1"


class Rig:
    def __init__(self, directory) -> None:
        self.journal = Journal(directory, JournalLimits(tail_bytes=4_000), virtual_now_ns, inline)
        self.outbox: Mailbox[Batch] = Mailbox("publisher", 1000, Overflow.BLOCK)
        self.wishes = [Mailbox("wishes", 10, Overflow.DROP_OLDEST)]
        self.checkpoints = Checkpoints(directory)
        self.progress = Progress(None)
        self.seq = 0
        self.note(Connected("ws://x"))
        self.note(Configured(FeedConfig(symbols=(BTC,), book_interval_ms=0)))

    def normalizer(self) -> Normalizer:
        links = NormalizerLinks(self.journal, self.checkpoints, self.progress, self.outbox, self.wishes)
        return Normalizer(Edition("kraken", "v1"), partial(decoder, "v1", "kraken", exchange("kraken")), links)

    def note(self, note) -> None:
        self.journal.append_note(CONN, self.seq, note)
        self.seq += 1

    def frame(self, text: str) -> None:
        self.journal.append_frame(CONN, self.seq, text)
        self.seq += 1

    async def run(self) -> list[Batch]:
        """Let it take everything that is written and return what it handed over."""
        await self.journal.write_pending()
        with trio.move_on_after(1):
            await self.normalizer().run()
        return await self.handed_over()

    async def handed_over(self) -> list[Batch]:
        if not self.outbox.statistics().used:
            return []
        async with self.outbox.lease(1000) as batches:
            return list(batches)


@pytest.fixture
async def rig(tmp_path, autojump_clock) -> Rig:
    return Rig(tmp_path / "kraken")


def events_of(batches: list[Batch]) -> list[Event]:
    return [marketdata.decode(m.subject.split(".")[2], m.payload) for batch in batches for m in batch.messages]


def trade_frame(trade_id: int, **more: object) -> str:
    return frame_of("trade", "update", trade(trade_id, **more))


async def test_an_event_becomes_a_message_with_its_subject_and_identity(rig, autojump_clock):
    rig.frame(trade_frame(1))
    (batch,) = await rig.run()
    (message,) = batch.messages
    assert (message.subject, message.message_id) == ("md.kraken.trade.BTCUSD", f"kraken/{CONN}/2/0")
    (event,) = events_of([batch])
    assert isinstance(event, Trade)
    assert (batch.position, batch.received_ns) == (rig.journal.written, (event.recv_ns,))
    assert rig.progress.position == rig.journal.written


async def test_frames_without_events_move_the_position_all_the_same(rig, autojump_clock):
    rig.frame('{"channel":"heartbeat"}')
    (batch,) = await rig.run()
    assert batch.messages == ()
    assert batch.position == rig.journal.written


async def test_a_bad_frame_is_counted_and_skipped(rig, autojump_clock):
    before = metrics.REJECTS.labels("kraken", "unknown_channel")._value.get()
    rig.frame('{"channel":"nonsense"}')
    rig.frame(trade_frame(1))
    assert len(events_of(await rig.run())) == 1
    assert metrics.REJECTS.labels("kraken", "unknown_channel")._value.get() == before + 1


async def test_a_number_that_no_float_holds_costs_its_event_only(rig, autojump_clock):
    before = metrics.REJECTS.labels("kraken", "not_encodable")._value.get()
    rig.frame(trade_frame(1, price="9" * 39))
    rig.frame(trade_frame(2))
    ids = [event.trade_id for event in events_of(await rig.run())]
    assert "2" in ids
    assert metrics.REJECTS.labels("kraken", "not_encodable")._value.get() == before + (len(ids) == 1)


async def test_a_book_that_lost_its_proof_is_asked_for_by_the_session_of_its_slot(rig, autojump_clock):
    book = VenueBook()
    rig.frame(book.snapshot())
    rig.frame(book.update(bids={"100.0": "7.00100000"}, checksum=1))
    await rig.run()
    async with rig.wishes[0].lease(10) as wishes:
        (wish,) = wishes
    assert isinstance(wish, Desync)
    assert (wish.conn, wish.symbol, wish.name, wish.reason) == (CONN, "BTCUSD", "BTC/USD", "checksum")


@pytest.mark.parametrize("cut_at", [1, 7, 20, 39])
async def test_a_restart_finds_the_books_again_and_goes_on_as_if_nothing_had_been(rig, cut_at, autojump_clock):
    """Mutant: begin with an empty book behind the position; everything up to the next snapshot was then missing."""
    book = VenueBook()
    texts = [book.snapshot()]
    texts += [book.update(bids={"100.0": f"{i + 1}.00100000"}) for i in range(20)]
    texts += [trade_frame(i) for i in range(20)]
    batches = []
    for number, text in enumerate(texts):
        if number == cut_at:
            batches += await rig.run()
        rig.frame(text)
        await trio.sleep(0.01)
    batches += await rig.run()
    live = events_of(batches)
    assert live == await reprocessed(rig)
    assert len({message_id(event) for event in live}) == len(live) >= 38


async def test_a_restart_in_a_later_minute_needs_only_the_checkpoint_of_that_minute(rig, autojump_clock):
    book = VenueBook()
    rig.frame(book.snapshot())
    first = await rig.run()
    await trio.sleep(61)
    rig.frame(book.update(bids={"100.0": "2.00100000"}))
    first += await rig.run()
    rig.journal.remove(rig.journal.segments[0])
    rig.frame(book.update(bids={"100.0": "3.00100000"}))
    rig.frame(book.update(bids={"100.0": "4.00100000"}))
    again = events_of(await rig.run())
    assert [event.bids[0][1] for event in again] == ["3.001", "4.001"]
    assert first


async def test_a_checkpoint_that_cannot_be_read_costs_books_until_the_next_connection_not_the_feed(rig, autojump_clock):
    """Mutant: let BadRecord go; after a power cut the normalizer crashed at each start and the role gave up."""
    book = VenueBook()
    rig.frame(book.snapshot())
    await rig.run()
    (segment,) = rig.journal.segments
    rig.checkpoints.save(segment.name, b"")
    rig.journal.append_note("c-0-2", 0, Connected("ws://x"))
    rig.journal.append_note("c-0-2", 1, Configured(FeedConfig(symbols=(BTC,), book_interval_ms=0)))
    rig.journal.append_frame("c-0-2", 2, book.snapshot())
    rig.journal.append_frame("c-0-2", 3, book.update(bids={"100.0": "2.00100000"}))
    assert [event.conn for event in events_of(await rig.run())] == ["c-0-2", "c-0-2"]


async def test_drain_takes_what_the_journal_holds_and_closes_the_outbox(rig, autojump_clock):
    for trade_id in range(2000):
        rig.frame(trade_frame(trade_id))
    await rig.journal.write_pending()
    normalizer = rig.normalizer()
    normalizer.drain()
    await normalizer.run()
    assert len(events_of(await rig.handed_over())) == 2000
    with pytest.raises(MailboxClosed):
        await rig.outbox.room()


async def test_a_drain_that_comes_while_a_segment_is_handed_over_is_not_missed(rig, autojump_clock):
    """Mutant: wait for records without looking again; nothing more comes, so it waits until it is cancelled."""
    await rig.journal.write_pending()
    normalizer = rig.normalizer()
    hand_over = normalizer._hand_over_closed

    async def drained_meanwhile() -> None:
        await hand_over()
        normalizer.drain()

    normalizer._hand_over_closed = drained_meanwhile
    with trio.fail_after(5):
        await normalizer.run()


async def test_a_full_outbox_holds_the_normalizer_not_the_journal(rig, autojump_clock):
    rig.outbox = Mailbox("publisher", 1, Overflow.BLOCK)
    for trade_id in range(1500):
        rig.frame(trade_frame(trade_id))
    await rig.journal.write_pending()
    normalizer = rig.normalizer()
    taken: list[Batch] = []
    with trio.move_on_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(normalizer.run)
            await trio.sleep(1)
            assert rig.outbox.statistics().used == 1
            while len(events_of(taken)) < 1500:
                async with rig.outbox.lease(1) as batches:
                    taken += batches
    assert [event.trade_id for event in events_of(taken)] == [str(i) for i in range(1500)]


async def reprocessed(rig: Rig) -> list[Event]:
    lines = b"".join((rig.journal.directory / s.name).read_bytes() for s in rig.journal.segments).splitlines()
    events = normalize("kraken", "v1", map(raw.decode_line, lines))
    return [marketdata.decode(type(event).__name__.lower(), marketdata.encode(event)) for event in events]
