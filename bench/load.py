"""The whole system under load: `python -m bench load` (2,000 frames/s) and `python -m bench saturation`.

Prints latency from receiving a frame to the bus's ack, CPU and memory of each process, and checks the result.
"""

import tempfile
import tomllib
from pathlib import Path

import trio

from chaos.check import check
from chaos.rig import Rig, running
from ssmd.cli.samples import Samples
from ssmd.store.objects import local_store

ROLES = ("connector:kraken", "archiver", "nats-server", "simulator")
NAMES = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "ADA/USD")
TARGETS = tomllib.loads((Path(__file__).parents[1] / "chaos/targets.toml").read_text())
WARM_UP_S = 5.0


def quantile_ms(before: Samples, after: Samples, share: float) -> float:
    """Return the upper bound of the bucket that holds the quantile, of what came between two readings."""
    name = "ssmd_connector_receive_to_ack_seconds_bucket"
    bounds = sorted({float(s.labels["le"]) for s in after.all(name)})
    counts = [after.total(name, le=le(b)) - before.total(name, le=le(b)) for b in bounds]
    return next((b for b, count in zip(bounds, counts, strict=True) if count >= share * counts[-1]), 0.0) * 1000


def le(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(bound)


async def measure(rig: Rig, seconds: float) -> float:
    """Print what the system does within some seconds; return the frames per second that were captured."""
    frames_total = "ssmd_connector_frames_received_total"
    before = await rig.samples("connector:kraken")
    cpu = {role: rig.cpu_s(role) for role in ROLES}
    began = trio.current_time()
    await trio.sleep(seconds)
    after = await rig.samples("connector:kraken")
    took_s = trio.current_time() - began
    frames = after.total(frames_total) - before.total(frames_total)
    events_total = "ssmd_connector_events_published_total"
    events = after.total(events_total) - before.total(events_total)
    print(f"frames/s {frames / took_s:,.0f}   events/s {events / took_s:,.0f}   over {took_s:.0f} s")
    p50, p99 = quantile_ms(before, after, 0.5), quantile_ms(before, after, 0.99)
    print(f"receive to ack: p50 <= {p50:g} ms, p99 <= {p99:g} ms")
    for role in ROLES:
        used = rig.cpu_s(role) - cpu[role]
        per_frame = used / frames * 1e6
        print(
            f"{role:<18} cpu {used / took_s * 100:5.1f} %  {per_frame:6.1f} µs/frame  "
            f"rss {rig.rss_mb(role):6.1f} MB  peak {rig.peak_mb(role):6.1f} MB"
        )
    return frames / took_s


async def load(rate: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        async with running(Path(name), f"--rate {rate}", NAMES) as rig:
            await trio.sleep(WARM_UP_S)
            await measure(rig, seconds)
            await rig.stop()
            verdict = await check(local_store(rig.data_dir), "kraken", rig.ledger)
        print(verdict.text())


def steady() -> None:
    target = TARGETS["steady_load"]
    print(f"targets: {target}")
    trio.run(load, target["rate_per_s"], target["for_s"])


def saturation() -> None:
    print(f"targets: {TARGETS['saturation']}")
    trio.run(load, 16_000, 20.0)
