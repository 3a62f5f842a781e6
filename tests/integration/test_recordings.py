"""Every recorded stream through simulator, connector, NATS and archive, compared with a rebuild from the raw text."""

import gzip
import json
import shutil
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest
import trio

from chaos.check import check
from ssmd.archive.reading import archived_events
from ssmd.model import Book, Trade
from tests.integration.rig import System, environment, raw_of, replayed, running
from tests.integration.test_tools import decode_with_tools
from tests.protocols.recorded import BTC_2023, BTC_ETH, HEARTBEAT, TEN_NAMES, TEN_PAIRS

RECORDINGS = [
    pytest.param(BTC_ETH, ("BTC/USD", "ETH/USD"), 10, 2962, 17, id="btc_eth_2026"),
    pytest.param(BTC_2023, ("BTC/USD",), 10, 510, 0, id="btc_2023"),
    pytest.param(TEN_PAIRS, TEN_NAMES, 1000, 4279, 0, id="ten_pairs_2021"),
]

BOOK_INTERVAL_S = 0.1


def lines_of(path: Path) -> list[str]:
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode().splitlines()


class PlainBook:
    """A book rebuilt as simply as can be: dicts of text, sorted anew for each checksum."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
        self.matched = 0

    def apply(self, entry: dict, *, is_snapshot: bool) -> None:
        for side in self.sides:
            levels = {} if is_snapshot else self.sides[side]
            for level in entry[side]:
                levels[level["price"]] = level["qty"]
            alive = {price: size for price, size in levels.items() if float(size)}
            self.sides[side] = dict(sorted(alive.items(), key=self._order(side))[: self.depth])
        self.matched += self._checksum() == int(entry["checksum"])

    def levels(self, side: str) -> list[tuple[float, float]]:
        return [(float(price), float(size)) for price, size in self.sides[side].items()]

    def _order(self, side: str):
        return (lambda level: -float(level[0])) if side == "bids" else (lambda level: float(level[0]))

    def _checksum(self) -> int:
        top = [level for side in ("asks", "bids") for level in list(self.sides[side].items())[:10]]
        return crc32("".join(text.replace(".", "").lstrip("0") for level in top for text in level).encode())


class Rebuilt:
    """What a recording holds, read without any of our own code; numbers stay the text they are."""

    def __init__(self, lines: list[str], depth: int) -> None:
        self.books: dict[str, PlainBook] = {}
        self.trades: Counter[tuple[str, ...]] = Counter()
        for line in lines:
            message = json.loads(line, parse_float=str, parse_int=str)
            for entry in message.get("data", ()):
                if message["channel"] == "book":
                    book = self.books.setdefault(entry["symbol"], PlainBook(depth))
                    book.apply(entry, is_snapshot=message["type"] == "snapshot")
                elif message["channel"] == "trade" and message["type"] == "update":
                    self.trades[trade_key(entry)] += 1


def trade_key(entry: dict) -> tuple[object, ...]:
    return (entry["symbol"], entry["trade_id"], entry["side"], float(entry["price"]), float(entry["qty"]))


async def last_books(system: System) -> dict[str, Book]:
    return {book.symbol: book for book in await archived_events(system.store, "v1", "kraken", "book")}


async def archived_trades(system: System) -> Counter[tuple[object, ...]]:
    trades: list[Trade] = list(await archived_events(system.store, "v1", "kraken", "trade"))
    return Counter((t.symbol, t.trade_id, t.side, float(t.price), float(t.size)) for t in trades)


async def fetched(system: System, prefix: str, folder: Path) -> list[Path]:
    """Return the stored objects as files, as any tool would get them."""
    bodies = [await system.store.read(meta.key) or b"" for meta in await system.store.list(prefix)]
    return [written(folder.with_name(f"{number}.capnp.zst"), body) for number, body in enumerate(bodies)]


def written(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


def without_slash(trades: Counter) -> Counter:
    return Counter({(name.replace("/", ""), *rest): count for (name, *rest), count in trades.items()})


@pytest.mark.slow
@pytest.mark.parametrize(("name", "names", "depth", "checksums", "trades"), RECORDINGS)
async def test_a_recording_arrives_complete_verified_and_once(
    shared_data, tmp_path, storage, name, names, depth, checksums, trades
):
    lines = lines_of(shared_data / name)
    expected = Rebuilt(lines, depth)
    assert sum(book.matched for book in expected.books.values()) == checksums

    described, simulator = environment(names, book_depth=depth), replayed(shared_data / name)
    async with running(tmp_path, described, simulator, storage) as system:
        await system.until_frames(len(lines) + 1)
        await trio.sleep(BOOK_INTERVAL_S)
        await system.until_frames(system.count("connector_frames_received_total") + 1)  # ends the last book interval
        await system.stop()
        verified, failed = (system.count("connector_checksums_total", result=r) for r in ("verified", "failed"))
        published, archived = system.count("connector_events_published_total"), system.count("archiver_events_total")

    kept = [record.frame for record in await raw_of(system.store) if record.note is None]
    books = await last_books(system)
    verdict = await check(system.store, "kraken", system.ledger)
    print(  # noqa: T201  the figures of the acceptance test, shown by -s
        f"\n{name}: frames {len(kept)} kept of {len(lines)} recorded + {len(kept) - len(lines)} heartbeats; "
        f"checksums verified {verified}/{checksums}, failed {failed}; trades {trades}; books {len(books)}; "
        f"published {published}, archived {archived}; {verdict.text()}"
    )
    assert (verified, failed) == (checksums, 0)
    assert kept[: len(lines)] == lines
    assert set(kept[len(lines) :]) == {HEARTBEAT}
    assert await archived_trades(system) == without_slash(expected.trades)
    assert sum(expected.trades.values()) == trades
    assert set(books) == {each.replace("/", "") for each in names}
    for each, book in expected.books.items():
        last = books[each.replace("/", "")]
        for side, levels in (("bids", last.bids), ("asks", last.asks)):
            assert [(float(price), float(size)) for price, size in levels] == book.levels(side), (each, side)
    assert published == archived
    if shutil.which("zstd") and shutil.which("capnp"):
        objects = await fetched(system, "normalized/v1/kraken/book/", tmp_path / "fetched")
        assert sum(decode_with_tools(path, "OrderBookSnapshot").count("symbol = ") for path in objects) == sum(
            1 for _ in await archived_events(system.store, "v1", "kraken", "book")
        )
    assert verdict.ok, verdict.text()
