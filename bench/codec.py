"""Print what the codec costs per message: CPU time (user + system), best of five rounds.

.venv/bin/python -m bench.codec
"""

import time
from collections.abc import Callable

from ssmd.codec import blocks, marketdata, raw
from ssmd.model import Book, Event, Quote, Trade, type_of

ROUNDS = 5
IDENTITY = ("kraken", "BTCUSD", 1765029600123456789, "0abcdef1", 7, 0, 1765029600000000000)
FRAME = (
    '{"channel":"book","type":"update","data":[{"symbol":"ETH/USD","bids":[{"price":1767.41,"qty":4.28149999}],'
    '"asks":[{"price":1767.42,"qty":12.00000000},{"price":1767.91,"qty":0.00000000}],"checksum":3310070434,'
    '"timestamp":"2026-07-07T23:00:03.123456Z"}]}'
)


def book(depth: int) -> Book:
    side = tuple((f"{60000 + level}.1", f"0.0010{level:04d}") for level in range(depth))
    return Book(*IDENTITY, bids=side, asks=side)


def cost_us(run: Callable[[], object], repeats: int) -> float:
    best_s = float("inf")
    for _ in range(ROUNDS):
        start_s = time.process_time()
        for _ in range(repeats):
            run()
        best_s = min(best_s, time.process_time() - start_s)
    return best_s / repeats * 1e6


def show(what: str, cost: float, target: str = "") -> None:
    print(f"{what:34}{cost:9.2f} us   {target}")


def message(name: str, event: Event, repeats: int, target: str) -> None:
    kind = type_of(event)
    payload = marketdata.encode(event)
    many = payload * repeats
    show(f"encode {name}", cost_us(lambda: marketdata.encode(event), repeats), target)
    show(f"header {name}", cost_us(lambda: marketdata.header(kind, payload), repeats))
    show(f"decode {name}", cost_us(lambda: marketdata.decode(kind, payload), repeats))
    show(f"decode_many {name}", cost_us(lambda: sum(1 for _ in marketdata.decode_many(kind, many)), 1) / repeats)


def lines() -> None:
    line = raw.encode_frame(*IDENTITY[2:5], FRAME)
    block = line * 10_000
    show(f"encode_frame {len(FRAME)} B", cost_us(lambda: raw.encode_frame(*IDENTITY[2:5], FRAME), 20_000), "<= 1.0")
    show("decode_line", cost_us(lambda: raw.decode_line(line), 20_000), "<= 1.5")
    show("note_lines, per line without notes", cost_us(lambda: list(raw.note_lines(block)), 1) / 10_000)
    show("compress, per line", cost_us(lambda: blocks.compress(block), 1) / 10_000, "<= 0.65")


if __name__ == "__main__":
    message("trade", Trade(*IDENTITY, "60000.1", "0.00100000", "buy", "81234567"), 20_000, "<= 3.0")
    message("quote", Quote(*IDENTITY, "60000.1", "0.5", "60000.2", "1.25"), 20_000, "<= 3.0")
    message("book 10x2", book(10), 4_000, "<= 12.3")
    message("book 100x2", book(100), 500, "<= 88")
    lines()
