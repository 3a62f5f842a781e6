"""CPU time per frame through FeedDecoder.feed: parse, apply, verify.

    .venv/bin/python bench/decode.py [RECORDING.jsonl[.gz] ...]

Recordings hold one Kraken WebSocket v2 frame per line. Without any, synthetic trades, tickers and books are made here.
Every run asserts that no checksum failed: a fast wrong answer scores zero.
"""

import gzip
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ssmd.protocols import exchange
from ssmd.protocols.decoder import FeedDecoder
from ssmd.records import Configured, Connected, FeedConfig, Record, SymbolSpec

FEED = "kraken"
CONN = "bench"
START_NS = 1_783_465_203_000_000_000
FRAME_EVERY_NS = 7_000_000
ROUNDS = 5


def synthetic_book(count: int) -> list[str]:
    """One snapshot of ten levels and updates that change one or two of them, with right checksums."""
    kraken = exchange(FEED)
    sizes = {side: [f"{level + 1}.00010000" for level in range(10)] for side in ("asks", "bids")}
    prices = {"asks": [f"{60000 + i}.1" for i in range(10)], "bids": [f"{59999 - i}.1" for i in range(10)]}

    def message(kind: str, changed: dict[str, list[int]]) -> str:
        tokens = {s: [kraken.level_token(*level) for level in zip(prices[s], sizes[s], strict=True)] for s in sizes}
        levels = {
            side: ",".join(f'{{"price":{prices[side][i]},"qty":{sizes[side][i]}}}' for i in changed[side])
            for side in ("bids", "asks")
        }
        checksum = kraken.checksum(tokens["asks"], tokens["bids"])
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{levels["bids"]}],'
            f'"asks":[{levels["asks"]}],"checksum":{checksum},"timestamp":"2026-07-07T23:00:03.{count:06}Z"}}]}}'
        )

    frames = [message("snapshot", {"asks": list(range(10)), "bids": list(range(10))})]
    for i in range(count):
        side, other = ("asks", "bids") if i % 2 else ("bids", "asks")
        touched = [i % 10] if i % 3 else [i % 10, (i + 3) % 10]
        for level in touched:
            sizes[side][level] = f"{i % 7}.{i % 100000:05}100"
        frames.append(message("update", {side: touched, other: []}))
    return frames


def synthetic_trades(count: int) -> list[str]:
    return [
        '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":83744.3,"qty":0.00044780,'
        f'"ord_type":"limit","trade_id":{109116693 + i},"timestamp":"2026-09-25T17:48:26.{i % 1000000:06}Z"}}]}}'
        for i in range(count)
    ]


def synthetic_tickers(count: int) -> list[str]:
    return [
        '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":83744.2,"bid_qty":0.56251979,'
        '"ask":83744.3,"ask_qty":0.00044780,"last":83744.3,"volume":3156.84782110,"vwap":84174.6,"low":83163.6,'
        '"high":85247.4,"change":-429.3,"change_pct":-0.51,"trades":135262,'
        f'"timestamp":"2026-09-25T17:48:26.{i % 1000000:06}Z"}}]}}'
        for i in range(count)
    ]


def read(path: Path) -> list[str]:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()


def config_for(frames: Sequence[str]) -> FeedConfig:
    names: set[str] = set()
    depth = 10
    for frame in frames:
        parsed = json.loads(frame)
        names.update(entry["symbol"] for entry in parsed.get("data", []) if "symbol" in entry)
        depth = max(depth, parsed.get("result", {}).get("depth", 10))
    specs = tuple(SymbolSpec(name, name.replace("/", ""), "l2") for name in sorted(names))
    return FeedConfig(specs, book_depth=depth)


def measure(frames: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Return count and best µs per frame of each kind over some rounds; every round decodes all frames in order."""
    config = config_for(frames)
    kinds = [kind_of(frame) for frame in frames]
    records = [Record(START_NS + i * FRAME_EVERY_NS, CONN, i + 2, frame=frame) for i, frame in enumerate(frames)]
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        decoder = FeedDecoder(FEED, exchange(FEED))
        decoder.feed(Record(START_NS, CONN, 0, note=Connected("bench")))
        decoder.feed(Record(START_NS, CONN, 1, note=Configured(config)))
        for kind, spent_us in one_round(decoder, records, kinds).items():
            best[kind] = min(best.get(kind, spent_us), spent_us)
        if decoder.counts.checksums_failed or decoder.counts.rejected:
            raise SystemExit(f"wrong answers: {decoder.counts}")
    return {kind: (kinds.count(kind) if kind != "all" else len(kinds), us) for kind, us in best.items()}


def one_round(decoder: FeedDecoder, records: Sequence[Record], kinds: Sequence[str]) -> dict[str, float]:
    spent_ns: dict[str, list[int]] = {}
    clock, feed = time.perf_counter_ns, decoder.feed
    for record, kind in zip(records, kinds, strict=True):
        begin = clock()
        feed(record)
        spent_ns.setdefault(kind, []).append(clock() - begin)
    again = FeedDecoder(FEED, exchange(FEED), decoder.state())
    del again
    return {kind: sum(each) / len(each) / 1000 for kind, each in spent_ns.items()}


def whole_us(frames: Sequence[str]) -> float:
    """Return CPU µs per frame of a plain loop, without a clock around each frame."""
    config = config_for(frames)
    records = [Record(START_NS + i * FRAME_EVERY_NS, CONN, i + 2, frame=frame) for i, frame in enumerate(frames)]
    best = float("inf")
    for _ in range(ROUNDS):
        decoder = FeedDecoder(FEED, exchange(FEED))
        decoder.feed(Record(START_NS, CONN, 0, note=Connected("bench")))
        decoder.feed(Record(START_NS, CONN, 1, note=Configured(config)))
        feed = decoder.feed
        begin = time.process_time_ns()
        for record in records:
            feed(record)
        best = min(best, (time.process_time_ns() - begin) / len(records) / 1000)
    return best


def kind_of(frame: str) -> str:
    parsed = json.loads(frame)
    channel = parsed.get("channel") or parsed.get("method") or "?"
    return f"{channel} {parsed['type']}" if channel in ("book", "trade", "ticker") else channel


def main() -> None:
    works = {path.name: read(path) for path in map(Path, sys.argv[1:])}
    works |= {"synthetic book 10": synthetic_book(20000), "synthetic trade": synthetic_trades(20000)}
    works |= {"synthetic ticker": synthetic_tickers(20000)}
    print(f"{'µs/frame':>9} {'frames':>7}  best of {ROUNDS}")
    for title, frames in works.items():
        print(f"{whole_us(frames):9.2f} {len(frames):7}  {title}: all, CPU time")
        for kind, (count, spent_us) in sorted(measure(frames).items()):
            print(f"{spent_us:9.2f} {count:7}     {kind} (with about 0.1 of clock)")


if __name__ == "__main__":
    main()
