"""Follow the live copy of a feed's configuration on the bus; a bad value is refused and the last good one stays."""

from collections.abc import Awaitable, Callable, Collection
from typing import Final

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd import metrics
from ssmd.actors.report import for_people
from ssmd.actors.standing import Standing
from ssmd.bus.base import BusDialer, KvEntry
from ssmd.environment.check import check_feed
from ssmd.errors import ConfigError
from ssmd.log import get_logger
from ssmd.records import FeedConfig
from ssmd.supervisor import Cell

BUCKET: Final = "ssmd-config"
MAX_VALUE_BYTES: Final = 256 << 10


def config_key(environment: str, feed: str) -> str:
    return f"{environment}.feeds.{feed}"


def parse_config(feed: str, entry: KvEntry, normalizers: Collection[str]) -> FeedConfig:
    """Return the configuration that a live copy holds, with the bus's revision. Raises ConfigError for a bad one."""
    if entry.value is None:
        raise ConfigError(f"feed {feed}: the live configuration was deleted")
    if len(entry.value) > MAX_VALUE_BYTES:
        raise ConfigError(f"feed {feed}: live configuration has {len(entry.value)} bytes; at most {MAX_VALUE_BYTES}")
    try:
        config = msgspec.json.decode(entry.value, type=FeedConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"feed {feed}: live configuration: {error}") from error
    check_feed(feed, config, normalizers)
    return replace(config, revision=entry.revision)


class WatchedFeed(Struct, frozen=True):
    """Whose live copy is followed, where it lies, and which normalizers it may name."""

    name: str
    key: str
    normalizers: Collection[str]


Keep = Callable[[FeedConfig], Awaitable[None]]


class SymbolWatcher:
    """Puts every good value into the cell, and has it kept for the next start of the process (`keep`).

    While the bus is away the last good value stays in force.
    """

    def __init__(
        self,
        feed: WatchedFeed,
        dialer: BusDialer,
        config: Cell[FeedConfig],
        standing: Standing,
        keep: Keep | None = None,
    ) -> None:
        self._keep = keep
        self._kept: FeedConfig | None = None
        self._feed = feed
        self._dialer = dialer
        self._config = config
        self._standing = standing
        self._log = get_logger(feed=feed.name, actor="symbol_watcher")
        self._scope = trio.CancelScope()
        self._newest = 0
        """The newest revision of this watch. The next watch begins anew: a bucket that was made again counts from 1."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until drained. Raises BusDown, an outage; the next start takes the present value anew."""
        task_status.started()
        with self._scope:
            async with self._dialer.connect() as bus, bus.kv_watch(BUCKET, self._feed.key) as entries:
                async for entry in entries:
                    if self._take(entry):
                        await self._have_kept(self._config.get())

    def drain(self) -> None:
        self._scope.cancel()

    async def _have_kept(self, config: FeedConfig) -> None:
        if self._keep is not None and config != self._kept:
            await self._keep(config)
            self._kept = config

    def _take(self, entry: KvEntry) -> bool:
        """Put a good value into the cell; tell whether it was one."""
        last = self._config.get()
        try:
            self._check_order(entry)
            config = parse_config(self._feed.name, entry, self._feed.normalizers)
            _check_successor(last, config)
        except ConfigError as error:
            self._refuse(entry, for_people(str(error)))
            return False
        if config != last:
            self._config.set(config)
            self._log.info("config_taken", revision=config.revision, symbols=len(config.symbols))
        self._standing.accept()
        return True

    def _check_order(self, entry: KvEntry) -> None:
        if entry.revision < self._newest:
            raise ConfigError(f"revision {entry.revision} is older than {self._newest}, which came before")
        self._newest = entry.revision

    def _refuse(self, entry: KvEntry, reason: str) -> None:
        metrics.CONFIG_REFUSED.labels(self._feed.name, "invalid").inc()
        kept = self._config.get().revision
        self._log.error("config_refused", revision=entry.revision, error=reason, kept=kept)
        if entry.revision == self._newest or self._standing.cell.get().refused_config is None:
            self._standing.refuse(entry, reason)


def _check_successor(last: FeedConfig, config: FeedConfig) -> None:
    if (config.normalizer, config.shards) != (last.normalizer, last.shards):
        raise ConfigError("normalizer and shards change only with a restart of the connector")
