"""What a reprocess and a diff cost, and what that makes for a day and a month: `make bench ARGS=reprocess`.

The frames are the simulated exchange's (five symbols, books of depth 10), stamped as a minute of them comes, with
jitter. With SSMD_BENCH_RECORDING=FILE… (JSON lines, Kraken WebSocket v2) recorded streams are compressed as well. A
wrong checksum ends the run: a fast wrong answer scores zero.

Every figure is CPU time (user + system) of all processes that took part. Other work on the machine makes that larger
too, since neighbours share caches and cores; so the best of some runs counts, and the load is printed.
"""

import gzip
import os
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import TypeVar

import msgspec
import trio
import zstandard

from bench.day import Amount, Disturbance, Run, extrapolated
from bench.stages import NAMES, child, config, show
from ssmd.actors.transport import WebSocketTransport
from ssmd.clock import NS_PER_MINUTE
from ssmd.codec import blocks, marketdata, raw
from ssmd.codec.packing import Item, pack
from ssmd.protocols import exchange
from ssmd.protocols.decoder import FeedDecoder
from ssmd.protocols.manifest import Manifest
from ssmd.protocols.subscriptions import Subscriptions
from ssmd.records import Configured, Connected, FeedConfig, FrameLine, Predecessor, SymbolSpec
from ssmd.reprocess.day_diff import Wanted
from ssmd.reprocess.diff import Comparison, compare_versions
from ssmd.reprocess.minute import LINES_TOGETHER
from ssmd.reprocess.processes import settle
from ssmd.reprocess.run import Job, reprocess
from ssmd.store.keys import RawKey
from ssmd.store.objects import local_store
from ssmd.trees import wait_for_run_file

R = TypeVar("R")

FEED = "kraken"
START_NS = 1_764_547_200 * 10**9
MINUTES = 40
FRAMES_PER_MINUTE = 8_700
"""As many for one object as in a minute of 50 symbols with 87,000 frames."""
RECONNECT_EVERY = 10
"""Minutes. A chunk warms up from the last reconnect; with none in a day, a second worker reads all that the first reads."""
ROUNDS = 3
disturbance = Disturbance()


def cpu_s(who: int = resource.RUSAGE_SELF) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


async def receive(url: str, count: int) -> list[str]:
    """Take frames of one connection; the snapshots come first."""
    venue, frames = exchange(FEED), []
    async with WebSocketTransport().connect(url, venue.limits.max_frame_bytes) as connection:
        wanted = Subscriptions(venue)
        wanted.want(config(), 0.0)
        now_s = 0.0
        while texts := wanted.due(now_s):
            for text in texts:
                await connection.send(text)
            now_s += 10
        frames += [str(await connection.receive()) for _ in range(count)]
    return frames


async def simulated(folder: Path, count: int, connections: int) -> list[list[str]]:
    run_file = folder / "simulator.json"
    words = ["kraken", "--symbols", ",".join(NAMES), "--rate", "12000", "--run-file", str(run_file)]
    with child([sys.executable, "-m", "ssmd.cli.simulator", *words]):
        url = (await wait_for_run_file(run_file)).exchange
        return [await receive(url, count) for _ in range(connections)]


def raw_minutes(streams: Sequence[Sequence[str]], settings: FeedConfig, per_minute: int) -> Iterator[bytes]:
    """Give whole raw minutes: each stream is a connection, one after the other."""
    lines: list[bytes] = []
    minute, step_ns = 0, NS_PER_MINUTE // per_minute
    place = 0

    jitter = Random(1)
    last_ns = 0

    def at_ns() -> int:
        nonlocal last_ns
        last_ns = max(last_ns, START_NS + minute * NS_PER_MINUTE + place * step_ns + jitter.randrange(step_ns))
        return last_ns

    before = None
    for number, frames in enumerate(streams, 1):
        conn = f"bench-0-{number}"
        lines.append(raw.encode_note(at_ns(), conn, 0, Connected("ws://bench", before)))
        lines.append(raw.encode_note(at_ns(), conn, 1, Configured(settings)))
        for seq, frame in enumerate(frames, 2):
            lines.append(raw.encode_frame(at_ns(), conn, seq, frame))
            before = Predecessor(conn, seq, last_ns)
            place += 1
            if place == per_minute:
                yield b"".join(lines)
                lines, place, minute = [], 0, minute + 1
    if lines:
        yield b"".join(lines)


async def store_raw(folder: Path, minutes: Sequence[bytes]) -> int:
    """Store the minutes with their manifests; return the bytes stored."""
    store, previous, total = local_store(folder), None, 0
    for number, content in enumerate(minutes):
        body = blocks.compress(content)
        key = RawKey(FEED, START_NS + number * NS_PER_MINUTE)
        notes = sum(1 for _ in raw.note_lines(content))
        manifest = Manifest(
            key.key, FEED, "bench", key.minute_ns, content.count(b"\n") - notes, notes, len(content), len(body),
            sha256(body).hexdigest(), previous, None, None, (),
        )  # fmt: skip
        text = msgspec.json.encode(manifest)
        previous = sha256(text).hexdigest()
        await store.create(key.key, body)
        await store.create(key.manifest, text)
        total += len(body)
    return total


# stages ------------------------------------------------------------------------------------------------------


def stages(content: bytes) -> None:
    """Print what each stage of the hot loop costs, alone."""
    body = blocks.compress(content)
    count = content.count(b"\n")
    _timed("read: decompress", "frame", count, lambda: [0 for _ in blocks.iter_decompress(body, 1 << 32)])
    lines = content.split(b"\n")[:-1]
    decoder = FeedDecoder(FEED, exchange(FEED))
    reader = raw.LineReader(decoder.frame_type)
    _timed("read: lines with their frames", "frame", count, lambda: [0 for at in blocks_of(lines) if reader.read(at)])
    used_s = 0.0
    for some in blocks_of(lines):
        found = reader.read(some)
        began = cpu_s()
        for each in found:
            decoder.feed_line(each) if isinstance(each, FrameLine) else decoder.feed(each)
        used_s += cpu_s() - began
    show("apply, verify", "frame", used_s, count)
    counts = decoder.counts
    if counts.checksums_failed or counts.rejected:
        raise SystemExit(f"wrong answers: {counts}")
    again = FeedDecoder(FEED, exchange(FEED))
    events = [event for line in lines for event in again.feed(raw.read_line(line)).events]
    print(f"{'':<34}{counts.checksums_verified:,} checksums verified, {len(events):,} events")
    _timed("encode", "event", len(events), lambda: [0 for event in events if marketdata.encode(event)])
    items = [Item(e.recv_ns, e.conn, e.seq, e.n, marketdata.encode(e)) for e in events]
    _timed("pack: order and compress", "event", len(events), lambda: pack(sorted(items)))


def blocks_of(lines: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Give as many lines at a time as a reprocess takes."""
    return (lines[at : at + LINES_TOGETHER] for at in range(0, len(lines), LINES_TOGETHER))


def _timed(stage: str, what: str, count: int, work: Callable[[], object]) -> None:
    began = cpu_s()
    work()
    show(stage, what, cpu_s() - began, count)


# whole runs --------------------------------------------------------------------------------------------------


class WithBug(FeedDecoder):
    """Every trade of the other side."""

    def _trade(self, draft, print_) -> None:  # noqa: ANN001
        other = "sell" if print_.side == "buy" else "buy"
        super()._trade(draft, msgspec.structs.replace(print_, side=other))


def timed(work: Callable[[], Awaitable[R]]) -> tuple[R, float, float]:
    """Run it in an event loop of its own, so that its workers have ended and are counted."""
    disturbance.look()
    began_s, before = time.monotonic(), cpu_s() + cpu_s(resource.RUSAGE_CHILDREN)
    result = trio.run(work)
    return result, time.monotonic() - began_s, cpu_s() + cpu_s(resource.RUSAGE_CHILDREN) - before


def rebuilt(folder: Path, job: Job, amount: Amount) -> Run:
    """Reprocess and print what it took."""
    more = {} if job.parallel > 1 else {"versions": {"v1": FeedDecoder, "v2": WithBug}}
    summary, took_s, used_s = timed(partial(reprocess, job, partial(local_store, folder), **more))
    if not summary.is_well or summary.figures.checksums_failed:
        raise SystemExit(f"wrong: {summary.problems[:3]}")
    run = Run(summary.figures.frames, took_s, used_s)
    plain, stored = (each / used_s * 3600 / 1e9 for each in (amount.plain_bytes, amount.stored_bytes))
    print(
        f"reprocess {job.version} parallel={job.parallel}: {run.count:,} frames, {summary.events:,} events, "
        f"{summary.objects:,} objects, {summary.figures.checksums_verified:,} checksums verified, 0 failed\n"
        f"    {run.count / took_s:,.0f} frames/s  CPU {used_s / run.count * 1e6:.2f} µs/frame  per core: "
        f"{run.count / used_s:,.0f} frames/s, {plain:.0f} GB/h raw uncompressed, {stored:.1f} GB/h raw stored  "
        f"digest {summary.objects_sha256[:12]}",
        flush=True,
    )
    return run


def compared(folder: Path, versions: tuple[str, str], end_ns: int, parallel: int) -> tuple[Comparison, Run]:
    """Compare two versions and print what it took."""
    wanted = Wanted(FEED, *versions, START_NS, end_ns)
    found, took_s, used_s = timed(partial(compare_versions, partial(local_store, folder), wanted, None, parallel))
    run = Run(found.events_from, took_s, used_s)
    print(
        f"diff {' '.join(versions)} parallel={parallel}: {found.events_from:,} events, {found.changed:,} changed, "
        f"{found.identical_minutes} of {found.minutes} objects equal\n"
        f"    {run.count / took_s:,.0f} events/s  CPU {used_s / run.count * 1e6:.2f} µs/event",
        flush=True,
    )
    return found, run


def best(runs: Sequence[Run]) -> Run:
    return min(runs, key=lambda run: run.cpu_s)


def scaling(what: str, one: Run, two: Run, start: Run) -> None:
    """Print what a second process gains; a long run pays for the start of its workers once only."""
    began = f"start of two workers {start.took_s:.2f} s, {start.cpu_s:.2f} s of CPU"
    print(f"{what}, two processes: {one.took_s / two.took_s:.2f} times as fast as one; {began}; ", end="")
    if two.took_s < 2 * start.took_s:
        print("too short a run to tell more")
    else:
        rest_s, rest_cpu_s = two.took_s - start.took_s, two.cpu_s - start.cpu_s
        print(f"without it {one.took_s / rest_s:.2f} times for {rest_cpu_s / one.cpu_s:.2f} times the CPU")


def whole(minutes: Sequence[bytes]) -> None:
    end_ns = START_NS + len(minutes) * NS_PER_MINUTE
    lines, plain = sum(content.count(b"\n") for content in minutes), sum(map(len, minutes))
    ones = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            amount = Amount(lines, plain, trio.run(store_raw, Path(name), minutes))
            ones.append(rebuilt(Path(name), Job(FEED, "v1", START_NS, end_ns), amount))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trio.run(store_raw, folder, minutes)
        two = rebuilt(folder, Job(FEED, "v1", START_NS, end_ns, parallel=2), amount)
        rebuilt(folder, Job(FEED, "v2", START_NS, end_ns), amount)
        same, other = ([compared(folder, ("v1", to), end_ns, n) for n in (1, 1, 2)] for to in ("v1", "v2"))
        start = compared(folder, ("v1", "v1"), START_NS + NS_PER_MINUTE, 2)[1]  # next to nothing to do
    for found in (same, other):
        if len({msgspec.json.encode(report) for report, _ in found}) != 1:
            raise SystemExit("the report depends on the number of processes")
    print(f"{disturbance.text()}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    scaling("reprocess", best(ones), two, start)
    for what, found in (("diff of equal versions", same), ("diff of changed versions", other)):
        scaling(what, best([run for _, run in found[:2]]), found[2][1], start)
    events = same[0][0].events_from / best(ones).count
    extrapolated(
        amount,
        best(ones),
        [
            ("all objects equal", best([r for _, r in same[:2]])),
            (f"{other[0][0].changed / other[0][0].events_from:.0%} of events changed", best([r for _, r in other[:2]])),
        ],
        events,
    )


# compression -------------------------------------------------------------------------------------------------


def compression(title: str, minutes: Sequence[bytes]) -> None:
    """Print ratio and cost per level, with a trained dictionary, and with a long window."""
    content = minutes[0]
    lines = content.count(b"\n")
    print(f"{title}: a minute of {lines:,} lines, {len(content) / 1e6:.1f} MB")
    dictionary = zstandard.train_dictionary(110 << 10, _samples(minutes[-1])) if len(minutes) > 1 else None
    for level in (1, 3, 6, 9, 12, 15, 19):
        _ratio(f"level {level}", content, zstandard.ZstdCompressor(level=level))
    for level in (3, 9):
        parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=23, enable_ldm=True)
        _ratio(
            f"level {level}, window 8 MB, long matches",
            content,
            zstandard.ZstdCompressor(compression_params=parameters),
        )
        if dictionary is not None:
            _ratio(
                f"level {level}, dictionary 110 kB",
                content,
                zstandard.ZstdCompressor(level=level, dict_data=dictionary),
            )


def _samples(content: bytes) -> list[bytes]:
    return [content[at : at + 4096] for at in range(0, min(len(content), 8 << 20), 4096)]


def _ratio(what: str, content: bytes, compressor: zstandard.ZstdCompressor) -> None:
    began = cpu_s()
    body = compressor.compress(content)
    used = cpu_s() - began
    lines = content.count(b"\n")
    print(f"  {what:<36}{len(content) / len(body):6.2f} times smaller{used / lines * 1e6:8.2f} µs/line", flush=True)


def recorded(path: Path) -> list[bytes]:
    """Return raw minutes of a recording, as often repeated as a minute needs, each time as a new connection."""
    data = path.read_bytes()
    frames = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    names: set[str] = set()
    for frame in frames:
        parsed = msgspec.json.decode(frame)
        entries = parsed.get("data", [])
        names.update(entry["symbol"] for entry in entries if "symbol" in entry)
    settings = FeedConfig(tuple(SymbolSpec(name, name.replace("/", ""), "l2") for name in sorted(names)), book_depth=10)
    return list(raw_minutes([frames], settings, len(frames)))


async def generate() -> list[list[str]]:
    connections = max(1, MINUTES // RECONNECT_EVERY)
    with tempfile.TemporaryDirectory() as name:
        return await simulated(Path(name), MINUTES * FRAMES_PER_MINUTE // connections, connections)


def run() -> None:
    settle()  # as the command does
    minutes = list(raw_minutes(trio.run(generate), config(), FRAMES_PER_MINUTE))
    stages(b"".join(minutes[:RECONNECT_EVERY]))
    whole(minutes)
    compression("simulated", minutes)
    for path in map(Path, os.environ.get("SSMD_BENCH_RECORDING", "").split()):
        compression(path.name, recorded(path))
