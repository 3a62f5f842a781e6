"""What `ssmd up` says when it stops: what was captured, where it is, and what to try next."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from ssmd.cli.live_view import size
from ssmd.cli.samples import Samples
from ssmd.environment.spec import Environment
from ssmd.trees import run_dir


def last_words(data_dir: Path) -> Samples:
    """Return the metrics that every role left when it ended."""
    total = Samples()
    for path in run_dir(data_dir).glob("*.metrics"):
        total += Samples.parse(path.read_text())
    return total


def summary(environment: Environment, data_dir: Path, samples: Samples, took_s: float) -> Iterable[str]:
    """Give the lines of the closing report."""
    for feed, entry in environment.spec.feeds.items():
        yield from _feed_lines(feed, len(entry.symbols), samples, took_s)
    folders = [data_dir / "raw", data_dir / "normalized"]
    for folder in folders:
        files = [path for path in folder.rglob("*.zst") if path.is_file()]
        total = sum(path.stat().st_size for path in files)
        yield f"kept       {folder}: {len(files)} object{'' if len(files) == 1 else 's'} in all, {size(total)}"


def _feed_lines(feed: str, symbols: int, samples: Samples, took_s: float) -> Iterable[str]:
    def connector(name: str, **labels: str) -> int:
        return int(samples.total(f"ssmd_connector_{name}", feed=feed, **labels))

    received = size(samples.total("ssmd_connector_received_bytes_total", feed=feed))
    yield f"captured   {feed}: {connector('frames_received_total'):,} frames, {received}, {symbols} symbols, {took_s:.0f} s"
    verified, failed = connector("checksums_total", result="verified"), connector("checksums_total", result="failed")
    rejected, reconnects = connector("rejected_frames_total"), connector("websocket_reconnects_total")
    gaps = connector("gaps_total")
    yield (
        f"quality    {feed}: {verified:,} book checksums verified, {failed:,} failed; "
        f"{rejected:,} frames rejected; {gaps:,} gaps recorded; {reconnects:,} reconnects"
    )
    archived = int(samples.total("ssmd_archiver_events_total", feed=feed))
    yield f"published  {feed}: {connector('events_published_total'):,} events; {archived:,} archived"


def next_commands(data_dir: Path) -> Iterable[str]:
    """Give commands that show the data, with tools that are installed here."""
    trade = _newest(data_dir / "normalized", "trade")
    raw = _newest(data_dir / "raw", "")
    ssmd = Path(sys.executable).with_name("ssmd")
    program = "ssmd" if shutil.which("ssmd") else str(ssmd.relative_to(Path.cwd()) if _below_here(ssmd) else ssmd)
    if trade is not None:
        if shutil.which("zstd") and shutil.which("capnp"):
            yield f"zstd -dc {trade} | capnp decode schemas/marketdata.capnp Trade"
        yield f"{program} cat {trade}"
    if raw is not None:
        yield f"zstd -dc {raw} | head -3" if shutil.which("zstd") else f"{program} cat {raw} | head -3"


def _newest(folder: Path, kind: str) -> Path | None:
    paths = [path for path in folder.rglob("*.zst") if not kind or f"/{kind}/" in path.as_posix()]
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


def _below_here(path: Path) -> bool:
    return path.is_relative_to(Path.cwd())
