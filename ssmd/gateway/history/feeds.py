"""What is captured now, by which normalizer, and which version readers are served."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
import trio
from msgspec import Struct

from ssmd.actors.edition import Edition
from ssmd.actors.report import BUCKET as STATUS_BUCKET
from ssmd.actors.report import ConnectorReport, reports_of
from ssmd.actors.symbol_watcher import BUCKET as CONFIG_BUCKET
from ssmd.actors.symbol_watcher import config_key
from ssmd.archive.together import together
from ssmd.bus.base import KvEntry
from ssmd.clock import NowNs, now_ns
from ssmd.environment.check import check_feed
from ssmd.environment.spec import VERSION, Environment
from ssmd.errors import ConfigError, StoreDown
from ssmd.gateway.access import Series
from ssmd.gateway.history.link import BusSource
from ssmd.gateway.history.plan import Source
from ssmd.gateway.history.quality import LiveView
from ssmd.gateway.problems import Problem
from ssmd.model import EventType, is_token
from ssmd.records import FeedConfig
from ssmd.store.base import Store

CONFIG_AGE_S: Final = 1.0
"""A change of the live configuration is seen after so long, at the latest."""
ARCHIVE_AGE_S: Final = 30.0


class FeedState(Struct, frozen=True):
    """One feed. A feed that nobody captures any more has no symbols, and the newest version that is archived."""

    name: str
    config: FeedConfig
    versions: tuple[str, ...] = ()
    """What the archive has."""

    @property
    def served(self) -> str:
        return self.config.serve_version or self.config.normalizer

    def source(self, version: str | None = None) -> Source:
        """Return where its events are, of the served version or of another one."""
        chosen = version or self.served
        is_live = chosen == self.config.normalizer
        return Source(self.name, chosen, Edition(self.name, chosen).durable if is_live else None)

    def live_series(self) -> frozenset[Series]:
        """Return what is to be captured now."""
        if not self.config.enabled:
            return frozenset()
        found: set[Series] = set()
        for symbol in self.config.symbols:
            kinds: tuple[EventType, ...] = ("trade", "quote", "book") if symbol.depth == "l2" else ("trade", "quote")
            found |= {Series(self.name, kind, symbol.symbol) for kind in kinds}
        return frozenset(found)


class Feeds:
    """The environment's feeds, with the live copy of each over it. While the bus is away, what was known last stays."""

    def __init__(self, environment: Environment, bus: BusSource, store: Store, now: NowNs = now_ns) -> None:
        self._environment = environment
        self._bus = bus
        self._store = store
        self._now = now
        self._configs = {name: entry.config() for name, entry in environment.spec.feeds.items()}
        self._versions: dict[str, tuple[str, ...]] = {}
        self._configs_at_s = self._versions_at_s = float("-inf")
        self._lock = trio.Lock()

    async def all(self) -> Mapping[str, FeedState]:
        async with self._lock:
            await self._refresh()
        names = sorted(self._configs.keys() | self._versions.keys())
        return {name: self._state(name) for name in names}

    async def source(self, feed: str) -> Source | None:
        state = (await self.all()).get(feed)
        return None if state is None else state.source()

    async def live_view(self, feed: str) -> LiveView:
        """Return what the connectors of a feed say now; nothing when the bus is away."""
        try:
            async with self._bus.use() as bus:
                entries = await bus.kv_list(STATUS_BUCKET.name, reports_of(self._environment.name, feed))
        except Problem:
            return LiveView(is_heard=False)
        found = (_report(entry) for entry in entries)
        reports = [report for report in found if report is not None and not report.is_silent(self._now())]
        live = {symbol for report in reports for symbol in report.live}
        return LiveView(bool(reports), frozenset({s for report in reports for s in report.pending} - live))

    def _state(self, name: str) -> FeedState:
        versions = self._versions.get(name, ())
        newest = max(versions, key=_number, default="v1")
        config = self._configs.get(name) or FeedConfig(symbols=(), enabled=False, normalizer=newest)
        return FeedState(name, config, versions)

    async def _refresh(self) -> None:
        if trio.current_time() - self._configs_at_s > CONFIG_AGE_S:
            await self._read_configs()
            self._configs_at_s = trio.current_time()
        if trio.current_time() - self._versions_at_s > ARCHIVE_AGE_S:
            await self._read_versions()
            self._versions_at_s = trio.current_time()

    async def _read_configs(self) -> None:
        try:
            async with self._bus.use() as bus:
                entries = await bus.kv_list(CONFIG_BUCKET, config_key(self._environment.name, "*"))
        except Problem:
            return
        for entry in entries:
            feed = entry.key.rpartition(".")[2]
            config = self._config(feed, entry)
            if config is not None:
                self._configs[feed] = config

    def _config(self, feed: str, entry: KvEntry) -> FeedConfig | None:
        """Return a live copy; None for one that a connector would refuse: then it runs what it had."""
        try:
            config = msgspec.json.decode(entry.value or b"", type=FeedConfig)
            check_known(feed, config)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ConfigError):
            return None
        return config

    async def _read_versions(self) -> None:
        found: dict[str, list[str]] = {}
        try:
            for feeds in await together(self._store.folders, await self._store.folders("normalized/")):
                for folder in feeds:
                    _, version, feed, _ = folder.split("/")
                    found.setdefault(feed, []).append(version)
        except StoreDown:
            return  # what was known last; reading the archive will say it
        self._versions = {
            feed: tuple(sorted(versions, key=_number)) for feed, versions in found.items() if is_token(feed)
        }


def check_known(feed: str, config: FeedConfig) -> None:
    """Raise ConfigError for what nobody can use. Which normalizers there are is the connector's business."""
    for version in (config.normalizer, config.serve_version or config.normalizer):
        if not re.fullmatch(VERSION, version):
            raise ConfigError(f"feed {feed}: version {version!r} is not v and a number")
    check_feed(feed, config, {config.normalizer, config.candidate_normalizer} - {""})


def _number(version: str) -> int:
    return int(version[1:]) if version[1:].isdigit() else 0


def _report(entry: KvEntry) -> ConnectorReport | None:
    try:
        return None if entry.value is None else msgspec.json.decode(entry.value, type=ConnectorReport)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
