"""What a tree stands on: the world outside of it, the environment it works by, and what is seen of its children."""

from typing import Final, TypeVar

from ssmd import metrics
from ssmd.actors.transport import Transport, WebSocketTransport
from ssmd.bus.base import BusDialer, StreamSpec
from ssmd.bus.nats import NatsDialer
from ssmd.clock import NowNs, now_ns
from ssmd.environment.check import check_feed
from ssmd.environment.spec import Environment, FeedEntry
from ssmd.errors import ConfigError
from ssmd.log import get_logger
from ssmd.protocols import exchange
from ssmd.protocols.decoder import VERSIONS
from ssmd.settings import Settings, parse_size
from ssmd.store.base import Store
from ssmd.supervisor import Backoff, ChildChanged, ChildState, Intensity, Mailbox
from ssmd.trees.addresses import allowed_hosts
from ssmd.trees.role_spec import RoleSpec
from ssmd.trees.storage import open_store

T = TypeVar("T")

GIVE_UP: Final = Intensity(restarts=5, within_s=60)
BUS_BACKOFF: Final = Backoff(first_s=0.1, cap_s=2.0)
"""Short: catching up begins within two seconds of the bus coming back."""
STORE_BACKOFF: Final = Backoff(first_s=0.5, cap_s=15.0)
DISK_BACKOFF: Final = Backoff(first_s=0.1, cap_s=1.0)


class World:
    """What is outside of a tree. Tests and the simulation replace it as a whole, nothing else."""

    def __init__(
        self, dialer: BusDialer, store: Store, transport: Transport | None = None, now: NowNs = now_ns
    ) -> None:
        self.dialer = dialer
        self.store = store
        self.transport = transport or WebSocketTransport()
        self.now = now


def local_world(spec: RoleSpec) -> World:
    """Return the real world of a role: NATS at its URL, the store that its settings name. Raises ConfigError."""
    transport = WebSocketTransport(allowed_hosts(spec.settings, spec.feed))
    return World(NatsDialer(spec.nats_url), open_store(spec.environment, spec.settings, spec.data_path), transport)


def observe(change: ChildChanged) -> None:
    """Log and count what happens to the children of a tree."""
    log = get_logger(actor=f"{change.supervisor}/{change.child}")
    if change.state is ChildState.BACKOFF:
        metrics.RESTARTS.labels(change.child, type(change.cause).__name__).inc()
        tell = log.error if isinstance(change.cause, ConfigError) else log.warning  # a refused key: a person must act
        tell("actor_restarts", error=change.error, retry_in_s=change.retry_in_s, restarts=change.restarts)
    elif change.state is ChildState.FAILED:
        log.error("actor_failed", error=change.error, exc_info=change.cause)
    else:
        log.debug("actor_changed", state=change.state.value)


def gauge(mailbox: Mailbox[T]) -> None:
    """Show a mailbox in the metrics; it is read when somebody asks, so it costs the frame path nothing."""
    metrics.MAILBOX_USED.labels(mailbox.name).set_function(lambda: mailbox.statistics().used)
    metrics.MAILBOX_DROPPED.labels(mailbox.name).set_function(lambda: mailbox.statistics().dropped_total)


def feed_entry(environment: Environment, feed: str) -> FeedEntry:
    """Return a feed of the environment, checked. Raises ConfigError."""
    entry = environment.spec.feeds.get(feed)
    if entry is None:
        raise ConfigError(f"environment {environment.name} has no feed {feed!r}; it has {_listed(environment)}")
    check_feed(feed, entry.config(), VERSIONS)
    exchange(feed)
    return entry


def _listed(environment: Environment) -> str:
    return ", ".join(environment.spec.feeds) or "none"


def stream_spec(environment: Environment, settings: Settings) -> StreamSpec:
    limits = environment.spec.jetstream
    return StreamSpec(
        name=settings.nats.stream,
        subjects=("md.>",),
        max_bytes=parse_size(limits.max_bytes, "spec.jetstream.max_bytes"),
        max_age_s=limits.retention_hours * 3600.0,
    )
