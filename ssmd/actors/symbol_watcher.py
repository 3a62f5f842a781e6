"""Follow the live copy of a feed's configuration on the bus; a bad value is refused and the last good one stays."""

from collections.abc import Collection
from typing import Final

import msgspec
import trio
from msgspec.structs import replace

from ssmd import metrics
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


class SymbolWatcher:
    """Puts every good value into the cell. While the bus is away the last good value stays in force."""

    def __init__(
        self, key: str, feed: str, dialer: BusDialer, config: Cell[FeedConfig], normalizers: Collection[str]
    ) -> None:
        self._key = key
        self._feed = feed
        self._dialer = dialer
        self._config = config
        self._normalizers = normalizers
        self._log = get_logger(feed=feed, actor="symbol_watcher")
        self._scope = trio.CancelScope()
        self._revision = 0
        """The newest of this watch. The next watch begins anew: a bucket that was made again counts from 1."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until drained. Raises BusDown, an outage; the next start takes the present value anew."""
        task_status.started()
        with self._scope:
            async with self._dialer.connect() as bus, bus.kv_watch(BUCKET, self._key) as entries:
                async for entry in entries:
                    self._take(entry)

    def drain(self) -> None:
        self._scope.cancel()

    def _take(self, entry: KvEntry) -> None:
        last = self._config.get()
        try:
            config = parse_config(self._feed, entry, self._normalizers)
            self._check_successor(last, config)
        except ConfigError as error:
            metrics.CONFIG_REFUSED.labels(self._feed, "invalid").inc()
            self._log.error("config_refused", revision=entry.revision, error=str(error), kept=last.revision)
            return
        self._revision = config.revision
        if config != last:
            self._config.set(config)
            self._log.info("config_taken", revision=config.revision, symbols=len(config.symbols))

    def _check_successor(self, last: FeedConfig, config: FeedConfig) -> None:
        if config.revision < self._revision:
            raise ConfigError(f"revision {config.revision} is older than {self._revision}, which came before")
        if (config.normalizer, config.shards) != (last.normalizer, last.shards):
            raise ConfigError("normalizer and shards change only with a restart of the connector")
