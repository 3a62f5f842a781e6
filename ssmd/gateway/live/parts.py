"""What a live session works with; put together where the gateway is composed."""

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Protocol

from msgspec import Struct

from ssmd.clock import NowNs, now_ns
from ssmd.gateway.access import Doorkeeper, Meter, Series
from ssmd.gateway.history.quality import Window
from ssmd.gateway.live.hub import Hub
from ssmd.gateway.live.resume import Rewinder
from ssmd.gateway.live.subscriptions import Catalog
from ssmd.gateway.live.tickets import Tickets
from ssmd.model import Event


class ArchiveReader(Protocol):
    """Reads what is archived."""

    def events(self, series: Collection[Series], start_ns: int, end_ns: int) -> AsyncGenerator[Event, None]:
        """Give the events of these series received in [start_ns, end_ns), in order. Raises Problem unavailable."""
        ...

    async def windows(self, series: Collection[Series], start_ns: int, end_ns: int) -> Sequence[Window]:
        """Return where something of these series is missing or suspect, by start. Raises Problem unavailable, StoreDown."""
        ...


class LiveParts(Struct, frozen=True):
    """origins: pages that may open a WebSocket, as `https://host:port`; programs send none and are let in."""

    hub: Hub
    rewinder: Rewinder
    doorkeeper: Doorkeeper
    meter: Meter
    catalog: Catalog
    archive: ArchiveReader
    tickets: Tickets
    origins: frozenset[str] = frozenset()
    now: NowNs = now_ns
