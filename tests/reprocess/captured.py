"""A feed captured by the real journal, normalizer and sealer on a clock of the test's own, then archived in memory."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import trio

from ssmd.actors.edition import Edition
from ssmd.actors.normalizer import Normalizer, NormalizerLinks
from ssmd.actors.pipeline import Batch, Progress
from ssmd.actors.sealer import Manifest, Sealer
from ssmd.blocking import inline
from ssmd.bus.base import Outgoing
from ssmd.clock import NS_PER_MINUTE, NS_PER_S, minute_of
from ssmd.codec import blocks, marketdata
from ssmd.codec.packing import Item, Series, pack
from ssmd.journal import Checkpoints, Cursor, Journal, JournalLimits
from ssmd.journal.recovery import end_orphans
from ssmd.model import Event
from ssmd.protocols import exchange
from ssmd.protocols.decoder import decoder
from ssmd.protocols.quality import LedgerRecord, decode_record
from ssmd.records import Configured, Connected, Disconnected, FeedConfig, Live, Note, Predecessor, SymbolSpec
from ssmd.store.keys import NormalizedKey, QualityKey, RawKey
from ssmd.store.memory import MemoryStore
from ssmd.supervisor import Mailbox, Overflow
from tests.protocols.recorded import VenueBook, trade
from tests.protocols.recorded import frame as frame_of

FEED = "kraken"
START_NS = 1_765_029_600 * NS_PER_S  # 2025-12-06T14:00:00Z
BTC = SymbolSpec("BTC/USD", "BTCUSD", "l2")
HEARTBEAT = '{"channel":"heartbeat"}'
NO_FLOAT = "9" * 400
"""A price that JSON may say and no float can hold."""


def at(minute: int) -> int:
    return START_NS + minute * NS_PER_MINUTE


def trade_frame(trade_id: int, **more: object) -> str:
    return frame_of("trade", "update", trade(trade_id, **more))


class Captured:
    """`begin` is a process's start: again on the same folder, it is the next one's."""

    def __init__(self, folder: Path, store: MemoryStore | None = None, boot: str = "c") -> None:
        self.boot = boot
        self.store = MemoryStore() if store is None else store
        self.directory = folder / FEED
        self.now_ns = START_NS
        self.messages: dict[str, Outgoing] = {}
        self.book = VenueBook()
        self.config = FeedConfig(symbols=(BTC,))
        self.trade_id = 0
        self._connections = 0
        self._seq: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        self.journal = Journal(self.directory, JournalLimits(), lambda: self.now_ns, inline)
        self.cursor = Cursor(self.directory)
        self.checkpoints = Checkpoints(self.directory)
        self.progress = Progress(self.cursor.position)
        self.outbox: Mailbox[Batch] = Mailbox("publisher", 1000, Overflow.BLOCK)
        end_orphans(self.journal)

    # what happens --------------------------------------------------------------------------------------------

    def connect(self, after: Predecessor | None = None, *, live: bool = True) -> str:
        self._connections += 1
        conn = f"{self.boot}-0-{self._connections}"
        self.note(conn, Connected("ws://x", after))
        self.note(conn, Configured(self.config))
        if live:
            self.note(conn, Live(("BTCUSD",)))
            self.book = VenueBook()
            self.frame(conn, self.book.snapshot())
        return conn

    def disconnect(self, conn: str, reason: str = "reset") -> Predecessor:
        at_ns = self.note(conn, Disconnected(reason, "", self.now_ns))
        return Predecessor(conn, self._seq[conn] - 1, at_ns)

    def note(self, conn: str, note: Note) -> int:
        return self.journal.append_note(conn, self._take(conn), note)

    def frame(self, conn: str, text: str) -> None:
        self.journal.append_frame(conn, self._take(conn), text)
        self.now_ns += 150 * NS_PER_S // 1000

    def _take(self, conn: str) -> int:
        seq = self._seq.get(conn, 0)
        self._seq[conn] = seq + 1
        return seq

    def trade(self, conn: str, **more: object) -> None:
        self.trade_id += 1
        self.frame(conn, trade_frame(self.trade_id, **more))

    def traffic(self, conn: str, count: int = 6) -> None:
        """Trades and verified book updates, 0.15 s apart."""
        for number in range(count):
            self.frame(conn, self.book.update(bids={"100.0": f"{number + 1}.00100000"}))
            self.trade(conn)

    def until(self, minute: int) -> None:
        """Let time pass up to a minute after the start."""
        self.now_ns = at(minute)

    # what the system does ------------------------------------------------------------------------------------

    async def normalize(self, *, drain: bool = False, publish: bool = True) -> None:
        """Let the normalizer take everything there is, and the bus acknowledge it."""
        await self.journal.write_pending()
        links = NormalizerLinks(self.journal, self.checkpoints, self.progress, self.outbox, [])
        build = partial(decoder, "v1", FEED, exchange(FEED))
        normalizer = Normalizer(Edition(FEED, "v1"), build, links)
        if drain:
            normalizer.drain()
        with trio.move_on_after(0.5):
            await normalizer.run()
        if publish and self.outbox.statistics().used:
            async with self.outbox.lease(1000) as batches:
                self._publish(batches)

    def _publish(self, batches: "list[Batch]") -> None:
        for batch in batches:
            self.messages.update((message.message_id, message) for message in batch.messages)
            self.cursor.advance(batch.position)
        self.cursor.save()

    async def seal(self) -> None:
        with trio.move_on_after(0.5):
            await Sealer(Edition(FEED, "v1"), self.journal, self.cursor, self.store).run()

    async def end(self) -> None:
        """Drain: the raw writer closes the journal, then the normalizer ends, then the sealer."""
        await self.journal.write_pending()
        self.journal.close()
        await self.normalize(drain=True)
        await self.seal()

    def archive(self) -> None:
        """Store what was published, as the archiver does."""
        minutes: dict[tuple[Series, int], list[Item]] = {}
        for message in self.messages.values():
            _, _, kind, symbol = message.subject.split(".")
            header = marketdata.header(kind, message.payload)
            item = Item(header.recv_ns, header.conn, header.seq, header.n, message.payload)
            minutes.setdefault((Series(kind, symbol), minute_of(header.recv_ns)), []).append(item)
        for (series, minute_ns), items in minutes.items():
            key = NormalizedKey("v1", FEED, series.type, series.symbol, minute_ns)
            self.store.objects[key.key] = pack(sorted(items))

    # what is stored ------------------------------------------------------------------------------------------

    def raw_keys(self) -> list[RawKey]:
        keys = [RawKey.parse(key) for key in self.store.objects if key.endswith(".jsonl.zst")]
        return sorted(keys, key=lambda key: (key.minute_ns, key.part))

    def manifest(self, key: RawKey) -> Manifest:
        return msgspec.json.decode(self.store.objects[key.manifest], type=Manifest)

    def record(self, key: RawKey) -> LedgerRecord:
        return decode_record(self.store.objects[QualityKey.of("v1", key).key])

    def lines(self, key: RawKey) -> list[bytes]:
        return blocks.decompress(self.store.objects[key.key], 1 << 22).splitlines(keepends=True)

    # damage --------------------------------------------------------------------------------------------------

    def edit_events(self, key: NormalizedKey, edit: Callable[[list[Event]], list[Event]]) -> None:
        content = blocks.decompress(self.store.objects[key.key], 1 << 22)
        events = edit(list(marketdata.decode_many(key.type, content)))
        self.store.objects[key.key] = blocks.compress(b"".join(map(marketdata.encode, events)))


async def faulty_run(world: Captured, *, restarts: bool) -> None:
    """Five minutes in which much goes wrong, with or without restarts in their middle."""

    async def maybe_restart(*, process: bool = False) -> None:
        if restarts:
            await world.normalize()
            if process:
                await world.seal()

    conn = world.connect()
    world.traffic(conn)
    world.frame(conn, trade_frame(world.trade_id))  # a repeat
    world.trade(conn, price=NO_FLOAT)
    await maybe_restart()
    world.trade_id += 3  # ids left out
    world.traffic(conn)
    world.frame(conn, '{"channel":"nonsense"}')
    world.until(1)
    world.traffic(conn)
    await maybe_restart(process=True)
    world.frame(conn, world.book.update(bids={"100.0": "7.00100000"}, checksum=1))
    world.frame(conn, "no json")
    world.frame(conn, world.book.snapshot())
    world.traffic(conn)
    after = world.disconnect(conn)
    await maybe_restart()
    world.until(3)  # nothing at all in minute 2
    conn = world.connect(after)
    world.traffic(conn)
    await maybe_restart(process=True)
    world.until(4)
    world.traffic(conn)
    await maybe_restart()
    world.traffic(conn)
    await world.end()
    world.archive()
