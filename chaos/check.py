"""The invariant checker: what was sent, what was kept, what was archived, and whether they agree.

Input is only what outsiders can see: the exchange's ledger, the store's objects and manifests.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct, field

from ssmd.actors.sealer import Manifest
from ssmd.codec import blocks
from ssmd.model import EVENT_TYPES, Event, message_id
from ssmd.protocols.coverage import Gap
from ssmd.records import Connected, Record
from ssmd.reprocess import archived_events, normalize, raw_keys, raw_records
from ssmd.store.base import Store

SLACK_NS = 50_000_000
"""Between the ledger's and the connector's stamp of the same moment lie two processes and a socket."""


class Verdict(Struct):
    """Every list is empty and every count zero when all is well; figures are for people."""

    sent: int = 0
    kept: int = 0
    in_gaps: int = 0
    gaps: int = 0
    archived: int = 0
    duplicates: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems and not self.duplicates

    def text(self) -> str:
        figures = f"sent {self.sent} = kept {self.kept} + in {self.gaps} recorded gaps {self.in_gaps}; "
        figures += f"archived {self.archived}, duplicates {self.duplicates}"
        return figures + "".join(f"\n  problem: {problem}" for problem in self.problems[:10])


class LedgerLine(Struct):
    conn: int
    n: int
    sent_ns: int
    withheld: bool
    frame: str


async def raw_of(store: Store, feed: str) -> list[Record]:
    """Return every stored raw record in the order of capture."""
    records: list[Record] = []
    for key in await raw_keys(store, feed):
        async for block in raw_records(store, key):
            records.extend(block)
    return records


async def check(store: Store, feed: str, ledger: Path | None = None, version: str = "v1") -> Verdict:
    """Compare everything with everything."""
    verdict = Verdict()
    records = await raw_of(store, feed)
    manifests = await manifests_of(store, feed, verdict)
    verdict.kept = sum(record.note is None for record in records)
    check_order(records, verdict)
    gaps = {(gap.from_ns, gap.reason, gap.symbols): gap for manifest in manifests for gap in manifest.gaps}
    closed = {key: gap for key, gap in gaps.items() if gap.to_ns is not None}
    verdict.gaps = len(gaps)
    if ledger is not None:
        check_ledger(read_ledger(ledger), records, list((gaps | closed).values()), verdict)
    await check_archive(store, feed, version, records, verdict)
    return verdict


def check_order(records: Sequence[Record], verdict: Verdict) -> None:
    """Within a connection `seq` rises by one from zero and receive times never fall."""
    last: dict[str, Record] = {}
    for record in records:
        before = last.get(record.conn)
        expected = before.seq + 1 if before else 0
        if record.seq != expected:
            verdict.problems.append(f"{record.conn}: seq {record.seq} follows {expected - 1}")
        if before and record.recv_ns < before.recv_ns:
            verdict.problems.append(f"{record.conn}/{record.seq}: receive time falls")
        last[record.conn] = record


async def manifests_of(store: Store, feed: str, verdict: Verdict) -> list[Manifest]:
    """Return the manifests in order; each must match its object and name the one before."""
    manifests, previous = [], None
    for key in await raw_keys(store, feed):
        text = await store.read(key.manifest)
        body = await store.read(key.key)
        if text is None or body is None:
            verdict.problems.append(f"{key.key} has no manifest")
            continue
        manifest = msgspec.json.decode(text, type=Manifest)
        if manifest.sha256 != sha256(body).hexdigest() or manifest.stored_bytes != len(body):
            verdict.problems.append(f"{key.key}: manifest and object differ")
        lines = blocks.decompress(body, 4 << 30).count(b"\n")
        if manifest.frames + manifest.events != lines:
            verdict.problems.append(f"{key.key}: {lines} lines, manifest says {manifest.frames + manifest.events}")
        if manifest.previous_sha256 != previous:
            verdict.problems.append(f"{key.key}: the chain of manifests is broken")
        previous = sha256(text).hexdigest()
        manifests.append(manifest)
    return manifests


def read_ledger(path: Path) -> Iterator[LedgerLine]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield LedgerLine(**json.loads(line))


def check_ledger(
    ledger: Iterable[LedgerLine], records: Sequence[Record], gaps: Sequence[Gap], verdict: Verdict
) -> None:
    """Every frame sent was kept byte for byte, or lies in a recorded gap; nothing was kept that was not sent."""
    kept: dict[str, list[str]] = {}
    for record in records:
        if isinstance(record.note, Connected):
            kept.setdefault(record.conn, [])
        if record.note is None:
            kept[record.conn].append(record.frame or record.text or "")
    sent: dict[int, list[LedgerLine]] = {}
    for line in ledger:
        sent.setdefault(line.conn, []).append(line)
    remaining = list(kept.items())
    for conn, lines in sorted(sent.items()):
        frames = [line for line in lines if not line.withheld]
        verdict.sent += len(frames)
        # A connection that ended before its first record reached the disk has no name in the raw data.
        name, got = remaining[0] if remaining else ("", [])
        if got and frames and got[0] != frames[0].frame:
            name, got = "", []
        elif remaining:
            remaining.pop(0)
        _check_connection(name or f"#{conn}", frames, got, gaps, verdict)
    if any(frames for _, frames in remaining):
        verdict.problems.append(f"connections kept that were never served: {[name for name, _ in remaining]}")


def _check_connection(
    name: str, sent: Sequence[LedgerLine], got: Sequence[str], gaps: Sequence[Gap], verdict: Verdict
) -> None:
    same = next((i for i, (line, frame) in enumerate(zip(sent, got, strict=False)) if line.frame != frame), None)
    if same is not None:
        verdict.problems.append(f"{name}: frame {same} differs: sent {sent[same].frame[:80]} kept {got[same][:80]}")
        return
    if len(got) > len(sent):
        verdict.problems.append(f"{name}: {len(got)} frames kept, {len(sent)} sent")
    for line in sent[len(got) :]:
        if any(gap.from_ns - SLACK_NS <= line.sent_ns <= (gap.to_ns or 1 << 63) + SLACK_NS for gap in gaps):
            verdict.in_gaps += 1
        else:
            verdict.problems.append(f"{name}: frame {line.n} is neither kept nor in a gap: {line.frame[:80]}")


async def check_archive(store: Store, feed: str, version: str, records: Sequence[Record], verdict: Verdict) -> None:
    """The archive holds exactly what normalizing the stored raw data again gives, each event once, in order."""
    expected: dict[str, list[Event]] = {kind: [] for kind in EVENT_TYPES}
    for event in normalize(feed, version, records):
        expected[type(event).__name__.lower()].append(event)
    for kind in EVENT_TYPES:
        got = await archived_events(store, version, feed, kind)
        ids = Counter(message_id(event) for event in got)
        verdict.archived += len(got)
        verdict.duplicates += sum(count - 1 for count in ids.values())
        wanted = {message_id(event): through_floats(event) for event in expected[kind]}
        missing, extra = wanted.keys() - ids.keys(), ids.keys() - wanted.keys()
        if missing or extra:
            verdict.problems.append(
                f"{kind}: {len(missing)} missing {sorted(missing)[:3]}, {len(extra)} too many {sorted(extra)[:3]}"
            )
        different = [i for event in got if (i := message_id(event)) in wanted and event != wanted[i]]
        if different:
            verdict.problems.append(f"{kind}: {len(different)} differ in content, first {different[0]}")


def through_floats(event: Event) -> Event:
    """Return the event as the archive gives it back: prices and sizes as the shortest text of a Float64."""
    from ssmd.codec import marketdata

    return marketdata.decode(type(event).__name__.lower(), marketdata.encode(event))
