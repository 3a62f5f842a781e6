"""How old a message is when a subscriber has it, at 2,000 frames/s: `python -m bench latency [SECONDS]`.

One clock for all: the simulated exchange's stamp of sending (its ledger), the connector's of receiving (raw data), the
connector's measure until the bus has it, and the stamp of a client that is not ours (`websockets`, another process).
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import trio

from bench.load import NAMES, TARGETS, WARM_UP_S, quantile_ms
from chaos.check import Verdict, raw_of
from chaos.ledger import read_ledger
from chaos.office import GATEWAY, Office, office, subscribed
from chaos.rig import CONNECTOR, NATS, Rig, running
from chaos.subscribers import Entry, Plan
from ssmd.clock import NS_PER_S
from ssmd.records import Record
from ssmd.store.objects import local_store

ROLES = (CONNECTOR, NATS, GATEWAY)
KINDS = ("trade", "quote", "book")
Identity = tuple[str, int]
"""Connection and seq: the frame that an event came from."""


def frame_of(entry: Entry) -> Identity:
    _feed, conn, seq, _n = entry.id.split("/")
    return conn, int(seq)


def received_ns(records: Iterable[Record]) -> dict[Identity, int]:
    return {(record.conn, record.seq): record.recv_ns for record in records if record.note is None}


def sent_ns(ledger: Path, records: Sequence[Record]) -> dict[Identity, int]:
    """Return when the exchange sent each frame of its only connection: they were kept in its order."""
    lines = [line for line in read_ledger(ledger) if line.conn == 0 and not line.withheld]
    frames = [record for record in records if record.note is None]
    assert all(line.frame == record.frame for line, record in zip(lines, frames, strict=False))
    return {(r.conn, r.seq): line.sent_ns for line, r in zip(lines, frames, strict=False)}


def spread_ms(values_ns: Iterable[int]) -> dict[str, float]:
    ordered = sorted(values_ns)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[int(share * (len(ordered) - 1))] / 1e6, 2) for name, share in shares.items()}


def stages(got: Sequence[Entry], sent: Mapping[Identity, int], received: Mapping[Identity, int]) -> None:
    """Print where the time goes, of all and by kind."""
    whole = {kind: [e.at_ns - sent[frame_of(e)] for e in got if e.series.split("/")[1] == kind] for kind in KINDS}
    frames = [frame_of(entry) for entry in got]
    print("exchange to connector    ", spread_ms(received[frame] - sent[frame] for frame in frames))
    print("connector to subscriber  ", spread_ms(e.at_ns - received[frame_of(e)] for e in got))
    for kind, values in whole.items():
        print(f"exchange to subscriber   {kind:<6} {len(values):7,}", spread_ms(values))
    judge(spread_ms(value for values in whole.values() for value in values), len(got))


def judge(every: Mapping[str, float], count: int) -> None:
    target = TARGETS["latency"]
    is_within = every["p50"] <= target["p50_ms"] and every["p99"] <= target["p99_ms"]
    mark = "within the target" if is_within else f"ABOVE THE TARGET of p50 {target['p50_ms']}, p99 {target['p99_ms']}"
    print(f"exchange to subscriber   all    {count:7,}", every, mark)


async def measure(rig: Rig, desk: Office, seconds: float) -> list[Entry]:
    """Return what one subscriber of everything got, without the time of warming up."""
    key = await desk.add("reader")
    await desk.entitle("reader")
    plan = Plan("reader", "reader", key, tuple(name.replace("/", "") for name in NAMES))
    async with subscribed(desk, "reader", [plan]) as clients:
        await trio.sleep(WARM_UP_S)
        before, cpu = await rig.samples(CONNECTOR), {role: rig.cpu_s(role) for role in ROLES}
        began_s, since_ns = trio.current_time(), clients.diary(plan)[-1].at_ns
        await trio.sleep(seconds)
        after, took_s = await rig.samples(CONNECTOR), trio.current_time() - began_s
        ack = {f"p{share * 100:g}": quantile_ms(before, after, share) for share in (0.5, 0.9, 0.99)}
        print("connector to bus's ack   ", ack, "(upper bounds)")
        for role in ROLES:
            print(
                f"{role:<18} cpu {(rig.cpu_s(role) - cpu[role]) / took_s * 100:5.1f} %  rss {rig.rss_mb(role):6.1f} MB"
            )
        await clients.leave()
        return [
            e for e in clients.diary(plan) if e.kind == "message" and since_ns < e.at_ns < since_ns + seconds * NS_PER_S
        ]


async def latency(rate: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        async with running(Path(name), f"--rate {rate}", NAMES) as rig, office(rig) as desk:
            got = await measure(rig, desk, seconds)
            await rig.stop()
            records = await raw_of(local_store(rig.data_dir), "kraken", Verdict())
        print(
            f"frames/s {rate:,}   messages/s {len(got) / seconds:,.0f}   load of the machine {os.getloadavg()[0]:.1f}"
        )
        stages(got, sent_ns(rig.ledger, records), received_ns(records))


def run(seconds: float | None = None) -> None:
    target = TARGETS["latency"]
    print(f"targets: {target}")
    trio.run(latency, target["rate_per_s"], seconds or target["for_s"])


if __name__ == "__main__":
    run(float(sys.argv[1]) if sys.argv[1:] else None)
