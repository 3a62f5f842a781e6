"""The connection to NATS, on the island: everything here runs on its asyncio loop.

nats-py's own reconnect is off: a lost connection fails whatever waits on it, and the supervisor connects again.
"""

import asyncio  # noqa: TID251 (runs on the island)
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

import nats.errors  # noqa: TID251 (the bus's driver)
import nats.js.errors  # noqa: TID251 (the bus's driver)
from msgspec import Struct
from nats.aio.client import Client  # noqa: TID251 (the bus's driver)
from nats.js import JetStreamContext  # noqa: TID251 (the bus's driver)

from ssmd.errors import BusDown, ConfigError

CONNECT_WITHIN_S: Final = 5.0
REQUEST_WITHIN_S: Final = 5.0
CLOSE_WITHIN_S: Final = 1.0

SEND_WITHIN_S: Final = 5.0
"""How long a full send buffer may stay full: the server reads nothing any more."""

PING_EVERY_S: Final = 10
"""An idle half-open connection is noticed after two unanswered pings; a busy one by its acks."""

MIN_SERVER_VERSION: Final = (2, 14, 0)
"""Security fixes (RELIABILITY S17), and the consumer reset that a reopened consumer relies on (ADR-60)."""


class NatsOptions(Struct, frozen=True):
    """name: what the server's monitoring shows. replicas: of key-value buckets made here (3 in a cluster)."""

    name: str = "ssmd"
    replicas: int = 1


class Link:
    """One connection; `lose` ends it for everybody who waits on it."""

    def __init__(self, options: NatsOptions) -> None:
        self.replicas = options.replicas
        self.client = Client()
        self.js = JetStreamContext(self.client, timeout=REQUEST_WITHIN_S)
        self._options = options
        self._lost: BusDown | None = None
        self._last_error: Exception | None = None
        self._dialed = self._connected = False
        self._mourners: set[Callable[[BusDown], None]] = set()

    async def connect(self, url: str) -> None:
        """Connect within CONNECT_WITHIN_S, or raise BusDown. `url` may be several, separated by commas."""
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await self._connect(url)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            cause = self._last_error or error
            raise BusDown(f"cannot connect to {_without_secrets(url)}: {cause!r}") from error
        self._connected = True
        self._check_version(url)

    async def _connect(self, url: str) -> None:
        self._dialed = True
        asyncio.get_running_loop().set_exception_handler(self._on_lost_task)
        await self.client.connect(
            servers=[part.strip() for part in url.split(",")],
            name=self._options.name,
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            allow_reconnect=False,
            max_reconnect_attempts=1,  # 0 would mean for ever, also for the first connection
            reconnect_time_wait=0,
            connect_timeout=int(CONNECT_WITHIN_S),
            ping_interval=PING_EVERY_S,
            flush_timeout=SEND_WITHIN_S,
        )

    def _check_version(self, url: str) -> None:
        version = self.client.connected_server_version
        seen = (version.major, version.minor, version.patch)
        if seen < MIN_SERVER_VERSION:
            text, least = (".".join(map(str, v)) for v in (seen, MIN_SERVER_VERSION))
            raise ConfigError(f"nats-server at {_without_secrets(url)} is {text}; needed is {least} or later")

    async def close(self) -> None:
        """Close the socket, also when the other side reads nothing any more."""
        self.lose("closed by us")
        if not self._dialed:
            return
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self.client.close()
        except (nats.errors.Error, OSError, TimeoutError):
            await self._abort()

    async def _abort(self) -> None:
        writer = getattr(self.client._transport, "_io_writer", None)  # noqa: SLF001 (nats-py has no hard close)
        if writer is not None:
            writer.transport.abort()
            await asyncio.sleep(0)  # the loop drops the socket in its next round

    def lose(self, reason: str) -> None:
        """Give the connection up: whoever waits on it gets BusDown."""
        if self._lost is not None:
            return
        self._lost = BusDown(f"bus connection lost: {reason}")
        for tell in tuple(self._mourners):
            tell(self._lost)

    def watch_loss(self, tell: Callable[[BusDown], None]) -> None:
        self._mourners.add(tell)

    def forget_loss(self, tell: Callable[[BusDown], None]) -> None:
        self._mourners.discard(tell)

    def check(self) -> None:
        """Raise BusDown when the connection is lost."""
        if self._lost is not None:
            raise BusDown(str(self._lost))

    @asynccontextmanager
    async def asking(self, what: str) -> AsyncIterator[None]:
        """Put one deadline and one kind of error around what is asked of the server inside."""
        self.check()
        try:
            async with asyncio.timeout(REQUEST_WITHIN_S):
                yield
        except nats.js.errors.BadRequestError as error:
            raise ConfigError(f"{what}: the bus refuses: {error.description} ({error.err_code})") from error
        except (nats.errors.Error, OSError, TimeoutError) as error:
            self.check()
            raise BusDown(f"{what}: {str(error) or repr(error)}") from error

    async def _on_error(self, error: Exception) -> None:
        """Take every asynchronous error of nats-py, errors of our own callbacks among them, for the end."""
        self._last_error = error
        if self._connected:
            self.lose(repr(error))

    def _on_lost_task(self, _loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
        """Hear of nats-py's own tasks that broke (its flusher does when a reset meets its close)."""
        self.lose(f"{context['message']}: {context.get('exception')!r}")

    async def _on_closed(self) -> None:
        self.lose(repr(self.client.last_error or "closed by the server"))


def check_url(url: str) -> str:
    """Return the url unchanged when each part of it names a NATS server; else raise ConfigError."""
    for part in url.split(","):
        server = urlsplit(part.strip())
        if server.scheme not in {"nats", "tls"} or not server.hostname:
            raise ConfigError(f"nats url {_without_secrets(part)!r} is not of the form nats://host:port or tls://host")
    return url


def _without_secrets(url: str) -> str:
    return ",".join(urlsplit(part.strip()).netloc.rpartition("@")[2] or part for part in url.split(","))
