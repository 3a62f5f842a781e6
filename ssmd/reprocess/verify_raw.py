"""The checks of raw data: an object against its manifest, a manifest against its chain, a record against the one before."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256

from msgspec import Struct, field

from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.codec import blocks, raw
from ssmd.errors import BadRecord
from ssmd.protocols.coverage import Coverage, Gap
from ssmd.protocols.manifest import Manifest, RecordName
from ssmd.records import Record
from ssmd.reprocess.raw_index import MAX_RAW_BYTES, RawMinute, RawPart
from ssmd.reprocess.verify_report import Finding

Take = Callable[[Record], None]


class Seen(Struct):
    """What one pass over an object saw. torn: why it could not be read to its end."""

    lines: int = 0
    notes: int = 0
    raw_bytes: int = 0
    unreadable: int = 0
    first_unreadable: int = 0
    elsewhere: int = 0
    first: RecordName | None = None
    last: RecordName | None = None
    torn: str = ""


def read_object(body: bytes, minute_ns: int, take: Take, seen: Seen) -> Iterator[None]:
    """Give every record to `take` and count in `seen`; a stop after each block lets others work."""
    rest = b""
    try:
        for piece in blocks.iter_decompress(body, MAX_RAW_BYTES):
            seen.raw_bytes += len(piece)
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                _read_lines(whole.split(b"\n"), minute_ns, take, seen)
            yield
    except BadRecord as error:
        seen.torn = str(error)
    else:
        if rest:
            seen.torn = f"it ends within a line, {len(rest)} bytes of which are there"


def _read_lines(lines: Sequence[bytes], minute_ns: int, take: Take, seen: Seen) -> None:
    for number, line in enumerate(lines, seen.lines + 1):
        record = raw.read_line(line)
        if record.conn == raw.UNREADABLE:
            seen.unreadable += 1
            seen.first_unreadable = seen.first_unreadable or number
        else:
            seen.elsewhere += minute_of(record.recv_ns) != minute_ns
            seen.notes += record.note is not None
        if seen.first is None:
            seen.first = _name(record)
        take(record)
    seen.last = _name(raw.read_line(lines[-1]))
    seen.lines += len(lines)


def _name(record: Record) -> RecordName:
    return RecordName(record.conn, record.seq, record.recv_ns)


def content_problems(seen: Seen, key: str, minute_ns: int) -> Iterator[Finding]:
    if seen.torn:
        yield Finding("torn", key, seen.torn, minute_ns)
    if seen.unreadable:
        detail = f"{seen.unreadable} lines cannot be read, the first is line {seen.first_unreadable}"
        yield Finding("line", key, detail, minute_ns)
    if seen.elsewhere:
        yield Finding("minute", key, f"holds {seen.elsewhere} records of another minute", minute_ns)


def manifest_problems(manifest: Manifest, part: RawPart, body: bytes, seen: Seen) -> Iterator[Finding]:
    """Compare a manifest with the object beside it. A torn object is compared by its hash only."""
    name, minute_ns = part.key.manifest, part.key.minute_ns
    if (manifest.key, manifest.feed, manifest.minute) != (part.key.key, part.key.feed, minute_ns):
        yield Finding("manifest", name, f"is about {manifest.key}", minute_ns)
    found = sha256(body).hexdigest()
    if manifest.stored_bytes != len(body):
        yield Finding("size", part.key.key, f"{len(body)} bytes, manifest says {manifest.stored_bytes}", minute_ns)
    if manifest.sha256 != found:
        yield Finding("hash", part.key.key, f"sha256 is {found}, manifest says {manifest.sha256}", minute_ns)
    if seen.torn:
        return
    said = (manifest.frames, manifest.events, manifest.raw_bytes, manifest.first, manifest.last)
    counted = (seen.lines - seen.notes, seen.notes, seen.raw_bytes, seen.first, seen.last)
    for what, one, other in zip(("frames", "notes", "bytes", "first", "last"), counted, said, strict=True):
        if one != other:
            yield Finding("counts", part.key.key, f"{what}: {one}, manifest says {other}", minute_ns)


# order -------------------------------------------------------------------------------------------------------


class Order:
    """Within a connection `seq` rises by one from zero and receive times never fall, over any number of objects."""

    def __init__(self) -> None:
        self._last: dict[str, Record] = {}
        self._may_begin_anywhere = True
        self.problems: list[str] = []

    def jump(self) -> None:
        """Say that records were left out in front of the next minute."""
        self._last.clear()
        self._may_begin_anywhere = True

    def end_minute(self) -> list[str]:
        """Return what was wrong since the last call."""
        self._may_begin_anywhere = False
        problems, self.problems = self.problems, []
        return problems

    def take(self, record: Record) -> None:
        if record.conn == raw.UNREADABLE:
            return
        before = self._last.get(record.conn)
        self._last[record.conn] = record
        if before is None:
            if record.seq and not self._may_begin_anywhere:
                self.problems.append(f"{record.conn} begins with seq {record.seq}")
        elif record.seq != before.seq + 1:
            self.problems.append(f"{record.conn}: seq {record.seq} follows {before.seq}")
        elif record.recv_ns < before.recv_ns:
            self.problems.append(f"{record.conn}/{record.seq}: receive time falls")


# chain -------------------------------------------------------------------------------------------------------


def chain_problems(minutes: Iterable[RawMinute]) -> Iterator[Finding]:
    """Follow each writer's chain in the order of capture. A writer's first manifest may name one that is not here."""
    parts = [part for minute in minutes for part in minute.parts]
    places = {part.manifest_sha256: place for place, part in enumerate(parts)}
    last: dict[str, RawPart] = {}
    for place, part in enumerate(parts):
        if (manifest := part.manifest) is None:
            continue
        previous, before = manifest.previous_sha256, last.get(manifest.writer)
        last[manifest.writer] = part
        named = None if previous is None else places.get(previous)
        if before is None:
            detail = "" if named is None else f"wrong order: names the later {parts[named].key.manifest}"
        elif previous == before.manifest_sha256:
            detail = ""
        else:
            detail = f"{_broken(previous, named, place, parts)}; expected is {before.key.manifest}"
        if detail:
            yield Finding("chain", part.key.manifest, detail, part.key.minute_ns)


def _broken(previous: str | None, named: int | None, place: int, parts: Sequence[RawPart]) -> str:
    if previous is None:
        return "begins a second chain of the same writer"
    if named is None:
        return f"missing link: names {previous} as the one before it, which is not there"
    name = parts[named].key.manifest
    if named > place:
        return f"wrong order: names the later {name}"
    return f"fork: names {name}, which another one follows already"


# gaps --------------------------------------------------------------------------------------------------------


class Writer(Struct):
    """The coverage of one writer. is_whole: everything it ever wrote was read, so its gaps must be equal."""

    coverage: Coverage = field(default_factory=Coverage)
    is_whole: bool = False


def gap_problems(writer: Writer, manifest: Manifest, key: str) -> Iterator[Finding]:
    """Compare the gaps of an object just folded with those of its manifest."""
    found = _by_symbol(writer.coverage.gaps_between(manifest.minute, manifest.minute + NS_PER_MINUTE))
    said = _by_symbol(manifest.gaps)
    missing, more = sorted(found - said, key=str), sorted(said - found, key=str)
    if not writer.is_whole:  # a gap that began before all that was read may stand for one that seems to begin later
        missing = [gap for gap in missing if not any(_covers(other, gap) for other in more)]
    if missing:
        yield Finding("gaps", key, f"{len(missing)} gaps are not in the manifest, first {missing[0]}", manifest.minute)
    if more and writer.is_whole:
        yield Finding("gaps", key, f"{len(more)} gaps have no cause in the raw data, first {more[0]}", manifest.minute)
    wanted = writer.coverage.wanted()
    if writer.is_whole and manifest.wanted is not None and manifest.wanted != wanted:
        yield Finding("gaps", key, f"wanted are {wanted}, manifest says {manifest.wanted}", manifest.minute)


_SymbolGap = tuple[int, int | None, str, str]


def _covers(one: _SymbolGap, other: _SymbolGap) -> bool:
    lasts = one[1] is None or (other[1] is not None and other[1] <= one[1])
    return one[3] == other[3] and one[0] <= other[0] and lasts


def _by_symbol(gaps: Iterable[Gap]) -> set[_SymbolGap]:
    return {(gap.from_ns, gap.to_ns, gap.reason, symbol) for gap in gaps for symbol in gap.symbols}
