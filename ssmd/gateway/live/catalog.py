"""Which series there are, for live sessions: they ask at every command, so the answer lies ready."""

from collections.abc import Collection
from typing import Final

import trio

from ssmd.errors import StoreDown
from ssmd.gateway.access import Grant, Principal, Series
from ssmd.gateway.history.catalog import Catalog
from ssmd.gateway.live.hub import Hub
from ssmd.gateway.problems import Problem

EVERY_S: Final = 2.0


class LiveCatalog:
    """What the stream has, and what the catalog of history had when it was last asked."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._known: frozenset[Series] = frozenset()

    def series(self) -> Collection[Series]:
        return self._known.union(self._hub.known())

    def renew(self, known: Collection[Series]) -> None:
        self._known = frozenset(known)


class CatalogKeeper:
    """Asks again and again. While the store is away, what was known stays."""

    def __init__(self, live: LiveCatalog, catalog: Catalog, every_s: float = EVERY_S) -> None:
        self._live = live
        self._catalog = catalog
        self._every_s = every_s
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        with self._scope:
            while True:
                await self._renew()
                await trio.sleep(self._every_s)

    def drain(self) -> None:
        self._scope.cancel()

    async def _renew(self) -> None:
        try:
            feeds = await self._catalog.feeds.all()
            everybody = Principal("@gateway", "non-display", tuple(Grant(feed, ("*",)) for feed in feeds))
            rows = await self._catalog.rows(everybody, None)
        except (StoreDown, Problem):
            return
        self._live.renew([series for row in rows for series in row.series])
