"""The exchange misbehaves in every way the simulator knows, while a reader counts what came of it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import trio

from chaos.kills import LATE_S, finish
from chaos.processes import until
from chaos.rig import CONNECTOR, EVENTS, NAMES, Rig, running
from chaos.rows import Row, Stopwatch
from chaos.targets import Faults

RECONNECTS = "ssmd_connector_websocket_reconnects_total"

ON_FRAMES = (
    *("checksum:BTC/USD", "flip:ETH/USD", "missing:SOL/USD", "reorder:BTC/USD", "duplicate", "unknown_field"),
    *("wrong_type", "absurd_price:ETH/USD", "garbage", "nan", "deep_json", "huge_int", "unknown_channel"),
    *("unknown_symbol", "bad_utf8", "oversize", "silence:BTC/USD:2", "pause:1", "burst:5000:0.5", "stall:2"),
)
"""These leave the connection open."""
ON_CONNECTIONS = (
    *(("drop",), ("close:1001",), ("oversize:40000000",), ("stall:8",), ("close:1012",)),
    *(("no_ack", "drop"), ("already", "drop"), ("rate_limit", "drop"), ("refuse_connects:2:503", "drop")),
)
"""These end it, or spoil the next one. Each connection that is lost soon doubles the wait for the next."""


async def misbehave(row: Row, folder: Path, target: Faults) -> None:
    """Inject faults on frames over the target's time, then some that end the connection; drain, check everything."""
    random, watch = Random(row.seed), Stopwatch()
    async with running(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig:
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        faults = random.sample(ON_FRAMES, target.on_frames)
        for fault in faults:
            await rig.exchange.inject(fault)
            await trio.sleep(target.for_s / len(faults) * random.uniform(0.5, 1.5))
        await _disconnect(row, rig, random.sample(ON_CONNECTIONS, target.disconnects))
        samples = await rig.samples(CONNECTOR)
        for name, least in (
            ("websocket_reconnects", target.disconnects),
            ("resyncs", target.resyncs_at_least),
            ("rejected_frames", target.rejects_at_least),
        ):
            row.at_least(name, samples.total(f"ssmd_connector_{name}_total"), least)
        await finish(row, rig, target)
    row.duration_s = watch.elapsed_s


async def _disconnect(row: Row, rig: Rig, steps: Sequence[tuple[str, ...]]) -> None:
    """Inject one step after the other, each when the connection before is back; every symbol must be back then."""
    back_s = {}
    for step in steps:
        connects = await rig.total(CONNECTOR, RECONNECTS)
        began_s = trio.current_time()
        for fault in step:
            await rig.exchange.inject(fault)
        await until(partial(_is_back, rig, connects), LATE_S, f"a new connection after {step}")
        back_s["+".join(step)] = round(trio.current_time() - began_s, 2)
        await rig.until_publishing(trio.current_time(), await rig.total(CONNECTOR, EVENTS), LATE_S)
    row.note(back_s=back_s)


async def _is_back(rig: Rig, connects: float) -> bool:
    samples = await rig.samples(CONNECTOR)
    live = samples.total("ssmd_connector_symbols", state="live")
    return samples.total(RECONNECTS) > connects and live == len(NAMES)
