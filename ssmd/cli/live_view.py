"""The live view of `ssmd up` on a terminal: one line per feed, one per process."""

from collections.abc import Sequence
from typing import Final

import httpx
import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ssmd.cli.samples import Samples, fetch
from ssmd.trees import System

REFRESH_S: Final = 1.0
_MARKS: Final = {"live": "[green]●[/]", "degraded": "[yellow]◐[/]", "waiting": "[dim]○[/]"}


class _Child(Struct):
    path: str
    state: str
    error: str | None = None


class _Health(Struct):
    children: tuple[_Child, ...] = ()


class FeedRow(Struct, frozen=True):
    """What the view shows of one feed. Counters are totals; the rate comes from two rows."""

    feed: str
    at_s: float
    state: str
    symbols: int
    refused: int
    frames: float
    lag_s: float
    gaps: int
    backlog_bytes: float


def feed_row(feed: str, samples: Samples, at_s: float) -> FeedRow:
    def total(name: str, **labels: str) -> float:
        return samples.total(f"ssmd_connector_{name}", feed=feed, **labels)

    live, pending = total("symbols", state="live"), total("symbols", state="pending")
    refused = total("symbols", state="refused")
    if total("connections_open") < 1:
        state = "waiting"
    else:
        state = "live" if live and not pending and not refused else "degraded"
    backlog = samples.total("ssmd_connector_journal_backlog_bytes")
    return FeedRow(
        feed,
        at_s,
        state,
        int(live),
        int(refused),
        total("frames_received_total"),
        total("lag_seconds"),
        int(total("gaps_total")),
        backlog,
    )


def frames_per_s(before: FeedRow | None, row: FeedRow) -> float:
    """Return the rate over the time that really passed; 0 where a restart set the counter back."""
    if before is None or row.at_s <= before.at_s:
        return 0.0
    return max(0.0, row.frames - before.frames) / (row.at_s - before.at_s)


async def show(system: System, console: Console) -> None:
    """Draw until cancelled. The screen never waits for a role: one that does not answer is shown as it was."""
    feeds = [feed for feed, entry in system.spec.environment.spec.feeds.items() if entry.enabled]
    before: dict[str, FeedRow] = {}
    with Live(console=console, auto_refresh=False, transient=True) as live:
        async with httpx.AsyncClient(timeout=REFRESH_S) as client:
            while True:
                rows = [await _look(client, system, feed, before.get(feed)) for feed in feeds]
                archiver = await _samples(client, system, "archiver")
                troubles = [line for role in sorted(system.ops) for line in await _troubles(client, system, role)]
                live.update(_screen(system, rows, before, archiver, troubles), refresh=True)
                before = {row.feed: row for row in rows}
                await trio.sleep(REFRESH_S)


async def _look(client: httpx.AsyncClient, system: System, feed: str, before: FeedRow | None) -> FeedRow:
    samples = await _samples(client, system, f"connector:{feed}")
    if not samples and before is not None:
        return replace(before, state="waiting")
    return feed_row(feed, samples, trio.current_time())


async def _samples(client: httpx.AsyncClient, system: System, role: str) -> Samples:
    url = system.ops.get(role)
    return Samples() if url is None else await fetch(client, url)


async def _troubles(client: httpx.AsyncClient, system: System, role: str) -> Sequence[str]:
    """Return why a role's children wait to be started again."""
    try:
        health = msgspec.json.decode((await client.get(f"{system.ops[role]}/health")).content, type=_Health)
    except (httpx.HTTPError, msgspec.MsgspecError):
        return ()
    waiting = (child for child in health.children if child.state == "backoff" and child.error)
    return [f"{child.path.partition('/')[2]} waits: {child.error}" for child in waiting]


def _screen(
    system: System,
    rows: Sequence[FeedRow],
    before: dict[str, FeedRow],
    archiver: Samples,
    troubles: Sequence[str],
) -> RenderableType:
    source = "simulator" if system.spec.simulator is not None else "exchange"
    feeds = Table(title=f"ssmd  {system.spec.environment.name}   source: {source}", title_justify="left")
    for heading in ("feed", "symbols", "frames/s", "lag", "gaps", "journal", "archive lag"):
        feeds.add_column(heading, justify="left" if heading == "feed" else "right")
    archive_lag_s = archiver.total("ssmd_archiver_lag_seconds")
    for row in rows:
        rate = frames_per_s(before.get(row.feed), row)
        symbols = f"{row.symbols}" + (f" (+{row.refused} refused)" if row.refused else "")
        feeds.add_row(
            f"{_MARKS[row.state]} {row.feed} {row.state}",
            symbols,
            f"{rate:,.0f}",
            f"{row.lag_s * 1000:,.0f} ms",
            f"{row.gaps}",
            size(row.backlog_bytes),
            f"{archive_lag_s:,.0f} s",
        )
    return Group(feeds, *(Text(line, style="yellow") for line in troubles), _processes(system))


def _processes(system: System) -> RenderableType:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for child in system.board.snapshot():
        name = child.path.partition("/")[2]
        mark = _MARKS["live" if child.state.value in {"running", "finished"} else "degraded"]
        restarts = f"restarts {child.restarts}" if child.restarts else ""
        table.add_row(f"{mark} {name}", child.state.value, f"pid {system.pids.get(name, '-')}", restarts)
    return table


def size(count: float) -> str:
    """Return bytes for people: 1.2 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""
