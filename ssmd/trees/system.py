"""The tree of `ssmd up`: every role as a supervised process of its own, beside an embedded nats-server.

Roles die alone and use several cores; the same supervisor restarts processes and actors. Listed sinks first; the
simulated exchange stands before the connectors because, like a real one, it outlives them.
"""

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd.actors.ops import OpsEndpoint
from ssmd.actors.seeder import ConfigSeeder
from ssmd.bus.nats import NatsDialer
from ssmd.bus.server import ServerSettings, server_argv, wait_ready
from ssmd.environment.spec import Environment
from ssmd.errors import ExchangeDown, GatewayDown
from ssmd.protocols import EXCHANGES
from ssmd.run_files import Endpoints, run_dir, wait_for_run_file, write_run_file
from ssmd.settings import ExchangeSettings, NatsSettings, Settings, parse_size
from ssmd.supervisor import (
    Actor,
    Backoff,
    ChildProcess,
    ChildSpec,
    HealthBoard,
    Intensity,
    ProcessFailed,
    ProcessSpec,
    Strategy,
    Supervisor,
    Surroundings,
)
from ssmd.trees.addresses import feed_url
from ssmd.trees.role_process import role_argv, role_environment, write_role_spec
from ssmd.trees.role_spec import RoleName, RoleSpec
from ssmd.trees.storage import bucket_stores
from ssmd.trees.world import BUS_BACKOFF, feed_entry, observe, stream_spec

GIVE_UP: Final = Intensity(restarts=10, within_s=60)
"""With the backoff below, a process that cannot live is given up within a minute."""
PROCESS_BACKOFF: Final = Backoff(first_s=0.2, cap_s=5.0)
READY_WITHIN_S: Final = 30.0
GATEWAY_DRAIN_S: Final = 40.0
STORE_HEADROOM: Final = 1.5
"""The server may use this many times what the stream is limited to, for the key-value bucket and its overhead."""


class UpSpec(Struct, frozen=True):
    """What `ssmd up` was asked for. simulator: arguments for a simulated exchange, None for the real one."""

    environment: Environment
    settings: Settings
    data_dir: Path
    nats_port: int = 0
    simulator: tuple[str, ...] | None = None
    log_dir: Path | None = None
    """Where the processes' output goes; None: this process's own."""


class _Aside:
    """A process that the others do without: however often it ends, it never makes the system give up."""

    def __init__(self, process: ChildProcess) -> None:
        self._process = process

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            await self._process.run(task_status=task_status)
        except ProcessFailed as error:
            raise GatewayDown(str(error)) from error

    def drain(self) -> None:
        self._process.drain()


class System:
    """Knows which processes run and where they listen, across their restarts."""

    def __init__(self, spec: UpSpec) -> None:
        self.spec = spec
        self.board = HealthBoard()
        self.nats_url = spec.settings.nats.url
        self.exchange_url = ""
        self.gateway_url = ""
        self.ops: dict[str, str] = {}
        self.pids: dict[str, int] = {"up": os.getpid()}
        self._run_dir = run_dir(spec.data_dir)
        self._is_published = False
        if spec.settings.storage.endpoint:
            bucket_stores(spec.environment, spec.settings)  # a wrong setting is told here, not by each role
        self.withdraw()

    def tree(self) -> Supervisor:
        """Return the whole system under one supervisor."""
        surroundings = Surroundings(board=self.board, observe=observe)
        return Supervisor("up", Strategy.ONE_FOR_ONE, self._children(), intensity=GIVE_UP, surroundings=surroundings)

    def endpoints(self) -> Endpoints:
        return Endpoints(
            os.getpid(),
            self.nats_url,
            gateway=self.gateway_url,
            ops=dict(self.ops),
            exchange=self.exchange_url,
            environment=self.spec.environment.name,
        )

    def withdraw(self) -> None:
        """Remove what tells where things run: nothing does, or not yet."""
        for name in ("endpoints.json", "processes.json"):
            (self._run_dir / name).unlink(missing_ok=True)

    def publish_endpoints(self) -> None:
        """Write endpoints.json: everything is ready."""
        self._is_published = True
        write_run_file(self._run_dir / "endpoints.json", self.endpoints())

    def _children(self) -> Sequence[ChildSpec]:
        children = [ChildSpec("ops", self._ops)]
        if not self.nats_url:
            children.append(self._process("nats-server", self._nats, drain_within_s=15))
        children.append(ChildSpec("seeder", self._seeder, BUS_BACKOFF))
        children.append(self._process("archiver", partial(self._role, "archiver", ""), drain_within_s=30))
        if self.spec.simulator is not None:
            children.append(self._process("simulator", self._simulator, drain_within_s=5))
        for feed, entry in self.spec.environment.spec.feeds.items():
            if entry.enabled or feed in EXCHANGES:  # a disabled one idles, so that it can be enabled without a restart
                feed_entry(self.spec.environment, feed)
                feed_url(self.spec.settings, feed)  # a wrong one is told here, not by each start of the connector
                build = partial(self._role, "connector", feed)
                children.append(self._process(f"connector:{feed}", build, drain_within_s=60))
        children.append(self._process("gateway", self._gateway, drain_within_s=GATEWAY_DRAIN_S))
        return children

    def _process(self, name: str, build: Callable[[], Actor], drain_within_s: float) -> ChildSpec:
        return ChildSpec(name, build, PROCESS_BACKOFF, drain_within_s, start_within_s=READY_WITHIN_S)

    # the children --------------------------------------------------------------------------------------------

    def _ops(self) -> OpsEndpoint:
        return OpsEndpoint("up", self.spec.settings.ops, self.board, partial(self.ops.__setitem__, "up"))

    def _seeder(self) -> ConfigSeeder:
        feeds = {feed: entry.config() for feed, entry in self.spec.environment.spec.feeds.items()}
        stream = stream_spec(self.spec.environment, self.spec.settings)
        return ConfigSeeder(self.spec.environment.name, feeds, stream, NatsDialer(self.nats_url))

    def _nats(self) -> ChildProcess:
        limit = parse_size(self.spec.environment.spec.jetstream.max_bytes, "spec.jetstream.max_bytes")
        server = ServerSettings(
            store_dir=self.spec.data_dir / "nats",
            port=self.spec.nats_port,
            max_file_store_bytes=int(limit * STORE_HEADROOM),
        )

        async def ready() -> None:
            self.nats_url = (await wait_ready(server)).url

        return self._child("nats-server", server_argv(server), ready)

    def _simulator(self) -> ChildProcess:
        run_file = self._run_dir / "simulator.json"
        run_file.unlink(missing_ok=True)
        argv = (sys.executable, "-m", "ssmd.cli.simulator", *(self.spec.simulator or ()), "--run-file", str(run_file))
        if self.exchange_url:
            argv += ("--port", self.exchange_url.rsplit(":", 1)[1].split("/")[0])

        async def ready() -> None:
            self.exchange_url = (await wait_for_run_file(run_file)).exchange

        return self._child("simulator", argv, ready)

    def _role(self, role: RoleName, feed: str) -> ChildProcess:
        name = f"{role}:{feed}" if feed else role
        run_file = self._run_dir / f"{name.replace(':', '-')}.json"
        run_file.unlink(missing_ok=True)
        spec = RoleSpec(
            role,
            feed,
            self.spec.environment,
            self._settings(feed),
            self.nats_url,
            str(self.spec.data_dir),
            str(run_file),
        )
        spec_file = write_role_spec(self._run_dir, spec)

        async def ready() -> None:
            told = await wait_for_run_file(run_file)
            self.ops.update(told.ops)
            self.gateway_url = told.gateway or self.gateway_url
            if self._is_published:
                self.publish_endpoints()  # a restarted role listens elsewhere

        return self._child(name, role_argv(spec_file), ready)

    def _gateway(self) -> Actor:
        return _Aside(self._role("gateway", ""))

    def _child(self, name: str, argv: Sequence[str], ready: Callable[[], Awaitable[None]]) -> ChildProcess:
        log = None if self.spec.log_dir is None else self.spec.log_dir / f"{name.replace(':', '-')}.log"
        spec = ProcessSpec(
            name,
            tuple(argv),
            env=role_environment(),
            stdout=log,
            stderr=log,
            ready=ready,
            ready_within_s=READY_WITHIN_S,
        )
        return ChildProcess(spec, partial(self._note_pid, name))

    def _note_pid(self, name: str, pid: int) -> None:
        self.pids[name] = pid
        write_run_file(self._run_dir / "processes.json", self.pids)

    def _settings(self, feed: str) -> Settings:
        """Return the settings as a child needs them: with the bus and the exchange that run here.

        Raises ExchangeDown in a demo whose simulated exchange is not up: without an address the real one would be meant.
        """
        settings = replace(self.spec.settings, nats=NatsSettings(self.nats_url, self.spec.settings.nats.stream))
        if self.gateway_url:  # a restarted gateway is where its clients look for it
            listen = f"{settings.gateway.listen.rpartition(':')[0]}:{self.gateway_url.rpartition(':')[2]}"
            settings = replace(settings, gateway=replace(settings.gateway, listen=listen))
        if self.spec.simulator is None or not feed:
            return settings
        if not self.exchange_url:
            raise ExchangeDown("simulator", "the simulated exchange is not up yet")
        return replace(settings, **{feed: ExchangeSettings(ws_url=self.exchange_url)})
