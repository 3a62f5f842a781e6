"""The process of a candidate normalizer: the same journal, another version, a stream and an archive of its own.

It reads the connector's journal from its files, so the connector neither knows nor waits. Its books begin with the
checkpoints that the primary normalizer leaves there; from then on it keeps its own. Both versions are decoded here, so
what differs is known event by event, without asking the primary anything.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from ssmd import metrics
from ssmd.actors.batcher import ArchiveFeed, Batcher
from ssmd.actors.edition import Edition
from ssmd.actors.normalizer import CountsSeen, Normalizer, NormalizerLinks
from ssmd.actors.pipeline import Batch, Progress
from ssmd.actors.publisher import Publisher, PublisherLinks
from ssmd.bus.base import StreamSpec
from ssmd.clock import NS_PER_S, now_ns
from ssmd.journal import BorrowedCheckpoints, Checkpoints, Cursor, JournalFollower, candidate_directory
from ssmd.log import get_logger
from ssmd.model import EventType
from ssmd.protocols import exchange
from ssmd.protocols.comparing import ComparingDecoder, Verdict, both, states_of
from ssmd.protocols.decoder import decoder
from ssmd.run_files import run_dir, wait_for_run_file
from ssmd.supervisor import Actor, ChildProcess, ChildSpec, HealthBoard, Mailbox, Overflow, ProcessSpec
from ssmd.trees.archiving import stocktaker
from ssmd.trees.role_process import role_argv, role_environment, write_role_spec
from ssmd.trees.role_spec import RoleSpec
from ssmd.trees.world import BUS_BACKOFF, DISK_BACKOFF, World, feed_entry, gauge, stream_spec

OUTBOX_BATCHES: Final = 16
READY_WITHIN_S: Final = 30.0
STREAM_SHARE: Final = 4
"""Its stream may have this part of what the primary's has: it is for watching, and the disk is the primary's too."""


def candidate_dir(data_dir: Path, feed: str, version: str) -> Path:
    return candidate_directory(data_dir / "journal" / feed, version)


def candidate_stream(spec: RoleSpec) -> StreamSpec:
    """Return the one stream of all candidates."""
    primary = stream_spec(spec.environment, spec.settings)
    return replace(
        primary,
        name=f"{primary.name}-candidate",
        subjects=("candidate.>",),
        max_bytes=primary.max_bytes // STREAM_SHARE,
    )


# from the connector's side -----------------------------------------------------------------------------------


def candidate_process(spec: RoleSpec, version: str) -> Actor:
    """Return the process of a candidate beside the connector of this specification."""
    own = _own_spec(spec, version)
    run_file = Path(own.run_file)
    run_file.unlink(missing_ok=True)
    argv = role_argv(write_role_spec(run_file.parent, own))

    async def ready() -> None:
        await wait_for_run_file(run_file)

    return ChildProcess(
        ProcessSpec(own.title, argv, env=role_environment(), ready=ready, ready_within_s=READY_WITHIN_S)
    )


def _own_spec(spec: RoleSpec, version: str) -> RoleSpec:
    """Return what the process is told; its ops pages are one port above the connector's, if that has a fixed one."""
    entry = replace(spec.environment.spec.feeds[spec.feed], candidate_normalizer=version)
    described = replace(spec.environment.spec, feeds={**spec.environment.spec.feeds, spec.feed: entry})
    ops = spec.settings.ops
    return replace(
        spec,
        role="candidate",
        environment=replace(spec.environment, spec=described),
        settings=replace(spec.settings, ops=replace(ops, port=ops.port + 1 if ops.port else 0)),
        run_file=str(run_dir(spec.data_path) / f"candidate-{spec.feed}.json"),
    )


def watch_cursor(spec: RoleSpec, version: str) -> None:
    """Show how long ago the candidate got on; it is read when somebody asks."""
    path = Cursor.path(candidate_dir(spec.data_path, spec.feed, version))

    def age_s() -> float:
        try:
            return max(0.0, (now_ns() - path.stat().st_mtime_ns) / NS_PER_S)
        except FileNotFoundError:
            return 0.0

    metrics.CANDIDATE_CURSOR_AGE.labels(spec.feed).set_function(age_s)


# inside ------------------------------------------------------------------------------------------------------


class Candidate:
    """What outlives every actor of the process."""

    def __init__(self, spec: RoleSpec, world: World, board: HealthBoard) -> None:
        self.spec = spec
        self.world = world
        self.board = board
        entry = feed_entry(spec.environment, spec.feed)
        self.primary = entry.normalizer
        self.edition = Edition(spec.feed, entry.candidate_normalizer or "", is_candidate=True)
        self.archive = ArchiveFeed(self.edition, candidate_stream(spec))
        self.journal_dir = spec.data_path / "journal" / spec.feed
        directory = candidate_dir(spec.data_path, spec.feed, self.edition.version)
        lender = Checkpoints(self.journal_dir)
        self.checkpoints = BorrowedCheckpoints(directory, lender, lambda state: both(state, state))
        self.cursor = Cursor(directory)
        self.progress = Progress(self.cursor.position)
        self.outbox: Mailbox[Batch] = Mailbox("publisher", OUTBOX_BATCHES, Overflow.BLOCK)
        gauge(self.outbox)

    def children(self) -> Sequence[ChildSpec]:
        return (
            stocktaker(self.archive, self.spec, self.world),
            ChildSpec("batcher", self._batcher, BUS_BACKOFF),
            ChildSpec("publisher", self._publisher, BUS_BACKOFF),
            ChildSpec("normalizer", self._normalizer, DISK_BACKOFF),
        )

    def _batcher(self) -> Batcher:
        return Batcher(self.archive, self.world.dialer, self.world.store, self.board, self.world.now)

    def _publisher(self) -> Publisher:
        links = PublisherLinks(self.outbox, self.cursor, self.checkpoints, self.board)
        stream = candidate_stream(self.spec)
        return Publisher(self.edition.label, self.world.dialer, stream, links, self.world.now)

    def _normalizer(self) -> Normalizer[ComparingDecoder]:
        self._begin_where_the_journal_is()
        links = NormalizerLinks(
            JournalFollower(self.journal_dir), self.checkpoints, self.progress, self.outbox, wishes=()
        )
        return Normalizer(self.edition, self._decoder, links, partial(VerdictsSeen, self.edition))

    def _begin_where_the_journal_is(self) -> None:
        """Leave out what was deleted unread, and say so; a reprocess makes it from the raw data."""
        position = self.progress.position
        if position is None or (self.journal_dir / position.segment).is_file():
            return
        metrics.CANDIDATE_SKIPPED.labels(self.edition.feed).inc()
        get_logger(feed=self.edition.feed, actor="normalizer").error(
            "candidate_skips",
            version=self.edition.version,
            behind=position.segment,
            hint="ssmd reprocess fills the hole",
        )
        self.progress.position = None

    def _decoder(self, state: bytes | None) -> ComparingDecoder:
        first, second = (None, None) if state is None else states_of(state)
        feed = self.edition.feed
        return ComparingDecoder(
            decoder(self.primary, feed, exchange(feed), first),
            decoder(self.edition.version, feed, exchange(feed), second),
        )


class VerdictsSeen:
    """Carries what a comparison found into counters that only rise, and the first differences into the log."""

    def __init__(self, edition: Edition, compared: ComparingDecoder) -> None:
        self._edition = edition
        self._compared = compared
        self._counts_seen = CountsSeen(edition.label, compared)
        self._last: dict[tuple[EventType, Verdict], int] = dict(compared.verdicts)
        self._log = get_logger(feed=edition.feed, version=edition.version, actor="normalizer")
        self._logs_left = compared.examples.maxlen or 0
        compared.examples.clear()  # of the replay before

    def __call__(self) -> None:
        self._counts_seen()
        for (kind, verdict), total in self._compared.verdicts.items():
            rise = total - self._last.get((kind, verdict), 0)
            metrics.CANDIDATE_EVENTS.labels(self._edition.feed, self._edition.version, kind, verdict).inc(rise)
        self._last = dict(self._compared.verdicts)
        while self._compared.examples and self._logs_left:
            example = self._compared.examples.popleft()
            self._log.info("candidate_differs", **{name: getattr(example, name) for name in example.__struct_fields__})
            self._logs_left -= 1


def candidate(spec: RoleSpec, world: World, board: HealthBoard) -> Sequence[ChildSpec]:
    """Return the children of one candidate's process."""
    return Candidate(spec, world, board).children()


def be_modest(memory_bytes: int) -> None:
    """Give way to the connector on this machine, and never take the memory that it may need."""
    import resource  # noqa: PLC0415  # not on every system

    os.nice(10)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
