"""Turn finished segments into immutable raw objects with manifests, and delete what is safely stored."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from socket import gethostname
from typing import BinaryIO, Final

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd import metrics
from ssmd.actors.edition import Edition
from ssmd.actors.ledger_desk import LedgerDesk, Published
from ssmd.clock import NS_PER_MINUTE
from ssmd.codec import blocks, raw
from ssmd.errors import AlreadyStored, StoreDown
from ssmd.journal import Cursor, Journal, Segment
from ssmd.journal.files import read_file, replace_file
from ssmd.log import get_logger
from ssmd.protocols.coverage import Coverage
from ssmd.protocols.manifest import Manifest, RecordName
from ssmd.store.base import Store
from ssmd.store.keys import RawKey

STATE_FILE: Final = "sealed.json"
__all__ = ["Manifest", "RecordName", "Sealed", "Sealer"]

SWEEP_S: Final = 5.0
"""The cursor moves on without closing any segment, and a full journal closes none: look what may be deleted."""
BLOCK_BYTES: Final = 256 << 10
HOST_CHARS: Final = 23
"""Of a writer's name, which is a token of at most 32."""


class Sealed(Struct, frozen=True):
    """What the sealer must remember: the last segment stored, the chain's name and end, the open gaps.

    stored: the raw key of each stored segment that may still get a record in the quality ledger.
    """

    segment: str = ""
    manifest_sha256: str | None = None
    coverage: str = ""
    writer: str = ""
    stored: dict[str, str] = {}  # a struct copies its default for each instance


class _Summary(Struct, frozen=True):
    """One pass over a segment: its content counted and compressed."""

    frames: int
    events: int
    raw_bytes: int
    first: RecordName | None
    last: RecordName | None
    body: bytes


class Sealer:
    """Everything here may be repeated after a crash: the same segment gives the same bytes under the same key."""

    def __init__(
        self, edition: Edition, journal: Journal, cursor: Cursor, store: Store, candidate: Callable[[], str] = str
    ) -> None:
        """candidate: gives the version that runs beside the edition now, or nothing."""
        self._feed = edition.feed
        self._journal = journal
        self._cursor = cursor
        self._store = store
        self._desk = LedgerDesk(journal, Published(journal, cursor, edition.version, candidate), store, edition.feed)
        self._state_path = journal.directory / STATE_FILE
        self._log = get_logger(feed=edition.feed, actor="sealer")
        self._draining = False
        self._waiting: trio.CancelScope | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Seal until drained, then once more. Raises StoreDown, an outage; segments wait on disk meanwhile."""
        task_status.started()
        await self._remember()
        while not self._draining:
            await self._seal_closed()
            with trio.CancelScope() as self._waiting:
                if not self._draining:  # drain() may have come while a segment was being stored
                    with trio.move_on_after(SWEEP_S):
                        await self._journal.wait_closed()
        await self._seal_closed()

    def drain(self) -> None:
        self._draining = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def _seal_closed(self) -> None:
        while unsealed := self._unsealed():  # storing takes its time: more may have closed meanwhile
            await self._seal(unsealed[0])
        await self._desk.file(self._sealed.stored, self._sealed.segment)
        recent = self._journal.recent_segments()
        for segment in self._journal.closed_segments():
            if segment not in recent:  # a recovery reads those
                self._remove_if_done(segment)

    def _unsealed(self) -> list[Segment]:
        return [segment for segment in self._journal.closed_segments() if segment.name > self._sealed.segment]

    def _remove_if_done(self, segment: Segment) -> None:
        cursor = self._cursor.saved  # not its position: a restart reads the saved one's segment from its start
        if segment.name <= self._sealed.segment and cursor is not None and cursor.segment > segment.name:
            self._journal.remove(segment)

    async def _seal(self, segment: Segment) -> None:
        path = self._journal.directory / segment.name
        coverage = Coverage(b64decode(self._sealed.coverage) or None)
        summary = await self._journal.blocking(_summarize, path, coverage)
        if summary.first is None:  # its writer died before the first line; two such objects would be equal
            await self._save(replace(self._sealed, segment=segment.name))
            return
        key = await self._store_body(segment, summary.body)
        manifest = self._manifest(key, segment, summary, coverage)
        body = msgspec.json.encode(manifest) + b"\n"
        body = await self._store_manifest(key, body)
        coverage.forget(segment.minute_ns)
        await self._save(self._after(segment, key, body, coverage))
        metrics.MINUTES_SEALED.labels(self._feed).inc()
        metrics.ARCHIVER_BYTES_WRITTEN.labels("raw").inc(manifest.stored_bytes)
        for gap in manifest.gaps:
            if gap.to_ns is not None:
                metrics.GAPS.labels(self._feed, gap.reason).inc()
        self._log.info("minute_sealed", key=manifest.key, frames=manifest.frames, gaps=len(manifest.gaps))

    async def _store_manifest(self, key: RawKey, body: bytes) -> bytes:
        """Store the manifest and return what is stored: another release may have told the same in other words."""
        try:
            await self._store.create(key.manifest, body)
        except AlreadyStored as error:
            stored = await self._store.read(key.manifest)
            if stored is None:  # a link to what is not there would break the chain
                raise StoreDown(f"create {key.manifest}: refused as existing, but it cannot be read") from error
            self._log.warning("manifest_differs", key=key.manifest, error=str(error))
            return stored
        return body

    def _after(self, segment: Segment, key: RawKey, manifest: bytes, coverage: Coverage) -> Sealed:
        """Return what is to be remembered once a segment is stored."""
        here = {each.name for each in self._journal.segments} | self._desk.waiting()
        stored = {name: raw_key for name, raw_key in self._sealed.stored.items() if name in here}
        return Sealed(
            segment.name,
            sha256(manifest).hexdigest(),
            b64encode(coverage.state()).decode(),
            self._sealed.writer,
            stored | {segment.name: key.key},
        )

    async def _store_body(self, segment: Segment, body: bytes) -> RawKey:
        """Store under the first part that is free or already holds these very bytes."""
        key = RawKey(self._feed, segment.minute_ns, 0)
        while True:
            try:
                await self._store.create(key.key, body)
            except AlreadyStored:
                key = RawKey(self._feed, segment.minute_ns, key.part + 1)
                continue
            return key

    def _manifest(self, key: RawKey, segment: Segment, summary: _Summary, coverage: Coverage) -> Manifest:
        return Manifest(
            key=key.key,
            feed=self._feed,
            writer=self._sealed.writer,
            minute=segment.minute_ns,
            frames=summary.frames,
            events=summary.events,
            raw_bytes=summary.raw_bytes,
            stored_bytes=len(summary.body),
            sha256=sha256(summary.body).hexdigest(),
            previous_sha256=self._sealed.manifest_sha256,
            first=summary.first,
            last=summary.last,
            gaps=coverage.gaps_between(segment.minute_ns, segment.minute_ns + NS_PER_MINUTE),
            wanted=coverage.wanted(),
        )

    async def _remember(self) -> None:
        """Load the state; a chain without a name gets one, on disk before any manifest bears it."""
        self._sealed = self._load()
        if not self._sealed.writer:
            # Earlier releases called every chain of a feed by the feed's name: one that was begun goes on with it.
            is_old = self._sealed.manifest_sha256 is not None
            writer = self._journal.directory.name if is_old else new_writer()
            await self._save(replace(self._sealed, writer=writer))

    def _load(self) -> Sealed:
        """Return what was remembered. Without it a chain of its own begins, under a name of its own.

        What was stored of this directory before is found again by its bytes; those manifests keep the name they have.
        """
        content = read_file(self._state_path)
        try:
            return Sealed() if content is None else msgspec.json.decode(content, type=Sealed)
        except msgspec.MsgspecError as error:
            self._log.error("sealed_state_unreadable", path=str(self._state_path), error=str(error))
            return Sealed()

    async def _save(self, sealed: Sealed) -> None:
        await self._journal.blocking(_save_durably, self._state_path, msgspec.json.encode(sealed))
        self._sealed = sealed


def new_writer() -> str:
    """Return a name that no chain has: where it was begun, for people, and a random part, for certain."""
    host = re.sub(r"[^A-Za-z0-9-]", "-", gethostname())[:HOST_CHARS] or "host"
    return f"{host}-{token_hex(4)}"


def _summarize(path: Path, coverage: Coverage) -> _Summary:
    """Read a segment once, in blocks: count, compress, and fold its notes into the coverage."""
    compressor = blocks.Compressor(path.stat().st_size)
    lines = events = size = 0
    first = last = b""
    with path.open("rb") as file:
        for block in _whole_lines(file):
            lines += block.count(b"\n")
            size += len(block)
            for line in raw.note_lines(block):
                events += 1
                coverage.note(raw.read_line(line))
            first = first or block[: block.index(b"\n") + 1]
            last = block[block.rfind(b"\n", 0, -1) + 1 :]
            compressor.write(block)
    return _Summary(lines - events, events, size, _name(first), _name(last), compressor.finish())


def _save_durably(path: Path, content: bytes) -> None:
    replace_file(path, content, durable=True)


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Give the file in blocks that end with a line."""
    rest = b""
    while block := file.read(BLOCK_BYTES):
        end = block.rfind(b"\n") + 1
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block


def _name(line: bytes) -> RecordName | None:
    if not line:
        return None
    record = raw.read_line(line)
    return RecordName(record.conn, record.seq, record.recv_ns)
