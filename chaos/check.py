"""The invariant checker: what was sent, what was kept, what was archived, and whether they agree.

Input is only what outsiders can see: the exchange's ledger, the store's objects and manifests, the stream.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import msgspec
import trio
from msgspec import Struct, field

from chaos.ledger import compare, same
from ssmd.actors.sealer import Manifest
from ssmd.archive.reading import raw_keys, raw_records
from ssmd.bus.base import BusDialer
from ssmd.clock import NS_PER_S, minute_of
from ssmd.codec import blocks, marketdata
from ssmd.errors import BadRecord
from ssmd.model import EVENT_TYPES, Event, EventType, message_id, type_of
from ssmd.protocols.coverage import Gap
from ssmd.records import Record
from ssmd.reprocess import normalize
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, RawKey, normalized_prefix, raw_prefix

MAX_OBJECT_BYTES = 4 << 30
FETCH_LIMIT = 1_000
FETCH_WITHIN_S = 5.0


class Verdict(Struct):
    """No problems and every count of `unaccounted` and `duplicates` zero when all is well; the rest is for people."""

    sent: int = 0
    kept: int = 0
    in_gaps: int = 0
    unaccounted: int = 0
    gaps: int = 0
    longest_gap_s: float = 0.0
    objects: int = 0
    archived: int = 0
    duplicates: int = 0
    taken: set[str] = field(default_factory=set)
    """Connections that began before all that is kept: retention took the beginning of the chain of manifests."""
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems and not self.duplicates and not self.unaccounted

    def text(self) -> str:
        figures = f"sent {self.sent} = kept {self.kept} + in {self.gaps} recorded gaps {self.in_gaps}; "
        figures += f"archived {self.archived}, duplicates {self.duplicates}"
        figures += f"; not comparable, as their beginning was taken: {sorted(self.taken)}" if self.taken else ""
        return figures + "".join(f"\n  problem: {problem}" for problem in self.problems[:10])


async def check(
    store: Store, feed: str, ledger: Path | None = None, version: str = "v1", clock: Callable[[int], int] = same
) -> Verdict:
    """Compare everything with everything. clock: what the system's clock shows at a time of the ledger's."""
    verdict = Verdict()
    records = await raw_of(store, feed, verdict)
    verdict.kept = sum(record.note is None for record in records)
    manifests = await manifests_of(store, feed, verdict)
    verdict.taken = taken(records, manifests)
    check_order(records, verdict)
    gaps = gaps_of(manifests)
    verdict.gaps = len(gaps)
    verdict.longest_gap_s = max(((gap.to_ns or gap.from_ns) - gap.from_ns for gap in gaps), default=0) / NS_PER_S
    if ledger is not None:
        found = compare(ledger, records, gaps, clock)
        verdict.sent, verdict.in_gaps, verdict.unaccounted = found.sent, found.in_gaps, found.unaccounted
        verdict.problems += found.problems
    await check_archive(store, feed, version, records, verdict)
    return verdict


# raw ---------------------------------------------------------------------------------------------------------


async def raw_of(store: Store, feed: str, verdict: Verdict) -> list[Record]:
    """Return every stored raw record in the order of capture; each lies in the object of its minute."""
    records: list[Record] = []
    for key in await raw_keys(store, feed):
        first = len(records)
        try:
            async for block in raw_records(store, key):
                records.extend(block)
        except BadRecord as error:
            verdict.problems.append(f"{key.key}: {error}")
        if any(minute_of(record.recv_ns) != key.minute_ns for record in records[first:]):
            verdict.problems.append(f"{key.key}: holds records of another minute")
    return records


def check_order(records: Sequence[Record], verdict: Verdict) -> None:
    """Within a connection `seq` rises by one from zero and receive times never fall.

    What began before all that is kept may begin anywhere.
    """
    last: dict[str, Record] = {}
    for record in records:
        before = last.get(record.conn)
        begins_at = record.seq if record.conn in verdict.taken else 0
        expected = before.seq + 1 if before else begins_at
        if record.seq != expected:
            verdict.problems.append(f"{record.conn}: seq {record.seq} follows {expected - 1}")
        if before and record.recv_ns < before.recv_ns:
            verdict.problems.append(f"{record.conn}/{record.seq}: receive time falls")
        last[record.conn] = record


def taken(records: Sequence[Record], manifests: Sequence[Manifest]) -> set[str]:
    """Return the connections of the first minute that began before it, where its manifest says that there was more."""
    if not records or not manifests or manifests[0].previous_sha256 is None:
        return set()
    first: dict[str, Record] = {}
    for record in records:
        first.setdefault(record.conn, record)
    minute_ns = manifests[0].minute
    return {conn for conn, record in first.items() if record.seq and minute_of(record.recv_ns) == minute_ns}


async def manifests_of(store: Store, feed: str, verdict: Verdict) -> list[Manifest]:
    """Return the manifests in order; each must match its object and name the one before.

    The first one may name one that is not there: retention takes a chain from its beginning (docs/storage.md).
    """
    manifests: list[Manifest] = []
    previous: str | None = None
    first_names: str | None = None
    known: set[str] = set()
    keys = await raw_keys(store, feed)
    await _check_no_lone_manifest(store, feed, keys, verdict)
    for key in keys:
        text, body = await store.read(key.manifest), await store.read(key.key)
        if text is None or body is None:
            verdict.problems.append(f"{key.key} has no manifest")
            continue
        manifest = msgspec.json.decode(text, type=Manifest)
        _check_manifest(key, manifest, body, verdict)
        if not manifests:
            first_names = manifest.previous_sha256
        elif manifest.previous_sha256 != previous:
            verdict.problems.append(f"{key.key}: the chain of manifests is broken")
        previous = sha256(text).hexdigest()
        known.add(previous)
        manifests.append(manifest)
    if first_names in known:
        verdict.problems.append(f"{manifests[0].key}: the chain of manifests is broken, it names a later one")
    return manifests


async def _check_no_lone_manifest(store: Store, feed: str, keys: Sequence[RawKey], verdict: Verdict) -> None:
    expected = {name for key in keys for name in (key.key, key.manifest)}
    found = {meta.key for meta in await store.list(raw_prefix(feed))}
    verdict.problems += [f"{name} belongs to no object" for name in sorted(found - expected)]


def _check_manifest(key: RawKey, manifest: Manifest, body: bytes, verdict: Verdict) -> None:
    if manifest.sha256 != sha256(body).hexdigest() or manifest.stored_bytes != len(body):
        verdict.problems.append(f"{key.key}: manifest and object differ")
        return
    content = blocks.decompress(body, MAX_OBJECT_BYTES)
    lines = content.count(b"\n")
    if (manifest.frames + manifest.events, manifest.raw_bytes) != (lines, len(content)):
        verdict.problems.append(f"{key.key}: {lines} lines, manifest says {manifest.frames + manifest.events}")
    if (manifest.key, manifest.minute) != (key.key, key.minute_ns):
        verdict.problems.append(f"{key.key}: the manifest is about {manifest.key}")


def gaps_of(manifests: Sequence[Manifest]) -> list[Gap]:
    """Return each gap once: a later manifest tells the end of one that an earlier manifest shows open."""
    gaps = {gap for manifest in manifests for gap in manifest.gaps}
    closed = [gap for gap in gaps if gap.to_ns is not None]
    for gap in gaps - set(closed):
        ended = {
            s for other in closed if (other.from_ns, other.reason) == (gap.from_ns, gap.reason) for s in other.symbols
        }
        if still_open := set(gap.symbols) - ended:
            closed.append(Gap(gap.from_ns, None, gap.reason, tuple(sorted(still_open))))
    return sorted(closed, key=lambda gap: gap.from_ns)


# archive -----------------------------------------------------------------------------------------------------


async def check_archive(store: Store, feed: str, version: str, records: Sequence[Record], verdict: Verdict) -> None:
    """The archive holds exactly what normalizing the stored raw data again gives, each event once, in order.

    Left out is what connections gave whose beginning was taken; not what is older than the raw data that is there.
    """
    begin_ns = minute_of(records[0].recv_ns) if records else 0
    expected: dict[EventType, dict[str, Event]] = {kind: {} for kind in EVENT_TYPES}
    for event in normalize(feed, version, records):
        expected[type_of(event)][message_id(event)] = event
    for kind in EVENT_TYPES:
        everything = await archived(store, normalized_prefix(version, feed, kind), verdict)
        got = [event for event in everything if event.conn not in verdict.taken or event.recv_ns < begin_ns]
        ids = Counter(message_id(event) for event in got)
        verdict.archived += len(got)
        verdict.duplicates += sum(count - 1 for count in ids.values())
        _check_same(kind, expected[kind], got, verdict)


async def archived(store: Store, prefix: str, verdict: Verdict) -> list[Event]:
    """Return what the objects hold; each in order, of its own series and minute, each part on top of an earlier one."""
    events: list[Event] = []
    keys = {meta.key for meta in await store.list(prefix)}
    for name in sorted(keys):
        key = NormalizedKey.parse(name)
        try:
            body = blocks.decompress(await store.read(name) or b"", MAX_OBJECT_BYTES)
            got = list(marketdata.decode_many(key.type, body))
        except BadRecord as error:
            verdict.problems.append(f"{name}: {error}")
            continue
        if any(_place(one) >= _place(two) for one, two in pairwise(got)):
            verdict.problems.append(f"{name}: events are not in order")
        if any((event.symbol, minute_of(event.recv_ns)) != (key.symbol, key.minute_ns) for event in got):
            verdict.problems.append(f"{name}: holds events of another series or minute")
        if key.part and msgspec.structs.replace(key, part=key.part - 1).key not in keys:
            verdict.problems.append(f"{name}: the part before it is missing")
        events += got
    verdict.objects += len(keys)
    return events


def _place(event: Event) -> tuple[int, str, int, int]:
    return event.recv_ns, event.conn, event.seq, event.n


def _check_same(kind: EventType, wanted: dict[str, Event], got: Sequence[Event], verdict: Verdict) -> None:
    ids = {message_id(event) for event in got}
    missing, extra = sorted(wanted.keys() - ids), sorted(ids - wanted.keys())
    if missing or extra:
        verdict.problems.append(f"{kind}: {len(missing)} missing {missing[:3]}, {len(extra)} too many {extra[:3]}")
    different = [i for event in got if (i := message_id(event)) in wanted and event != through_floats(wanted[i])]
    if different:
        verdict.problems.append(f"{kind}: {len(different)} differ in content, first {different[0]}")


def through_floats(event: Event) -> Event:
    """Return the event as the archive gives it back: prices and sizes as the shortest text of a Float64."""
    return marketdata.decode(type_of(event), marketdata.encode(event))


# stream ------------------------------------------------------------------------------------------------------


async def check_stream(dialer: BusDialer, store: Store, feed: str, verdict: Verdict, version: str = "v1") -> int:
    """Read the whole stream; it holds what the archive holds. Return how often it holds something twice."""
    in_stream: Counter[str] = Counter()
    async with (
        dialer.connect() as bus,
        bus.consume("marketdata", f"checker-{trio.current_time():.0f}", f"md.{feed}.>") as consumer,
    ):
        while messages := await consumer.fetch(FETCH_LIMIT, FETCH_WITHIN_S):
            in_stream.update(message.message_id for message in messages)
            if not messages[-1].pending:
                break
    stored = {message_id(event) for event in await archived(store, normalized_prefix(version, feed), Verdict())}
    missing, extra = stored - in_stream.keys(), in_stream.keys() - stored
    if missing or extra:
        verdict.problems.append(f"stream: {len(missing)} of the archive missing, {len(extra)} not in the archive")
    return sum(count - 1 for count in in_stream.values())
