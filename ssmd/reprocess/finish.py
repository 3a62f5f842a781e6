"""The end of a reprocess: is the version complete? Then its range manifest is published, and readers may use it."""

from hashlib import sha256

from msgspec import Struct, field

from ssmd.archive.digest import bind_day
from ssmd.archive.shortfall import marks, take_mark_if_filled
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import AlreadyStored, BadRecord
from ssmd.protocols.quality import Figures, Source, added
from ssmd.reprocess.plan import Index
from ssmd.reprocess.raw_index import NS_PER_DAY, RawMinute, gaps_of
from ssmd.reprocess.report import (
    MAX_PROBLEMS,
    MinuteRecord,
    Problem,
    RangeManifest,
    RawUsed,
    encode,
    same_apart_from_source,
)
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, RangeKey, normalized_day_prefix

Pair = tuple[str, str]


class Summary(Struct):
    """What has been done so far, of all minutes together; and what the whole came to."""

    version: str
    feed: str
    start_ns: int
    end_ns: int
    source: Source
    minutes: int = 0
    objects: int = 0
    events: int = 0
    notes: int = 0
    figures: Figures = Figures()
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    conflicts: int = 0
    """Objects that hold something else than what would be written: then nothing is published."""
    is_stopped: bool = False
    is_empty: bool = False
    objects_sha256: str = ""
    manifest: str = ""
    """The key of the range manifest, once it is stored."""
    marked: int = 0
    """Minutes of which the archive had lost something."""
    filled: int = 0
    """Those that it has all of now."""
    digests: dict[int, bytes] = field(default_factory=dict)
    raw: dict[int, tuple[RawUsed, ...]] = field(default_factory=dict)
    written: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """By type, symbol and day: a bit for each minute that has an object."""

    def add(self, record: MinuteRecord) -> None:
        digest = sha256()
        for stored in record.objects:
            digest.update(f"{stored.key} {stored.sha256}\n".encode())
            of_type = self.counts.setdefault(stored.type, {})
            of_type[stored.symbol] = of_type.get(stored.symbol, 0) + stored.events
            day, minute = divmod(record.minute_ns // NS_PER_MINUTE, 24 * 60)
            series = (stored.type, stored.symbol, day * NS_PER_DAY)
            self.written[series] = self.written.get(series, 0) | 1 << minute
            self.events += stored.events
        self.digests[record.minute_ns] = digest.digest()
        self.raw[record.minute_ns] = record.raw
        self.minutes += 1
        self.objects += len(record.objects)
        self.notes += record.notes
        self.figures = added((self.figures, record.figures))
        self.problems += record.problems

    @property
    def is_complete(self) -> bool:
        return not (self.is_stopped or self.is_empty or self.conflicts)

    @property
    def is_well(self) -> bool:
        return self.is_complete and not self.problems


async def finish(store: Store, index: Index, summary: Summary, *, is_dry: bool) -> None:
    """Say what the whole is, and, if nothing is missing and nothing differs, publish the range manifest."""
    await _take_marks(store, summary, is_dry=is_dry)
    digests = b"".join(summary.digests[minute] for minute in sorted(summary.digests))
    summary.objects_sha256 = sha256(digests).hexdigest()
    if not summary.is_complete:
        return
    await _find_foreign(store, summary)
    summary.problems.sort()
    if summary.conflicts or is_dry:
        return
    key = RangeKey(summary.version, summary.feed, summary.start_ns, summary.end_ns).key
    body = encode(_manifest(index, summary))
    await put_range_manifest(store, key, body)
    summary.manifest = key
    for day_ns in range(-(-summary.start_ns // NS_PER_DAY) * NS_PER_DAY, summary.end_ns - NS_PER_DAY + 1, NS_PER_DAY):
        await bind_day(store, summary.version, summary.feed, day_ns, anew=True)


async def _take_marks(store: Store, summary: Summary, *, is_dry: bool) -> None:
    """Take the marks of minutes away of which the archive has everything now."""
    for mark in await marks(store, summary.version, summary.feed, summary.start_ns, summary.end_ns):
        summary.marked += 1
        summary.filled += not is_dry and await take_mark_if_filled(store, mark)


async def put_range_manifest(store: Store, key: str, body: bytes) -> None:
    """Store it. One that says something else is of raw data that has changed since, and is replaced."""
    try:
        await store.create(key, body)
    except AlreadyStored:
        if not same_apart_from_source(await store.read(key) or b"", body, RangeManifest):
            await store.delete(key)
            await store.create(key, body)


async def _find_foreign(store: Store, summary: Summary) -> None:
    """Find objects of minutes that give none: the version holds something that the raw data does not say."""
    for (kind, symbol, day_ns), minutes in sorted(summary.written.items()):
        prefix = normalized_day_prefix(summary.version, summary.feed, kind, symbol, day_ns)  # type: ignore[arg-type]
        for meta in await store.list(prefix):
            try:
                at_ns = NormalizedKey.parse(meta.key).minute_ns
            except BadRecord:
                continue
            is_ours = minutes >> (at_ns - day_ns) // NS_PER_MINUTE & 1
            if summary.start_ns <= at_ns < summary.end_ns and not is_ours:
                summary.conflicts += 1
                summary.problems.append(
                    Problem(meta.key, "conflict", "the raw data of this minute gives no such object")
                )


def _manifest(index: Index, summary: Summary) -> RangeManifest:
    raw = [used for minute in sorted(summary.raw) for used in summary.raw[minute]]
    return RangeManifest(
        version=summary.version,
        feed=summary.feed,
        start_ns=summary.start_ns,
        end_ns=summary.end_ns,
        source=summary.source,
        minutes=summary.minutes,
        objects=summary.objects,
        objects_sha256=summary.objects_sha256,
        counts=summary.counts,
        notes=summary.notes,
        figures=summary.figures,
        raw=tuple(raw),
        gaps=gaps_of(index.in_range),
        not_captured=_not_captured(index.in_range, index.start_ns, index.end_ns),
        problems=tuple(summary.problems[:MAX_PROBLEMS]),
        problem_count=len(summary.problems),
    )


def _not_captured(minutes: list[RawMinute], start_ns: int, end_ns: int) -> tuple[tuple[int, int], ...]:
    """Return the spans of whole minutes without a raw object."""
    spans, at = [], start_ns
    for begin_ns in [*(minute.minute_ns for minute in minutes), end_ns]:
        if begin_ns > at:
            spans.append((at, begin_ns))
        at = begin_ns + NS_PER_MINUTE
    return tuple(spans)
