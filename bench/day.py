"""From what was measured to a day and a month of the original design's 50 symbols."""

import time
from collections.abc import Sequence

from msgspec import Struct

DAY_GB = 5.0
"""Of stored raw data, as the original design estimates it."""
CORES = 2
DAYS = 30
RECORDED_BYTES = (33, 48)
"""Stored per line of the recorded Kraken streams of 2026 and 2021 in minutes like ours, against the simulated ones'."""

REPROCESS_DAY_MIN, REPROCESS_MONTH_H, DIFF_DAY_MIN = 10, 5, 5

PEERS = """peers, as measured once by their own loops on another run, not here; none of them writes normalized records:
    cryptofeed 2.4.1: book frame 12.73 µs with checksum (two-sided updates unchecked), 7.62 without; trade 3.6; ticker 3.7
    tardis-node 18.2 (no book, no checksum, floats): book frame 2.67 µs; trade 3.14; ticker 2.80"""


class Disturbance:
    """How much the machine's other work slows this process down: a fixed piece of work, against its best time.

    CPU time alone does not show it: neighbours take caches and half of a core that is shared by two threads.
    """

    def __init__(self) -> None:
        self._took_s: list[float] = []

    def look(self) -> None:
        began_s = time.process_time()
        sum(len(f"{number}.{number}".split(".")) for number in range(40_000))
        self._took_s.append(time.process_time() - began_s)

    def text(self) -> str:
        ordered = sorted(self._took_s)
        middle, worst = (each / ordered[0] for each in (ordered[len(ordered) // 2], ordered[-1]))
        return (
            f"a fixed loop between the runs took {middle:.2f} times its best time in the middle, {worst:.2f} at worst"
        )


class Amount(Struct):
    """What there was to do. plain_bytes: raw data uncompressed."""

    lines: int
    plain_bytes: int
    stored_bytes: int


class Run(Struct):
    """What one run took. cpu_s: of all its processes together. count: frames or events."""

    count: int
    took_s: float
    cpu_s: float

    @property
    def each_us(self) -> float:
        return self.cpu_s / self.count * 1e6


def extrapolated(amount: Amount, frames: Run, diffs: Sequence[tuple[str, Run]], events_per_frame: float) -> None:
    """Print a day and a month on two cores that have nothing else to do, against their targets."""
    stored = amount.stored_bytes / amount.lines
    print(
        f"50-symbol day: {DAY_GB:g} GB stored (the design's estimate). Measured here: {amount.plain_bytes / amount.lines:.0f} "
        f"bytes/line, {stored:.1f} stored ({amount.plain_bytes / amount.stored_bytes:.2f} times smaller); recorded Kraken "
        f"streams: {RECORDED_BYTES[0]} to {RECORDED_BYTES[1]} stored"
    )
    for bytes_each, what in ((stored, "as measured"), *((each, "as recorded") for each in RECORDED_BYTES)):
        count = DAY_GB * 1e9 / bytes_each
        day_min = count * frames.each_us / 1e6 / 60 / CORES
        print(
            f"at {bytes_each:.0f} bytes stored per frame, {what}: {count / 1e6:.0f} million frames, {count / 86400:,.0f}/s"
        )
        _verdict("reprocess a day", day_min, REPROCESS_DAY_MIN, "min")
        _verdict("reprocess a month", day_min * DAYS / 60, REPROCESS_MONTH_H, "h")
        for title, run in diffs:
            diff_min = count * events_per_frame * run.each_us / 1e6 / 60 / CORES
            _verdict(f"diff of a day, {title}", diff_min, DIFF_DAY_MIN, "min")
    print(f"ours, all in: {frames.each_us:.2f} µs per frame: decode, book, checksum, Cap'n Proto, zstd, store, ledger")
    print(PEERS)


def _verdict(what: str, found: float, target: float, unit: str) -> None:
    word = "pass" if found < target else "missed"
    print(f"    {what:<44}{found:6.1f} {unit} on {CORES} cores   target < {target} {unit}   {word}")
