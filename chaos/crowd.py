"""One client that keeps up, beside many that behave badly: what does it notice of them?"""

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

from chaos.kills import LATE_S
from chaos.office import GATEWAY, Office, Subscribers, office, subscribed
from chaos.processes import spawn, until
from chaos.rabble import Rabble
from chaos.rig import NAMES, Rig, prepared
from chaos.rows import Row, Stopwatch
from chaos.subscribers import Plan
from chaos.targets import Crowd
from ssmd.clock import NS_PER_S
from ssmd.gateway.live.line import SLOW
from ssmd.protocols.text import rfc3339_ns

SYMBOLS = tuple(name.replace("/", "") for name in NAMES)
READY_SHARE = 0.99
CUT_OFF_WITHIN_S = 40.0
CLOSED = "ssmd_gateway_sessions_closed_total"

ALONE = 5
"""Connections of the healthy client and of the administrator, at most."""

Span = tuple[int, int]
"""From and to, by the wall clock in nanoseconds."""


async def crowd(row: Row, folder: Path, target: Crowd) -> None:
    """Measure the healthy client by turns alone and beside each kind of crowd."""
    watch = Stopwatch()
    quiet: list[Span] = []
    beside: defaultdict[str, list[Span]] = defaultdict(list)
    left: defaultdict[str, list[Span]] = defaultdict(list)
    async with prepared(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig:
        rig.variables["SSMD_GATEWAY_MAX_CONNECTIONS_PER_ADDRESS"] = "4096"
        await rig.start()
        async with office(rig) as desk, _healthy(rig, desk) as healthy:
            for turn in range(target.rounds):
                for kind, clients in target.clients.items():
                    quiet.append(await _window(target))
                    alone_mb = rig.rss_mb(GATEWAY)
                    async with _rabble(rig, desk, f"{kind}-{turn}", clients) as met:
                        beside[kind].append(await _window(target))
                        await _judge_rabble(row, rig, kind, met(), clients * (turn + 1))
                    _note_memory(row, kind, (alone_mb, rig.rss_mb(GATEWAY)), target)
                    left[kind].append(await _all_gone(rig))
            row.note(gateway_peak_mb=rig.peak_mb(GATEWAY))
            await healthy.leave()
            _judge(row, healthy, quiet, beside, target)
            _note_leaving(row, healthy, left)
        row.at_most("exit_code", await rig.stop(), 0)
    row.duration_s = watch.elapsed_s


@asynccontextmanager
async def _healthy(rig: Rig, desk: Office) -> AsyncIterator[Subscribers]:
    await rig.until_publishing(trio.current_time(), 0, LATE_S)
    key = await desk.add("healthy")
    await desk.entitle("healthy")
    plans = [Plan("healthy", "healthy", key, SYMBOLS)]
    async with subscribed(desk, "healthy", plans) as clients:
        yield clients


def _note_memory(row: Row, kind: str, mb: tuple[float, float], target: Crowd) -> None:
    """What 2,000 sockets have needed once is kept for the next ones, so only what is before them says something."""
    alone_mb, beside_mb = mb
    row.note(**{f"{kind}_rss_mb": [round(alone_mb, 1), round(beside_mb, 1)]})
    if kind == "idle" and "idle_kb_each" not in row.figures:
        row.at_most("gateway_mb", beside_mb, target.gateway_mb)
        row.at_most("idle_kb_each", (beside_mb - alone_mb) * 1024 / target.clients[kind], target.idle_kb_each)


async def _window(target: Crowd) -> Span:
    began_ns = time.time_ns()
    await trio.sleep(target.window_s)
    return began_ns, time.time_ns()


@asynccontextmanager
async def _rabble(rig: Rig, desk: Office, name: str, clients: int) -> AsyncIterator["Met"]:
    """Give a crowd that is at it, and what it has met so far."""
    kind, folder = name.rpartition("-")[0], rig.folder / name
    folder.mkdir()
    key = await desk.add(name, devices=10_000)
    await desk.entitle(name)
    port = int(desk.url.rpartition(":")[2])
    plan = folder / "plan.json"
    plan.write_bytes(msgspec.json.encode(Rabble(kind, clients, port, key, SYMBOLS, str(folder))))
    process = spawn([sys.executable, "-m", "chaos.rabble", str(plan)], folder / "output.log")
    met = Met(folder / f"{kind}.json")

    async def is_there() -> bool:
        assert process.poll() is None, (folder / "output.log").read_text()[-2_000:]
        return met().get("ready", 0) >= clients * READY_SHARE

    try:
        await until(is_there, LATE_S, f"{clients} {kind} are there")
        yield met
    finally:
        process.kill()
        process.wait()


async def _all_gone(rig: Rig) -> Span:
    """Wait until only the healthy client is left, and return from when until when the others went."""
    began_ns = time.time_ns()

    async def are_gone() -> bool:
        return await rig.total(GATEWAY, "ssmd_gateway_connections_open") <= ALONE

    await until(are_gone, LATE_S, "the crowd is gone")
    return began_ns, time.time_ns()


class Met:
    """What a crowd says that it has met."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> Mapping[str, int]:
        return msgspec.json.decode(self._path.read_bytes()) if self._path.exists() else {}


async def _judge_rabble(row: Row, rig: Rig, kind: str, met: Mapping[str, int], slow: int) -> None:
    """Each kind met what is documented. slow: how many slow readers there were until now."""
    row.note(**{f"{kind}_met": dict(met)})
    if kind == "slow_readers":

        async def are_cut_off() -> bool:
            return await rig.total(GATEWAY, CLOSED, code=str(SLOW)) >= slow

        row.note(cut_off_after_s=await until(are_cut_off, CUT_OFF_WITHIN_S, "every slow reader is cut off"))
    if kind == "idle":
        row.at_most("idle_ended", met.get("ended", 0) + met.get("broken", 0), 0)
    if kind == "slow_handshakes":
        row.at_least("told_to_go", met.get("told_to_go", 0), 1)
    if kind == "storm":
        row.at_least("rate_limited", met.get("rate_limited", 0), 1)


def _judge(
    row: Row, healthy: Subscribers, quiet: Sequence[Span], beside: Mapping[str, Sequence[Span]], target: Crowd
) -> None:
    """Compare each window with the quiet one before it; as much as quiet windows differ among themselves is allowed."""
    latencies = _latencies_ms(healthy)
    alone = [p99_ms(latencies, span) for span in quiet]
    noise = statistics.quantiles(alone, n=4)[2] / statistics.median(alone)
    row.note(quiet_p99_ms=[round(one, 1) for one in alone], noise=noise)
    for number, (kind, spans) in enumerate(beside.items()):
        found = [p99_ms(latencies, span) for span in spans]
        before = alone[number :: len(beside)]
        row.note(**{f"{kind}_p99_ms": [round(one, 1) for one in found]})
        change = statistics.median(one / other for one, other in zip(found, before, strict=True))
        row.at_most(f"{kind}_p99_change", change, max(1 + target.p99_change, noise))
    codes = [entry.code for entry in healthy.diary(healthy.plans[0]) if entry.kind == "closed"]
    lags = sum(entry.kind == "lag" for entry in healthy.diary(healthy.plans[0]))
    if codes != [1000] or lags:
        row.missed.append(f"the healthy client was closed with {codes[:-1]} and told of {lags} lags")


def _note_leaving(row: Row, healthy: Subscribers, left: Mapping[str, Sequence[Span]]) -> None:
    """Tell the latest message that came while all of a kind left at the same moment."""
    latencies = _latencies_ms(healthy)
    for kind, spans in left.items():
        late = [late_ms for at_ns, late_ms in latencies if any(a <= at_ns < b + NS_PER_S for a, b in spans)]
        row.note(**{f"{kind}_leaving_max_ms": round(max(late), 1)})


def _latencies_ms(healthy: Subscribers) -> list[tuple[int, float]]:
    """Return when each message came, and how long after the connector had received it."""
    messages = [entry for entry in healthy.diary(healthy.plans[0]) if entry.kind == "message"]
    return [(entry.at_ns, (entry.at_ns - rfc3339_ns(entry.received_at)) / 1e6) for entry in messages]


def p99_ms(latencies: Sequence[tuple[int, float]], span: Span) -> float:
    inside = [late_ms for at_ns, late_ms in latencies if span[0] <= at_ns < span[1]]
    assert len(inside) >= 100, f"{len(inside)} messages in {(span[1] - span[0]) / NS_PER_S:.0f} s"
    return statistics.quantiles(inside, n=100)[98]
