"""Put the environment file's feeds into the bus once, so that every connector runs what the file says."""

from collections.abc import Mapping

import trio

from ssmd.actors.report import encode_config
from ssmd.actors.symbol_watcher import BUCKET, config_key
from ssmd.bus.base import Bus, BusDialer, StreamSpec
from ssmd.errors import AlreadyStored
from ssmd.log import get_logger
from ssmd.records import FeedConfig


class ConfigSeeder:
    """Finishes when the bus has the stream and the live copy of every feed. A copy that is equal stays untouched."""

    def __init__(
        self, environment: str, feeds: Mapping[str, FeedConfig], stream: StreamSpec, dialer: BusDialer
    ) -> None:
        self._environment = environment
        self._feeds = feeds
        self._stream = stream
        self._dialer = dialer
        self._log = get_logger(actor="seeder")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        async with self._dialer.connect() as bus:
            await bus.ensure_stream(self._stream)
            for feed, config in self._feeds.items():
                await self._seed(bus, config_key(self._environment, feed), config)

    def drain(self) -> None:
        """Nothing to do: it ends by itself, or with its deadline."""

    async def _seed(self, bus: Bus, key: str, config: FeedConfig) -> None:
        value = encode_config(config)
        entry = await bus.kv_get(BUCKET, key)
        if entry is not None and entry.value == value:
            return
        try:
            revision = await bus.kv_put(BUCKET, key, value, expected_revision=0 if entry is None else entry.revision)
        except AlreadyStored:
            self._log.info("config_changed_meanwhile", key=key)  # by a command that knew a newer file than we do
        else:
            self._log.info("config_seeded", key=key, revision=revision)
