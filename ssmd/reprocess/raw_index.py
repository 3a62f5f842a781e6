"""Which raw objects there are, what their manifests say, and when each connection began and ended."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final

import msgspec
import trio
from msgspec import Struct

from ssmd.clock import NS_PER_MINUTE
from ssmd.codec import blocks, raw
from ssmd.errors import BadRecord
from ssmd.protocols.coverage import Gap
from ssmd.protocols.manifest import Manifest
from ssmd.records import Connected, Disconnected, Unconnected
from ssmd.reprocess.report import Problem
from ssmd.store.base import Store
from ssmd.store.keys import RawKey, raw_day_prefix, raw_hour_prefix, raw_prefix

NS_PER_HOUR: Final = 60 * NS_PER_MINUTE
NS_PER_DAY: Final = 24 * NS_PER_HOUR
READS_AT_ONCE: Final = 8
MAX_RAW_BYTES: Final = 4 << 30
"""Of one raw object, decompressed; it is never held as a whole."""
MAX_LINE_BYTES: Final = 32 << 20
"""More than any frame that a connection takes."""


class RawPart(Struct, frozen=True):
    """One raw object. manifest: None if it is missing or cannot be read."""

    key: RawKey
    size_bytes: int
    manifest: Manifest | None
    manifest_sha256: str = ""

    @property
    def lines(self) -> int:
        """How much work it is; estimated where nobody counted."""
        if self.manifest is None:
            return self.size_bytes // 30
        return self.manifest.frames + self.manifest.events

    @property
    def may_hold_notes(self) -> bool:
        return self.manifest is None or self.manifest.events > 0


class RawMinute(Struct, frozen=True):
    """The raw objects of one minute in the order of capture."""

    minute_ns: int
    parts: tuple[RawPart, ...]

    @property
    def lines(self) -> int:
        return sum(part.lines for part in self.parts)


class Life(Struct):
    """One connection. began_ns: its `connected` note. ended_ns: what says that it ended. None: no such note was seen."""

    conn: str
    began_ns: int | None = None
    ended_ns: int | None = None


class Listing(Struct):
    """A stretch of raw data, and what is wrong with it as far as names and manifests tell."""

    minutes: list[RawMinute]
    problems: list[Problem]


async def list_minutes(store: Store, feed: str, from_ns: int, to_ns: int) -> Listing:
    """Return the raw minutes that begin in [from_ns, to_ns), in order, with their manifests."""
    sizes: dict[RawKey, int] = {}
    manifests: set[RawKey] = set()
    for prefix in _prefixes(feed, from_ns, to_ns):
        for meta in await store.list(prefix):
            is_manifest = meta.key.endswith(".manifest.json")
            try:
                key = RawKey.parse_manifest(meta.key) if is_manifest else RawKey.parse(meta.key)
            except BadRecord:
                continue  # not ours: nothing that captures writes such a key
            if from_ns <= key.minute_ns < to_ns and is_manifest:
                manifests.add(key)
            elif from_ns <= key.minute_ns < to_ns:
                sizes[key] = meta.size_bytes
    lone = [Problem(key.key, "missing_object", "there is only its manifest") for key in manifests - sizes.keys()]
    return await _with_manifests(store, sizes, sorted(lone))


def _prefixes(feed: str, from_ns: int, to_ns: int) -> list[str]:
    """Return whole days, and hours where less than a day is wanted."""
    found, at = [], from_ns - from_ns % NS_PER_HOUR
    while at < to_ns:
        if at % NS_PER_DAY == 0 and at + NS_PER_DAY <= to_ns:
            found.append(raw_day_prefix(feed, at))
            at += NS_PER_DAY
        else:
            found.append(raw_hour_prefix(feed, at))
            at += NS_PER_HOUR
    return found


async def _with_manifests(store: Store, sizes: dict[RawKey, int], problems: list[Problem]) -> Listing:
    minutes: dict[int, list[RawPart]] = {}
    for part in await _read_parts(store, sizes):
        minutes.setdefault(part.key.minute_ns, []).append(part)
        if part.manifest is None:
            problems.append(Problem(part.key.key, "no_manifest", "it is missing or cannot be read"))
    listed = [RawMinute(at, tuple(sorted(minutes[at], key=lambda part: part.key.part))) for at in sorted(minutes)]
    return Listing(listed, problems)


async def _read_parts(store: Store, sizes: dict[RawKey, int]) -> list[RawPart]:
    found: list[RawPart] = []
    waiting = iter(sizes.items())

    async def read_next() -> None:
        for key, size_bytes in waiting:  # shared: each object goes to one reader
            found.append(await _part(store, key, size_bytes))

    async with trio.open_nursery() as nursery:
        for _ in range(READS_AT_ONCE):
            nursery.start_soon(read_next)
    return found


async def _part(store: Store, key: RawKey, size_bytes: int) -> RawPart:
    text = await store.read(key.manifest)
    try:
        manifest = None if text is None else msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError:
        manifest = None
    return RawPart(key, size_bytes, manifest, "" if text is None else sha256(text).hexdigest())


def chain_breaks(minutes: Sequence[RawMinute]) -> list[Problem]:
    """Return where a manifest names one before it that is not there. Of each writer's first one nothing is known."""
    parts = [part for minute in minutes for part in minute.parts]
    known = {part.manifest_sha256 for part in parts}
    begun: set[str] = set()
    broken = []
    for part in parts:
        if part.manifest is None:
            continue
        is_first = part.manifest.writer not in begun
        begun.add(part.manifest.writer)
        previous = part.manifest.previous_sha256
        if not is_first and (previous is None or previous not in known):
            broken.append(Problem(part.key.key, "chain_break", f"the manifest before it ({previous}) is not there"))
    return broken


async def is_cut(store: Store, feed: str, first: RawMinute) -> bool:
    """Tell whether the feed's raw data begins with this minute although more was captured before it: retention took that.

    What is missing in the middle is no such thing: there is older raw data then.
    """
    if any(part.manifest is None or part.manifest.previous_sha256 is None for part in first.parts):
        return False
    folders = [raw_prefix(feed)]
    for _ in ("years", "months", "days"):
        folders = [deeper for folder in folders for deeper in await store.folders(folder)]
    day = raw_day_prefix(feed, first.minute_ns)
    for folder in folders:
        if folder < day and await store.list(folder):
            return False
    return all(
        RawKey.parse(meta.key).minute_ns >= first.minute_ns for meta in await store.list(day) if _is_raw(meta.key)
    )


def _is_raw(key: str) -> bool:
    try:
        RawKey.parse(key)
    except BadRecord:
        return False
    return True


def gaps_of(minutes: Iterable[RawMinute]) -> tuple[Gap, ...]:
    """Return each gap once: a later manifest tells the end of one that an earlier manifest shows open."""
    latest: dict[tuple[int, str, tuple[str, ...]], Gap] = {}
    for minute in minutes:
        for part in minute.parts:
            for gap in part.manifest.gaps if part.manifest else ():
                name = (gap.from_ns, gap.reason, gap.symbols)
                before = latest.get(name)
                if before is None or before.to_ns is None:
                    latest[name] = gap
    return tuple(latest[name] for name in sorted(latest))


# connections -------------------------------------------------------------------------------------------------


async def follow_notes(store: Store, minutes: Iterable[RawMinute], lives: dict[str, Life]) -> None:
    """Add what the notes of these minutes tell about connections; minutes without notes cost nothing."""
    for minute in minutes:
        for part in minute.parts:
            if part.may_hold_notes:
                for block in whole_lines(await store.read(part.key.key)):
                    for line in raw.note_lines(block):
                        _follow(line, lives)
                    await trio.lowlevel.checkpoint()


def _follow(line: bytes, lives: dict[str, Life]) -> None:
    record = raw.read_line(line)
    life = lives.setdefault(record.conn, Life(record.conn))
    match record.note:
        case Connected(after=after) | Unconnected(after=after):
            life.began_ns = record.recv_ns
            if after is not None:
                before = lives.setdefault(after.conn, Life(after.conn))
                before.ended_ns = before.ended_ns or record.recv_ns
        case Disconnected():
            life.ended_ns = record.recv_ns


def whole_lines(body: bytes | None) -> Iterator[bytes]:
    """Give an object in blocks of whole lines as far as it can be read; what is wrong with it is not told here."""
    if body is None:
        return
    rest = b""
    try:
        for piece in blocks.iter_decompress(body, MAX_RAW_BYTES):
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            if newline:
                yield whole + newline
            if len(rest) > MAX_LINE_BYTES:
                return
    except BadRecord:
        return


async def connections_in(store: Store, minute: RawMinute) -> set[str]:
    """Return the connections that say anything in a minute."""
    found: set[str] = set()
    for part in minute.parts:
        for block in whole_lines(await store.read(part.key.key)):
            found |= raw.connections(block)
            await trio.lowlevel.checkpoint()
    return found
