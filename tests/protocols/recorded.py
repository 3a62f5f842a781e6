"""Recordings and made-up frames as the records a decoder gets, for the tests of this folder."""

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

from ssmd.model import Event
from ssmd.protocols import exchange
from ssmd.protocols.decoder import Decoded, FeedDecoder
from ssmd.records import Configured, Connected, FeedConfig, Note, Predecessor, Record, SymbolSpec

FEED: Final = "kraken"
START_NS: Final = 1_783_465_203_000_000_000  # 2026-07-07T23:00:03Z, a whole number of 100 ms intervals
MS: Final = 1_000_000

BTC_ETH: Final = "kraken/ws_v2/btc_eth_book10_trade_20260707.jsonl"
BTC_2023: Final = "kraken/ws_v2/btc_book10_20230730_zeros_restored.jsonl"
TEN_PAIRS: Final = "kraken/ws_v2/derived_from_v1_ten_pairs_20210417.jsonl.gz"
TEN_NAMES: Final = (
    "WAVES/EUR", "XMR/USD", "KSM/BTC", "GRT/ETH", "SC/EUR", "ETH/CHF", "OCEAN/BTC", "OMG/USD", "BTC/CHF", "ADA/BTC",
)  # fmt: skip


def lines(path: Path) -> list[str]:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()


def config(*names: str, depth: int = 10, interval_ms: int = 100, l1: Sequence[str] = ()) -> FeedConfig:
    specs = [SymbolSpec(name, name.replace("/", ""), "l2") for name in names]
    specs += [SymbolSpec(name, name.replace("/", "")) for name in l1]
    return FeedConfig(tuple(specs), book_depth=depth, book_interval_ms=interval_ms)


class Wire:
    """One connection whose frames come 5 ms apart unless said otherwise, and what a decoder makes of them."""

    def __init__(self, decoder: FeedDecoder, settings: FeedConfig, conn: str = "c1", after: str | None = None) -> None:
        self.decoder = decoder
        self.conn = conn
        self.recv_ns = START_NS
        self.seq = 0
        self.all: list[Decoded] = []
        self.note(Connected("wss://x", None if after is None else Predecessor(after, 9, START_NS)))
        self.note(Configured(settings))

    def note(self, note: Note) -> Decoded:
        return self._feed(Record(self.recv_ns, self.conn, self.seq, note=note))

    def frame(self, text: str, at_ms: int | None = None) -> Decoded:
        self.recv_ns = self.recv_ns + 5 * MS if at_ms is None else START_NS + at_ms * MS
        return self._feed(Record(self.recv_ns, self.conn, self.seq, frame=text))

    def text(self, text: str) -> Decoded:
        self.recv_ns += 5 * MS
        return self._feed(Record(self.recv_ns, self.conn, self.seq, text=text))

    def frames(self, texts: Iterable[str]) -> list[Event]:
        return [event for text in texts for event in self.frame(text).events]

    @property
    def events(self) -> list[Event]:
        return [event for decoded in self.all for event in decoded.events]

    def _feed(self, record: Record) -> Decoded:
        self.seq += 1
        decoded = self.decoder.feed(record)
        self.all.append(decoded)
        return decoded


def kraken_wire(settings: FeedConfig, **more: str) -> Wire:
    return Wire(FeedDecoder(FEED, exchange(FEED)), settings, **more)


def records(texts: Sequence[str], settings: FeedConfig, every_ns: int = 7 * MS) -> list[Record]:
    """Wrap the lines of a recording as the journal would have them."""
    head = [
        Record(START_NS, "c1", 0, note=Connected("wss://x")),
        Record(START_NS, "c1", 1, note=Configured(settings)),
    ]
    return head + [Record(START_NS + i * every_ns, "c1", i + 2, frame=text) for i, text in enumerate(texts)]


Levels = dict[str, str]


class VenueBook:
    """The other side of the wire: a naive book of plain dicts that writes frames with right checksums."""

    def __init__(self, name: str = "BTC/USD") -> None:
        self.name = name
        self.bids: Levels = {f"{100 - i}.0": f"{i + 1}.00100000" for i in range(10)}
        self.asks: Levels = {f"{101 + i}.0": f"{i + 1}.00200000" for i in range(10)}

    def snapshot(self, **more: object) -> str:
        return frame("book", "snapshot", self.entry(self.bids, self.asks, **more))

    def update(self, bids: Levels | None = None, asks: Levels | None = None, **more: object) -> str:
        self._change(self.bids, bids or {}, reverse=True)
        self._change(self.asks, asks or {}, reverse=False)
        return frame("book", "update", self.entry(bids or {}, asks or {}, **more))

    def entry(self, bids: Levels, asks: Levels, checksum: int | None = None, time: str | None = None) -> str:
        crc = self.checksum() if checksum is None else checksum
        stamp = "" if time is None else f',"timestamp":"{time}"'
        return f'{{"symbol":"{self.name}","bids":{_json(bids)},"asks":{_json(asks)},"checksum":{crc}{stamp}}}'

    def checksum(self) -> int:
        asks = sorted(self.asks.items(), key=lambda level: float(level[0]))[:10]
        bids = sorted(self.bids.items(), key=lambda level: -float(level[0]))[:10]
        return crc32("".join(text.replace(".", "").lstrip("0") for each in asks + bids for text in each).encode())

    def _change(self, side: Levels, changes: Levels, *, reverse: bool) -> None:
        for price, size in changes.items():
            side[price] = size
            if not float(size):
                del side[price]
        for price in sorted(side, key=float, reverse=reverse)[10:]:
            del side[price]


def _json(levels: Levels) -> str:
    return "[" + ",".join(f'{{"price":{price},"qty":{size}}}' for price, size in levels.items()) + "]"


def frame(channel: str, kind: str, *entries: str) -> str:
    return f'{{"channel":"{channel}","type":"{kind}","data":[{",".join(entries)}]}}'


def trade(trade_id: object = 1, name: str = "BTC/USD", price: object = "100.5", qty: object = "0.10") -> str:
    return (
        f'{{"symbol":"{name}","side":"buy","price":{price},"qty":{qty},"ord_type":"limit","trade_id":{trade_id},'
        '"timestamp":"2026-07-07T23:00:03.000001Z"}'
    )


def ticker(name: str = "BTC/USD", bid: object = "100.0") -> str:
    return f'{{"symbol":"{name}","bid":{bid},"bid_qty":1.50000000,"ask":101.0,"ask_qty":2.00000000,"last":100.0}}'


HEARTBEAT: Final = '{"channel":"heartbeat"}'
