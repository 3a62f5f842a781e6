"""What each stage of the path costs, in µs of CPU per frame or event: `python -m bench stages`.

The frames are the simulated exchange's; each figure is this process's user + system time around the stage alone.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from ssmd import log
from ssmd.actors.batcher import ArchiveFeed, Batcher
from ssmd.actors.edition import Edition
from ssmd.actors.transport import WebSocketTransport
from ssmd.bus.base import Incoming, Outgoing, StreamSpec
from ssmd.bus.nats import NatsDialer
from ssmd.bus.server import ServerSettings, server_argv, wait_ready
from ssmd.codec import blocks, marketdata
from ssmd.journal import Journal
from ssmd.model import Event, message_id, type_of
from ssmd.protocols import exchange
from ssmd.protocols.book import Book
from ssmd.protocols.decoder import FeedDecoder
from ssmd.protocols.subscriptions import Subscriptions
from ssmd.records import Configured, Connected, FeedConfig, Record, SymbolSpec
from ssmd.store.objects import local_store
from ssmd.supervisor import HealthBoard
from ssmd.trees import wait_for_run_file

FRAMES = 30_000
NAMES = ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "ADA/USD")
STREAM = StreamSpec("marketdata", ("md.>",), 1 << 30, 3600)


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def show(stage: str, per_what: str, cost_s: float, count: int) -> None:
    print(f"{stage:<34}{cost_s / count * 1e6:8.2f} µs per {per_what}   ({count:,})", flush=True)


@contextmanager
def child(argv: "list[str] | tuple[str, ...]") -> Iterator[None]:
    process = subprocess.Popen(argv)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def config() -> FeedConfig:
    return FeedConfig(tuple(SymbolSpec(name, name.replace("/", ""), "l2") for name in NAMES))


async def receive(url: str) -> list[str]:
    """Take frames from the simulated exchange as a session does, without journal and decoder."""
    venue, frames = exchange("kraken"), []
    async with WebSocketTransport().connect(url, venue.limits.max_frame_bytes) as connection:
        wanted = Subscriptions(venue)
        wanted.want(config(), 0.0)
        now_s = 0.0
        while texts := wanted.due(now_s):
            for text in texts:
                await connection.send(text)
            now_s += 10
        frames += [str(await connection.receive()) for _ in range(200)]  # acks and snapshots
        began = cpu_s()
        frames += [str(await connection.receive()) for _ in range(FRAMES)]
        show("receive (trio-websocket)", "frame", cpu_s() - began, FRAMES)
    return frames


async def journal(folder: Path, frames: list[str]) -> None:
    target, began = Journal(folder), cpu_s()
    for start in range(0, len(frames), 64):
        for seq, frame in enumerate(frames[start : start + 64], start):
            target.append_frame("bench-0-1", seq, frame)
        await target.write_pending()
    show("journal (append, written by 64)", "frame", cpu_s() - began, len(frames))


def decode(frames: list[str]) -> list[Event]:
    decoder = FeedDecoder("kraken", exchange("kraken"))
    decoder.feed(Record(0, "c", 0, note=Connected("ws://bench")))
    decoder.feed(Record(0, "c", 1, note=Configured(config())))
    now = time.time_ns()
    records = [Record(now + i * 500_000, "c", i + 2, frame) for i, frame in enumerate(frames)]
    events: list[Event] = []
    began = cpu_s()
    for record in records:
        events.extend(decoder.feed(record).events)
    show("decode, apply, verify", "frame", cpu_s() - began, len(records))
    counts = decoder.counts
    assert counts.checksums_failed == 0
    print(f"{'':<34}{counts.checksums_verified:,} checksums verified, {len(events):,} events")
    return events


def checksum(frames: list[str]) -> None:
    venue = exchange("kraken")
    parser = venue.parser()
    change = next(u for f in frames for u in parser.parse(f) if getattr(u, "snapshot", False))
    book = Book(10, venue.level_token)
    book.apply(change)
    began = cpu_s()
    for _ in range(FRAMES):
        venue.checksum(book.asks.tokens, book.bids.tokens)
    show("checksum alone (in decode)", "book frame", cpu_s() - began, FRAMES)


def encode(events: list[Event]) -> list[Outgoing]:
    made: dict[str, list[Outgoing]] = {}
    for kind in ("trade", "quote", "book"):
        some = [event for event in events if type_of(event) == kind]
        began = cpu_s()
        made[kind] = [Outgoing(f"md.kraken.{kind}.{e.symbol}", marketdata.encode(e), message_id(e)) for e in some]
        if some:
            show(f"encode {kind}", "event", cpu_s() - began, len(some))
    return [message for messages in made.values() for message in messages]


async def publish(url: str, messages: list[Outgoing]) -> list[Incoming]:
    async with NatsDialer(url).connect() as bus:
        await bus.ensure_stream(STREAM)
        began = cpu_s()
        for start in range(0, len(messages), 256):
            await bus.publish(messages[start : start + 256])
        show("publish with ack (256 at a time)", "event", cpu_s() - began, len(messages))
        got: list[Incoming] = []
        async with bus.consume("marketdata", "bench", "md.>") as consumer:
            began = cpu_s()
            while len(got) < len(messages):
                got.extend(await consumer.fetch(1000, 5))
            show("consume", "event", cpu_s() - began, len(got))
    return got


async def archive(folder: Path, url: str, messages: list[Incoming]) -> None:
    feed = ArchiveFeed(Edition("kraken", "v1"), STREAM)
    batcher = Batcher(feed, NatsDialer(url), local_store(folder), HealthBoard())
    began = cpu_s()
    for message in messages:
        batcher._take(message)  # noqa: SLF001  # the stage alone, without its consumer
    for minute_ns, minute in batcher._minutes.items():  # noqa: SLF001
        for series, items in minute.series():
            await batcher._store_series(series, minute_ns, items)  # noqa: SLF001
    show("archive (batch, compress, store)", "event", cpu_s() - began, len(messages))


def seal(folder: Path) -> None:
    (path,) = list(folder.glob("*.jsonl"))[:1]
    lines, began = path.read_bytes().count(b"\n"), cpu_s()
    body = blocks.compress_file(path)
    show("seal (zstd of the raw minute)", "frame", cpu_s() - began, lines)
    print(f"{'':<34}raw {path.stat().st_size / len(body):.2f} times smaller")


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_file = folder / "simulator.json"
        words = ["kraken", "--symbols", ",".join(NAMES), "--rate", "12000", "--run-file", str(run_file)]
        with child([sys.executable, "-m", "ssmd.cli.simulator", *words]):
            frames = await receive((await wait_for_run_file(run_file)).exchange)
        await journal(folder / "journal", frames)
        events = decode(frames)
        checksum(frames)
        messages = encode(events)
        server = ServerSettings(folder / "nats")
        with child(server_argv(server)):
            url = (await wait_ready(server)).url
            await archive(folder, url, await publish(url, messages))
        seal(folder / "journal")


def run() -> None:
    log.configure("error", role="bench")
    trio.run(main)
