"""What a role is made of: every concrete class meets its collaborators here, and only here.

Children are listed sinks first: started in that order, drained in reverse, so that what a source still holds
finds its way to disk, to the bus and to the store.
"""

import os
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio

from ssmd import __version__, metrics
from ssmd.actors.batcher import ArchiveFeed, Batcher
from ssmd.actors.budget import ConnectBudget
from ssmd.actors.candidate import DRAIN_WITHIN_S, CandidateKeeper
from ssmd.actors.edition import Edition
from ssmd.actors.lineage import Lineage
from ssmd.actors.normalizer import Normalizer, NormalizerLinks
from ssmd.actors.ops import OpsEndpoint
from ssmd.actors.pipeline import Batch, Progress
from ssmd.actors.publisher import Publisher, PublisherLinks
from ssmd.actors.raw_writer import RawWriter
from ssmd.actors.report import Identity, instance_name
from ssmd.actors.sealer import Sealer
from ssmd.actors.seeder import ConfigSeeder
from ssmd.actors.session import Place, Session, SessionLinks
from ssmd.actors.standing import Standing
from ssmd.actors.status_reporter import StatusReporter
from ssmd.actors.sweeper import Retention, Sweeper
from ssmd.actors.symbol_watcher import SymbolWatcher, WatchedFeed, config_key
from ssmd.journal import Checkpoints, Cursor, Journal, JournalLimits, LastConfig
from ssmd.journal.recovery import end_orphans
from ssmd.log import get_logger
from ssmd.protocols import exchange
from ssmd.protocols.base import Exchange
from ssmd.protocols.decoder import VERSIONS, Desync, FeedDecoder, decoder
from ssmd.records import FeedConfig
from ssmd.settings import parse_size
from ssmd.supervisor import (
    Actor,
    Backoff,
    Cell,
    ChildSpec,
    HealthBoard,
    Mailbox,
    Overflow,
    Strategy,
    Supervisor,
    Surroundings,
)
from ssmd.trees.addresses import feed_url
from ssmd.trees.archiving import stocktaker
from ssmd.trees.bootstrap import all_done, bucket_makers
from ssmd.trees.candidate import candidate, candidate_process, watch_cursor
from ssmd.trees.role_spec import RoleSpec
from ssmd.trees.running import run_tree
from ssmd.trees.world import (
    BUS_BACKOFF,
    DISK_BACKOFF,
    GIVE_UP,
    STORE_BACKOFF,
    World,
    feed_entry,
    gauge,
    observe,
    stream_spec,
)

SESSION_DRAIN_S = 3.0
CANDIDATE_BACKOFF = Backoff(first_s=1.0, cap_s=60.0)
OUTBOX_BATCHES = 16
WISHES = 1024
BOOTSTRAP_WITHIN_S = 60.0
"""Then it ends and says so: whoever runs it (a Kubernetes Job) tries again, and shows that it had to."""


# connector ---------------------------------------------------------------------------------------------------


class Connector:
    """What outlives every actor of one connector: the journal, the cursor, the mailboxes, the configuration."""

    def __init__(self, spec: RoleSpec, world: World, board: HealthBoard) -> None:
        self.spec = spec
        self.world = world
        self.board = board
        self.exchange: Exchange = exchange(spec.feed)
        self.url = feed_url(spec.settings, spec.feed)
        directory = spec.data_path / "journal" / spec.feed
        limits = JournalLimits(total_bytes=parse_size(spec.settings.journal.max_bytes, "journal.max_bytes"))
        self.journal = Journal(directory, limits, world.now)
        self.cursor = Cursor(directory)
        self.checkpoints = Checkpoints(directory)
        self.progress = Progress(self.cursor.position)
        self.outbox: Mailbox[Batch] = Mailbox("publisher", OUTBOX_BATCHES, Overflow.BLOCK)
        entry = feed_entry(spec.environment, spec.feed)
        self.wishes = [Mailbox[Desync](f"resyncs-{slot}", WISHES, Overflow.DROP_OLDEST) for slot in range(entry.shards)]
        gauge(self.outbox)
        for wishes in self.wishes:
            gauge(wishes)
        self.last_config = LastConfig(directory, entry.config())
        self.config: Cell[FeedConfig] = Cell(self.last_config.load())
        self.edition = Edition(spec.feed, self.config.get().normalizer)  # changes only with a restart
        self.standing = Standing(self.config.get(), world.now)
        self.identity = identity(spec, world.now())
        limits_of = self.exchange.limits
        self.budget = ConnectBudget(limits_of.connects_per_window, limits_of.connect_window_s)
        self.lineage = Lineage(world.now())
        self._recover()

    def _recover(self) -> None:
        metrics.TORN_BYTES.inc(self.journal.torn_bytes)
        for conn in end_orphans(self.journal):
            get_logger(feed=self.spec.feed).warning("connection_ended_by_crash", conn=conn)

    def children(self) -> Sequence[ChildSpec]:
        return (
            ChildSpec("candidate", self._candidate, CANDIDATE_BACKOFF, drain_within_s=DRAIN_WITHIN_S + 2),
            ChildSpec("sealer", self._sealer, STORE_BACKOFF, drain_within_s=20),
            ChildSpec("publisher", self._publisher, BUS_BACKOFF, drain_within_s=10),
            ChildSpec("normalizer", self._normalizer, drain_within_s=10),
            ChildSpec("raw-writer", self._raw_writer, DISK_BACKOFF),
            ChildSpec("symbol-watcher", self._symbol_watcher, BUS_BACKOFF),
            ChildSpec("status-reporter", self._status_reporter, BUS_BACKOFF),
            ChildSpec("sessions", self._sessions, drain_within_s=SESSION_DRAIN_S * len(self.wishes) + 1),
        )

    def _candidate(self) -> CandidateKeeper:
        return CandidateKeeper(self.spec.feed, self.config, self._candidate_process)

    def _candidate_process(self, version: str) -> Actor:
        watch_cursor(self.spec, version)
        return candidate_process(self.spec, version)

    def _sealer(self) -> Sealer:
        return Sealer(self.edition, self.journal, self.cursor, self.world.store, self._candidate_version)

    def _candidate_version(self) -> str:
        return self.config.get().candidate_normalizer or ""

    def _publisher(self) -> Publisher:
        links = PublisherLinks(self.outbox, self.cursor, self.checkpoints, self.board)
        stream = stream_spec(self.spec.environment, self.spec.settings)
        return Publisher(self.edition.label, self.world.dialer, stream, links, self.world.now)

    def _normalizer(self) -> Normalizer[FeedDecoder]:
        build = partial(decoder, self.edition.version, self.spec.feed, self.exchange)
        links = NormalizerLinks(self.journal, self.checkpoints, self.progress, self.outbox, self.wishes)
        return Normalizer(self.edition, build, links)

    def _raw_writer(self) -> RawWriter:
        return RawWriter(self.journal, self.spec.settings.journal)

    def _symbol_watcher(self) -> SymbolWatcher:
        feed = WatchedFeed(self.spec.feed, config_key(self.spec.environment.name, self.spec.feed), VERSIONS)
        return SymbolWatcher(feed, self.world.dialer, self.config, self.standing, self._keep_config)

    async def _keep_config(self, config: FeedConfig) -> None:
        await self.journal.blocking(self.last_config.save, config)

    def _status_reporter(self) -> StatusReporter:
        return StatusReporter(self.identity, self.world.dialer, self.standing, self.world.now)

    def _sessions(self) -> Supervisor:
        limits = self.exchange.limits
        backoff = Backoff(
            first_s=limits.reconnect_first_s, cap_s=limits.reconnect_cap_s, forgive_after_s=limits.stable_after_s
        )
        sessions = [
            ChildSpec(f"session-{slot}", partial(self._session, slot), backoff, SESSION_DRAIN_S)
            for slot in range(len(self.wishes))
        ]
        return Supervisor("sessions", Strategy.ONE_FOR_ONE, sessions, intensity=GIVE_UP)

    def _session(self, slot: int) -> Session:
        place = Place(self.exchange, self.url, slot, self.world.transport, self.board)
        links = SessionLinks(self.journal, self.config, self.wishes[slot], self.lineage, self.budget, self.standing)
        return Session(place, links)


def identity(spec: RoleSpec, started_ns: int) -> Identity:
    """Return who this process is on the bus; the same instance after a restart on the same data."""
    instance = instance_name(socket.gethostname(), spec.data_path)
    return Identity(spec.environment.name, spec.feed, instance, os.getpid(), started_ns, __version__)


def connector(spec: RoleSpec, world: World, board: HealthBoard) -> Sequence[ChildSpec]:
    """Return the children of one feed's connector."""
    return Connector(spec, world, board).children()


# archiver ----------------------------------------------------------------------------------------------------


def archiver(spec: RoleSpec, world: World, board: HealthBoard) -> Sequence[ChildSpec]:
    """Return a batcher for each feed (or the one asked for) and who counts after it, and what deletes old objects."""
    children = [ChildSpec("sweeper", partial(_sweeper, spec, world), STORE_BACKOFF, drain_within_s=15)]
    for feed in (spec.feed,) if spec.feed else tuple(spec.environment.spec.feeds):
        children += _archiving(feed, spec, world, board)
    return children


def _archiving(feed: str, spec: RoleSpec, world: World, board: HealthBoard) -> Sequence[ChildSpec]:
    edition = Edition(feed, feed_entry(spec.environment, feed).normalizer)
    archive = ArchiveFeed(edition, stream_spec(spec.environment, spec.settings))
    batcher = partial(Batcher, archive, world.dialer, world.store, board, world.now)
    return stocktaker(archive, spec, world), ChildSpec(f"batcher-{feed}", batcher, BUS_BACKOFF, drain_within_s=20)


def _sweeper(spec: RoleSpec, world: World) -> Sweeper:
    storage = spec.environment.spec.storage
    retention = Retention(storage.raw.retention_days, storage.normalized.retention_days, spec.feed)
    return Sweeper(retention, world.store, world.now)


# one role as a process ---------------------------------------------------------------------------------------


_BUILDERS: Final = {"connector": connector, "archiver": archiver, "candidate": candidate}


OnListening = Callable[[str, str], None]
"""Called with what listens (ops, gateway) and its URL."""


def role(spec: RoleSpec, world: World, on_listening: OnListening) -> Supervisor:
    """Return the whole tree of a role process but the gateway's, which has to be opened first."""
    board = HealthBoard()
    return role_tree(spec, board, on_listening, _BUILDERS[spec.role](spec, world, board))


def role_tree(
    spec: RoleSpec, board: HealthBoard, on_listening: OnListening, children: Sequence[ChildSpec]
) -> Supervisor:
    """Return the tree of a role process: its ops endpoint beside its actors.

    Five bugs within a minute make it give up: the process ends, and whoever runs it decides.
    """
    ops = partial(OpsEndpoint, spec.title, spec.settings.ops, board, partial(on_listening, "ops"))
    whole = [ChildSpec("ops", ops), *children]
    surroundings = Surroundings(board=board, observe=observe)
    return Supervisor(spec.role, Strategy.ONE_FOR_ONE, whole, intensity=GIVE_UP, surroundings=surroundings)


async def bootstrap(spec: RoleSpec, world: World, within_s: float = BOOTSTRAP_WITHIN_S) -> bool:
    """Bring the stream, the feeds' live copies (or one feed's) and the buckets to what the environment says.

    Return whether it is done. Not done: the bus or the store could not be reached in time or refused, or a signal came
    first. Repeating it is harmless.
    """
    feeds = (spec.feed,) if spec.feed else tuple(spec.environment.spec.feeds)
    configs = {feed: feed_entry(spec.environment, feed).config() for feed in feeds}
    stream = stream_spec(spec.environment, spec.settings)
    seeder = partial(ConfigSeeder, spec.environment.name, configs, stream, world.dialer)
    board = HealthBoard()
    surroundings = Surroundings(board=board, observe=observe)
    children = [ChildSpec("seeder", seeder, BUS_BACKOFF), *bucket_makers(spec)]
    tree = Supervisor(spec.role, Strategy.ONE_FOR_ONE, children, intensity=GIVE_UP, surroundings=surroundings)
    with trio.move_on_after(within_s) as limit:
        await run_tree(tree, lambda _beside: None)
    return all_done(board) and not limit.cancelled_caught
