"""The quality ledger: one record for each raw object and normalizer version, saying what came of it.

A pure fold: the records of the object, the decoder's totals before and after them, and the object's manifest give
the ledger record. So live capture and a reprocess of the same raw object write the same bytes (see `Source` for the
one exception). docs/quality.md has the rule behind `status` in plain words.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from typing import Final, Literal

import msgspec
from msgspec import Struct, field

from ssmd import __version__
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.model import EVENT_TYPES, EventType
from ssmd.protocols.coverage import Gap
from ssmd.protocols.manifest import Manifest
from ssmd.protocols.outcome import Counts
from ssmd.records import FrameLine, Record

Status = Literal["verified", "unverifiable", "suspect", "missing"]

STATUSES: Final[tuple[Status, ...]] = ("verified", "unverifiable", "suspect", "missing")
"""Best first: of several, the last one counts."""

BOOK_ONLY: Final = frozenset({"checksum", "bad_level", "bad_number", "bad_time", "bad_shape", "reconfigured"})
"""Gaps with these reasons lost no frame: the frames are kept raw, but a book could not be used. Others count as lost."""

NOT_ENCODABLE: Final = "not_encodable"
"""An event with a number that no float holds: it stays in the raw data."""

UNKNOWN: Final = "unknown"
_NO_CONNECTION: Final = "unreadable"
"""What the codec calls the connection of a line that cannot be read."""
_LOCAL_VERSION: Final = re.compile(r"\+g([0-9a-f]{7,40})\b")
_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")


class Source(Struct, frozen=True):
    """The program that wrote a ledger record; left out of every comparison. commit: `unknown` unless the build knew it."""

    release: str
    commit: str


class Span(Struct, frozen=True, order=True):
    """The part of one connection that a raw object holds, both ends included."""

    conn: str
    first_seq: int
    last_seq: int


class Figures(Struct, frozen=True):
    """What came of some frames. messages: entries about each symbol, whatever came of them."""

    frames: int = 0
    events: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    checksums_verified: int = 0
    checksums_failed: int = 0
    rejects: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    trade_id_gaps: int = 0
    desyncs: int = 0


class Tally(Struct, frozen=True):
    """What a normalizer knows of one raw object once it has passed it."""

    figures: Figures
    connections: tuple[Span, ...]


class LedgerRecord(Struct, frozen=True):
    """What is known of one raw object under one normalizer version. minute: nanoseconds UTC. notes: our own lines.

    gaps: as in the manifest: known when the object was stored. wanted: the symbols to be captured when it ended.
    """

    version: str
    feed: str
    minute: int
    status: Status
    reasons: tuple[str, ...]
    raw_key: str
    raw_sha256: str
    writer: str
    notes: int
    figures: Figures
    connections: tuple[Span, ...]
    gaps: tuple[Gap, ...]
    wanted: tuple[str, ...] | None
    source: Source


class MinuteFold:
    """Counts what comes of the records of one raw object, beside the decoder that reads them."""

    def __init__(self, before: Counts) -> None:
        """Begin in front of the object's first record; `before`: the decoder's totals there."""
        self._before = before.copy()
        self._first: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self._unencodable = dict.fromkeys(EVENT_TYPES, 0)

    def take(self, conn: str, seq: int) -> None:
        """Take the next record by its name; the decoder counts the rest."""
        if conn not in self._last:
            self._first[conn] = seq
        self._last[conn] = seq

    def take_all(self, records: Sequence[Record | FrameLine[object]]) -> None:
        """Take some records after one another."""
        for conn, seq in {record.conn: record.seq for record in reversed(records)}.items():
            self._first.setdefault(conn, seq)
        self._last |= {record.conn: record.seq for record in records}

    def reject_event(self, kind: EventType) -> None:
        """Take back an event that cannot be encoded, so is not archived."""
        self._unencodable[kind] += 1

    def tally(self, after: Counts) -> Tally:
        """Return what came of the records taken; `after`: the decoder's totals behind the last of them."""
        before = self._before
        made = {"trade": after.trades - before.trades, "quote": after.quotes - before.quotes}
        made["book"] = after.books_published - before.books_published
        rejects = _grown(before.rejected, after.rejected)
        if unencodable := sum(self._unencodable.values()):
            rejects[NOT_ENCODABLE] = unencodable
        figures = Figures(
            after.frames - before.frames,
            {kind: made[kind] - self._unencodable[kind] for kind in EVENT_TYPES},
            _grown(before.messages, after.messages),
            after.checksums_verified - before.checksums_verified,
            after.checksums_failed - before.checksums_failed,
            rejects,
            after.duplicates - before.duplicates,
            after.trade_id_gaps - before.trade_id_gaps,
            after.desyncs - before.desyncs,
        )
        return Tally(figures, self._connections())

    def _connections(self) -> tuple[Span, ...]:
        spans = (Span(conn, first, self._last[conn]) for conn, first in self._first.items())
        return tuple(sorted(span for span in spans if span.conn != _NO_CONNECTION))


def ledger_record(version: str, manifest: Manifest, tally: Tally, source: Source) -> LedgerRecord:
    """Return what is to be stored; a manifest that counts other frames than the normalizer makes it suspect."""
    status, reasons = judge(tally.figures, manifest.gaps, manifest.minute)
    if tally.figures.frames != manifest.frames:
        status, reasons = worst((status, "suspect")), tuple(sorted({*reasons, "frames"}))
    return LedgerRecord(
        version=version,
        feed=manifest.feed,
        minute=manifest.minute,
        status=status,
        reasons=reasons,
        raw_key=manifest.key,
        raw_sha256=manifest.sha256,
        writer=manifest.writer,
        notes=manifest.events,
        figures=tally.figures,
        connections=tally.connections,
        gaps=manifest.gaps,
        wanted=manifest.wanted,
        source=source,
    )


def judge(figures: Figures, gaps: Iterable[Gap], minute_ns: int) -> tuple[Status, tuple[str, ...]]:
    """Return the status of a minute and why it is not better; the reasons are sorted words, none when verified."""
    found = {gap.reason: _status_of(gap) for gap in gaps if touches(gap, minute_ns, minute_ns + NS_PER_MINUTE)}
    if figures.checksums_failed:
        found.setdefault("checksum", "suspect")
    if figures.rejects:
        found.setdefault("rejected", "suspect")
    if figures.trade_id_gaps:
        found.setdefault("trade_ids", "suspect")
    if not found and not figures.checksums_verified:
        found["unproven"] = "unverifiable"
    return worst(found.values()), tuple(sorted(found))


def worst(statuses: Iterable[Status]) -> Status:
    return max(statuses, key=STATUSES.index, default=STATUSES[0])


def touches(gap: Gap, from_ns: int, to_ns: int) -> bool:
    """Tell whether a gap lies within `[from_ns, to_ns)` or reaches into it."""
    if gap.to_ns is None or gap.from_ns == gap.to_ns:
        return gap.from_ns < to_ns and (gap.to_ns is None or gap.from_ns >= from_ns)
    return gap.from_ns < to_ns and gap.to_ns > from_ns


def _status_of(gap: Gap) -> Status:
    return "suspect" if gap.reason in BOOK_ONLY else "missing"


def added(figures: Collection[Figures]) -> Figures:
    """Return the sum of the figures of several objects, such as the parts of one minute."""
    return Figures(
        sum(one.frames for one in figures),
        _summed([one.events for one in figures]),
        _summed([one.messages for one in figures]),
        sum(one.checksums_verified for one in figures),
        sum(one.checksums_failed for one in figures),
        _summed([one.rejects for one in figures]),
        sum(one.duplicates for one in figures),
        sum(one.trade_id_gaps for one in figures),
        sum(one.desyncs for one in figures),
    )


def _summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in sorted(after.items()) if count != before.get(name, 0)}


# as bytes ----------------------------------------------------------------------------------------------------


def encode(record: LedgerRecord | Tally) -> bytes:
    """Return the bytes to be stored: equal records give equal bytes."""
    return msgspec.json.encode(record, order="deterministic") + b"\n"


def decode_record(text: bytes) -> LedgerRecord:
    """Return a stored record; BadRecord for anything else."""
    try:
        return msgspec.json.decode(text, type=LedgerRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"not a ledger record: {error}") from error


def decode_tally(text: bytes) -> Tally:
    try:
        return msgspec.json.decode(text, type=Tally)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRecord(f"not a tally: {error}") from error


# who wrote it ------------------------------------------------------------------------------------------------


class _Vcs(Struct):
    commit_id: str = ""


class _DirectUrl(Struct):
    vcs_info: _Vcs = field(default_factory=_Vcs)


@lru_cache(maxsize=1)
def source() -> Source:
    """Return what this program is. The commit comes from the installed package only: a source tree may be changed.

    pip writes it down when it installs from a git address (PEP 610); a build may state it as `0.1.0+g1a2b3c4`.
    """
    try:
        package = metadata.distribution("ssmd")
        stated = msgspec.json.decode(package.read_text("direct_url.json") or "{}", type=_DirectUrl).vcs_info.commit_id
        version = package.version
    except (metadata.PackageNotFoundError, msgspec.MsgspecError):
        return Source(__version__, UNKNOWN)
    local = _LOCAL_VERSION.search(version)
    if _COMMIT.fullmatch(stated):
        return Source(__version__, stated)
    return Source(__version__, local[1] if local else UNKNOWN)
