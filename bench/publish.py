"""What publishing and consuming cost against a real nats-server with `sync_interval: always`.

Run: python bench/publish.py [--messages N] [--strace]. CPU is this process's (user + system); the server's is shown
beside it. --strace counts the server's fsyncs (needs strace).
"""

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from ssmd.bus.base import Bus, Outgoing, StreamSpec
from ssmd.bus.nats import NatsDialer
from ssmd.bus.server import ServerSettings, endpoints_of, server_argv, wait_ready

PAYLOAD_BYTES = 200
BATCHES = (1, 16, 64, 256, 1024)
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
SPEC = StreamSpec("bench", ("bench.>",), max_bytes=1_000_000_000, max_age_s=3600)


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def cpu_of_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def server(folder: Path, *, strace: bool) -> Iterator[ServerSettings]:
    settings = ServerSettings(folder, max_file_store_bytes=3_000_000_000)
    tracer = ("strace", "-f", "-c", "-e", "trace=fsync,fdatasync,pwrite64,write", "-o", str(folder / "strace"))
    process = subprocess.Popen((*tracer * strace, *server_argv(settings)))
    try:
        yield settings
    finally:
        os.kill(endpoints_of(settings).pid, 15)
        process.wait(10)


def messages(first: int, count: int) -> list[Outgoing]:
    return [
        Outgoing("bench.trade.BTCUSD", bytes(PAYLOAD_BYTES), f"kraken/0123456789abcdef/{i}/0")
        for i in range(first, first + count)
    ]


async def measure_publish(bus: Bus, first: int, count: int, size: int, pid: int) -> None:
    batches = [messages(first + i, size) for i in range(0, count, size)]
    waits_s = []
    cpu, cpu_server, started = cpu_s(), cpu_of_s(pid), time.perf_counter()
    for batch in batches:
        before = time.perf_counter()
        await bus.publish(batch)
        waits_s.append(time.perf_counter() - before)
    wall, n = time.perf_counter() - started, len(batches) * size
    waits_s.sort()
    print(
        f"publish, batches of {size:5}: {n / wall:8.0f} msg/s   {(cpu_s() - cpu) / n * 1e6:7.1f} µs CPU/msg   "
        f"server {(cpu_of_s(pid) - cpu_server) / n * 1e6:6.1f} µs   batch latency median "
        f"{statistics.median(waits_s) * 1e3:6.2f} ms, p99 {waits_s[int(len(waits_s) * 0.99)] * 1e3:6.2f} ms"
    )


async def measure_consume(bus: Bus, limit: int) -> None:
    async with bus.consume("bench", f"reader{limit}", "bench.>") as consumer:
        cpu, started, n, last, batches = cpu_s(), time.perf_counter(), 0, 0, 0
        while batch := await consumer.fetch(limit, 0.5):
            n, last, batches = n + len(batch), batch[-1].stream_seq, batches + 1
            if not batch[-1].pending:
                break
        wall, cpu = time.perf_counter() - started, cpu_s() - cpu
        started = time.perf_counter()
        await consumer.ack_through(last)
        ack_ms = (time.perf_counter() - started) * 1e3
    print(
        f"consume, fetch({limit:5}):     {n / wall:8.0f} msg/s   {cpu / n * 1e6:7.1f} µs CPU/msg   "
        f"{n / batches:.0f} per fetch, ack of all {ack_ms:.1f} ms"
    )


async def main(count: int, settings: ServerSettings) -> None:
    imported_mb = rss_mb()
    endpoints = await wait_ready(settings)
    async with NatsDialer(endpoints.url).connect() as bus:
        await bus.ensure_stream(SPEC)
        async with NatsDialer(endpoints.url).connect():
            two_mb = rss_mb()
        await bus.publish(messages(0, 256))
        print(f"RSS: {imported_mb:.1f} MB imported, {two_mb:.1f} MB with two idle connections")
        for i, size in enumerate(BATCHES, 1):
            n = max(size * 10, min(count, size * 300))
            await measure_publish(bus, i * 10_000_000, n, size, endpoints.pid)
        await measure_consume(bus, 100)
        await measure_consume(bus, 1000)
    print(f"RSS: {rss_mb():.1f} MB at the end")


def print_syncs(trace: Path) -> None:
    for line in trace.read_text().splitlines():
        if re.search(r"calls|fsync|fdatasync|write", line):
            print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--strace", action="store_true")
    asked = parser.parse_args()
    store = Path(tempfile.mkdtemp(prefix="bench-nats-", dir=Path.cwd()))
    try:
        with server(store, strace=asked.strace) as running:
            trio.run(main, asked.messages, running)
        if asked.strace:
            print_syncs(store / "strace")
    finally:
        shutil.rmtree(store)
