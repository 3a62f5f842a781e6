"""What `ssmd up` says when it stops: what was captured, where it is, and what to try next."""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from ssmd.cli.live_view import size
from ssmd.cli.samples import Samples
from ssmd.trees import UpSpec, run_dir
from ssmd.trees.storage import store_endpoint


def last_words(data_dir: Path) -> Samples:
    """Return the metrics that every role left when it ended."""
    total = Samples()
    for path in run_dir(data_dir).glob("*.metrics"):
        total += Samples.parse(path.read_text())
    return total


def summary(spec: UpSpec, samples: Samples, took_s: float) -> Iterable[str]:
    """Give the lines of the closing report."""
    for feed, entry in spec.environment.spec.feeds.items():
        yield from _feed_lines(feed, len(entry.symbols), samples, took_s)
    if spec.settings.storage.endpoint:
        yield from _stored_lines(spec, samples)
    else:
        yield from _kept_lines(spec.data_dir)


def _kept_lines(data_dir: Path) -> Iterable[str]:
    for folder in (data_dir / "raw", data_dir / "normalized"):
        files = [path for path in folder.rglob("*.zst") if path.is_file()]
        total = sum(path.stat().st_size for path in files)
        yield f"kept       {folder}: {_objects(len(files))} in all, {size(total)}"


def _stored_lines(spec: UpSpec, samples: Samples) -> Iterable[str]:
    """What the roles stored in this run: a bucket may hold millions of objects, and may be away by now."""
    counters = {"raw": "ssmd_connector_minutes_sealed_total", "normalized": "ssmd_archiver_objects_total"}
    storage = spec.environment.spec.storage
    yield f"stored     at {store_endpoint(spec.settings)}"
    for kind, entry in (("raw", storage.raw), ("normalized", storage.normalized)):
        total = samples.total("ssmd_archiver_bytes_written_total", bucket=kind)
        count = int(samples.total(counters[kind]))
        yield f"stored     in bucket {entry.bucket}: {_objects(count)} this time, {size(total)}"


def _objects(count: int) -> str:
    return f"{count:,} object{'' if count == 1 else 's'}"


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
    """Give commands that show the data of a directory, with tools that are installed here."""
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
