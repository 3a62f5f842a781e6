"""What the gateway is made of: entitlements, the live hub, history, and the web in front of them.

Children are listed sinks first: the web drains first, and what its sessions have counted is written last. `one_for_one`,
since what they share belongs to the tree: NATS away ends the hub's reader again and again, and no client's connection.
"""

import resource
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import trio

from ssmd.actors.ops import observe_process
from ssmd.archive.remembering import RememberingStore
from ssmd.errors import ConfigError
from ssmd.gateway.access import Series
from ssmd.gateway.entitlements import Entitlements, Place, open_entitlements
from ssmd.gateway.history.catalog import Catalog, Resolved
from ssmd.gateway.history.feeds import Feeds
from ssmd.gateway.history.link import BusLink
from ssmd.gateway.history.plan import Span
from ssmd.gateway.history.quality import Window
from ssmd.gateway.history.reader import Archive, ArchiveReader
from ssmd.gateway.history.service import History
from ssmd.gateway.live.catalog import CatalogKeeper, LiveCatalog
from ssmd.gateway.live.hub import Hub
from ssmd.gateway.live.hub_reader import HubReader
from ssmd.gateway.live.parts import LiveParts
from ssmd.gateway.live.resume import Rewinder
from ssmd.gateway.live.service import LiveService
from ssmd.gateway.live.tickets import Tickets
from ssmd.gateway.routes.admin import admin_routes
from ssmd.gateway.routes.audit import audit_routes
from ssmd.gateway.routes.data import DataDeps, data_routes
from ssmd.gateway.routes.meta import MetaParts, meta_routes
from ssmd.gateway.routes.tickets import ticket_routes
from ssmd.gateway.web.app import App, AppParts, make_app
from ssmd.gateway.web.doors import DoorLimits
from ssmd.gateway.web.readiness import Readiness
from ssmd.gateway.web.server import Web, WebParts, listen_on
from ssmd.gateway.web.tls import Certificates
from ssmd.log import get_logger
from ssmd.model import Event
from ssmd.settings import GatewaySettings, gateway_database
from ssmd.supervisor import Check, ChildSpec, HealthBoard, Supervisor
from ssmd.trees.first_start import wanted_clients
from ssmd.trees.role_spec import RoleSpec
from ssmd.trees.roles import OnListening, role_tree
from ssmd.trees.world import BUS_BACKOFF, DISK_BACKOFF, World, stream_spec

WEB_DRAIN_S: Final = 20.0
"""Above what the server gives its connections."""
CLOSE_WITHIN_S: Final = 5.0
SPARE_FILES: Final = 256
"""Open files that are not connections of clients: the database, the bus, the store, the archive."""


class Gateway:
    """What outlives every actor of the gateway."""

    def __init__(self, spec: RoleSpec, world: World, board: HealthBoard, entitlements: Entitlements) -> None:
        self.spec = spec
        self.world = world
        self.board = board
        self.entitlements = entitlements
        self.stream = stream_spec(spec.environment, spec.settings)
        self.certificates = certificates(spec.settings.gateway)
        self.hub = Hub()
        self.live_catalog = LiveCatalog(self.hub)
        self.bus_link = BusLink(world.dialer, self.stream.name, Check("nats"))  # the hub tells of the same server
        store = RememberingStore(world.store, world.now)
        self.catalog = Catalog(Feeds(spec.environment, self.bus_link, store, world.now), store, world.now)
        self.archive = Archive(
            store,
            self.bus_link,
            spec.environment.name,
            self.stream.name,
            self.stream.max_age_s,
            now=world.now,
            settled=store.settled,
        )
        self.history = History(self.archive, self.catalog)
        self.tickets = Tickets(trio.current_time)
        self.listening = listen_on(spec.settings.gateway.listen, is_encrypted=self.certificates is not None)

    def children(self) -> list[ChildSpec]:
        return [
            *self.entitlements.children(),
            ChildSpec("readiness", self._readiness),
            ChildSpec("bus-link", lambda: self.bus_link, BUS_BACKOFF),
            ChildSpec("catalog", lambda: CatalogKeeper(self.live_catalog, self.catalog)),
            ChildSpec("hub", self._hub_reader, BUS_BACKOFF),
            ChildSpec("web", self._web, DISK_BACKOFF, drain_within_s=WEB_DRAIN_S),
        ]

    def _readiness(self) -> Readiness:
        return Readiness(self.board, self.world.store, self.entitlements.trouble)

    def _hub_reader(self) -> HubReader:
        return HubReader(self.hub, self.world.dialer, self.stream.name, self.board)

    def _web(self) -> Web:
        limits = door_limits(self.spec.settings.gateway)
        return Web(self.listening, WebParts(self.app(), LiveService(self._live()), self.certificates, limits))

    def app(self) -> App:
        doorkeeper = self.entitlements.doorkeeper
        blueprints = (
            meta_routes(MetaParts(self.board, doorkeeper, observe_process)),
            data_routes(DataDeps(self.history, self.catalog, self.entitlements.audit, self.world.now)),
            admin_routes(self.entitlements.administration, self.world.now),
            audit_routes(self.entitlements.reports),
            ticket_routes(self.tickets),
        )
        return make_app(AppParts(doorkeeper, blueprints, self.world.now))

    def _live(self) -> LiveParts:
        return LiveParts(
            self.hub,
            Rewinder(self.hub, self.world.dialer, self.stream.name, self.world.now),
            self.entitlements.doorkeeper,
            self.entitlements.audit,
            self.live_catalog,
            Replays(ArchiveReader(self.archive, self.catalog.feeds), self.history, self.catalog.feeds),
            self.tickets,
            origins(self.spec.settings.gateway),
            self.world.now,
        )


@asynccontextmanager
async def gateway_role(spec: RoleSpec, world: World, on_listening: OnListening) -> AsyncIterator[Supervisor]:
    """Give the whole tree of a gateway process, its sockets open.

    Raises ConfigError for settings that cannot work, DatabaseDown for a database that is damaged or locked: without it
    nobody could be let in, so there is no gateway.
    """
    board = HealthBoard()
    entitlements = await open_entitlements(
        Place(gateway_database(spec.settings, spec.data_path), spec.environment.name), world.now
    )
    try:
        taken = await entitlements.administration.take_over(wanted_clients(spec.environment))
        if taken.steps:
            get_logger().info("entitlements_taken_over", clients=[step.client_id for step in taken.steps])
        gateway = Gateway(spec, world, board, entitlements)
        on_listening("gateway", gateway.listening.url)
        with closing(gateway.listening):
            yield role_tree(spec, board, on_listening, gateway.children())
    finally:
        with trio.move_on_after(CLOSE_WITHIN_S, shield=True):
            await entitlements.close()


class Replays:
    """History as live sessions read it."""

    def __init__(self, reader: ArchiveReader, history: History, feeds: Feeds) -> None:
        self._reader = reader
        self._history = history
        self._feeds = feeds

    async def events(self, series: Collection[Series], start_ns: int, end_ns: int) -> AsyncGenerator[Event, None]:
        async for event in self._reader.events(series, start_ns, end_ns):
            yield event

    async def windows(self, series: Collection[Series], start_ns: int, end_ns: int) -> Sequence[Window]:
        sources = [await self._feeds.source(feed) for feed in sorted({one.feed for one in series})]
        resolved = Resolved(frozenset(series), tuple(source for source in sources if source is not None))
        quality = await self._history.quality(resolved, Span(start_ns, end_ns))
        return [window for window in quality.windows if window.status in {"missing", "suspect"}]


def certificates(settings: GatewaySettings) -> Certificates | None:
    """Return what TLS needs, None without TLS. Raises ConfigError."""
    if not settings.tls_certificate and not settings.tls_key:
        return None
    if not settings.tls_certificate or not settings.tls_key:
        raise ConfigError("[gateway] tls_certificate and tls_key belong together; set both or none")
    return Certificates(Path(settings.tls_certificate), Path(settings.tls_key))


def origins(settings: GatewaySettings) -> frozenset[str]:
    return frozenset(filter(None, (part.strip().rstrip("/") for part in settings.origins.split(","))))


def door_limits(settings: GatewaySettings) -> DoorLimits:
    """Return how many connections there may be: as the settings say, as far as this process may open files."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    in_all = max(1, min(settings.max_connections, hard - SPARE_FILES))
    return DoorLimits(min(settings.max_connections_per_address, in_all), in_all)
