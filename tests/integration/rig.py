"""A whole system in the test's own loop: simulated exchange on a real port, real nats-server, connector, archiver.

Only the processes are missing: the trees are those of a role process. The store is a directory, or two buckets of a
real S3 server: SSMD_TEST_STORE=seaweedfs (or garage) makes every test of this folder run on one.
"""

import math
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import msgspec
import structlog
import trio

from ssmd import metrics, trees
from ssmd.actors.sealer import Manifest
from ssmd.archive.reading import raw_keys, raw_records
from ssmd.bus.server import ServerSettings, server_argv, wait_ready
from ssmd.cli.samples import Samples
from ssmd.environment.spec import BucketEntry, Environment, StorageEntry
from ssmd.protocols.coverage import Gap
from ssmd.records import Record
from ssmd.settings import ExchangeSettings, Settings, StorageSettings
from ssmd.simulator import SimulatorConfig, parse_fault, serve
from ssmd.store.base import Store
from ssmd.supervisor import ChildProcess, ProcessSpec, Supervisor
from ssmd.trees import RoleName, RoleSpec
from ssmd.trees.storage import open_store

WITHIN_S = 30.0
HEARTBEAT_S = 0.2
LOOK_EVERY_S = 0.02
NO_SERVER = StorageSettings()
"""The store is a directory."""


def environment(names: Iterable[str], **feed: object) -> Environment:
    """Return an environment that captures books of these names; `feed` are further fields of the feed."""
    symbols = [{"name": name, "internal": name.replace("/", ""), "depth": "l2"} for name in names]
    buckets = {kind: {"bucket": f"ssmd-test-{kind}"} for kind in ("raw", "normalized")}
    limits = {"retention_hours": 24, "max_bytes": "1GB"}
    spec = {"feeds": {"kraken": {"symbols": symbols, **feed}}, "storage": buckets, "jetstream": limits}
    content = {"apiVersion": "ssmd/v1", "kind": "Environment", "metadata": {"name": "test"}, "spec": spec}
    return msgspec.convert(content, Environment)


def replayed(path: Path) -> SimulatorConfig:
    return SimulatorConfig(replay=(path,), speed=math.inf, heartbeat_interval_s=HEARTBEAT_S)


def synthetic(names: Iterable[str], rate_per_s: float, *faults: str) -> SimulatorConfig:
    return SimulatorConfig(
        symbols=tuple(names), rate_per_s=rate_per_s, faults=tuple(parse_fault(fault) for fault in faults)
    )


class Life:
    """One role from start to end."""

    def __init__(self, tree: Supervisor) -> None:
        self.tree = tree
        self.scope = trio.CancelScope()
        self.over = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        with self.scope:
            await self.tree.run(task_status=task_status)
        self.over.set()


class System:
    """What a test sees of one run, and how it ends it."""

    def __init__(self, data_dir: Path, described: Environment, nursery: trio.Nursery, storage: StorageSettings) -> None:
        self.data_dir = data_dir
        self.described = described
        self.settings = Settings(storage=storage)
        self.nats_url = ""
        self._nursery = nursery
        self.store = open_store(described, self.settings, data_dir)
        self.ledger = data_dir / "ledger.jsonl"
        self.exchange_url = ""
        self.rest_url = ""
        self.logs: list[structlog.typing.EventDict] = []
        self._lives: dict[RoleName, Life] = {}
        self._before = now()

    def count(self, name: str, **labels: str) -> int:
        """Return how far a counter of the connector or archiver has come in this run."""
        return int(now().total(f"ssmd_{name}", **labels) - self._before.total(f"ssmd_{name}", **labels))

    async def until(self, is_true: Callable[[], bool], what: str) -> None:
        with trio.move_on_after(WITHIN_S):
            while not is_true():  # noqa: ASYNC110  what happens on the other side of a socket tells nobody
                await trio.sleep(LOOK_EVERY_S)
            return
        raise AssertionError(f"not within {WITHIN_S:g} s: {what}")

    async def until_frames(self, count: int) -> None:
        await self.until(lambda: self.count("connector_frames_received_total") >= count, f"{count} frames")

    async def inject(self, fault: str) -> None:
        """Let the exchange do something wrong now."""
        async with httpx.AsyncClient(timeout=5) as client:
            (await client.post(f"{self.rest_url}/sim/faults", params={"fault": fault})).raise_for_status()

    async def stop(self) -> None:
        """Drain the connector, then the archiver; afterwards the store holds everything."""
        for role in ("connector", "archiver"):
            self._lives[role].tree.drain()
            with trio.fail_after(WITHIN_S):
                await self._lives[role].over.wait()

    async def crash(self, role: RoleName) -> None:
        """End a role at once, wherever it is, and start it anew on what it left behind."""
        self._lives[role].scope.cancel()
        await self._lives[role].over.wait()
        await self.start(role)

    async def start(self, role: RoleName) -> None:
        settings = msgspec.structs.replace(self.settings, kraken=ExchangeSettings(ws_url=self.exchange_url))
        spec = RoleSpec(role, "kraken", self.described, settings, self.nats_url, str(self.data_dir), "")
        world = trees.local_world(spec)
        self._lives[role] = Life(trees.role(spec, world, lambda _what, _url: None))
        await self._nursery.start(self._lives[role].run)


async def raw_of(store: Store) -> list[Record]:
    """Return every stored raw record in the order of capture."""
    records: list[Record] = []
    for key in await raw_keys(store, "kraken"):
        async for block in raw_records(store, key):
            records.extend(block)
    return records


async def gaps_of(store: Store) -> list[Gap]:
    """Return the gaps that the manifests tell of, in order; one that several minutes tell of comes several times."""
    texts = [await store.read(key.manifest) for key in await raw_keys(store, "kraken")]
    return [gap for text in texts if text for gap in msgspec.json.decode(text, type=Manifest).gaps]


def gauge(name: str, **labels: str) -> float:
    return now().total(f"ssmd_{name}", **labels)


def now() -> Samples:
    return Samples.parse(metrics.render().decode())


def with_buckets_of_its_own(described: Environment) -> Environment:
    """Return the environment under a name that no other run has: a server is shared, and keeps its buckets."""
    run = secrets.token_hex(4)
    raw, normalized = (BucketEntry(f"ssmd-{run}-{kind}") for kind in ("raw", "normalized"))
    spec = msgspec.structs.replace(described.spec, storage=StorageEntry(raw, normalized))
    return msgspec.structs.replace(described, spec=spec)


@asynccontextmanager
async def running(
    data_dir: Path, described: Environment, simulator: SimulatorConfig, storage: StorageSettings = NO_SERVER
) -> AsyncIterator[System]:
    """Give a running system; whatever still runs at the end is cancelled."""
    if storage.endpoint:
        described = with_buckets_of_its_own(described)
    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            system = System(data_dir, described, nursery, storage)
            system.logs = logs
            system.nats_url = await _start_nats(nursery, data_dir / "nats")
            config = msgspec.structs.replace(simulator, ledger=system.ledger)
            endpoints = await nursery.start(partial(serve, config))
            system.exchange_url, system.rest_url = endpoints.ws_url, endpoints.rest_url
            await system.start("archiver")
            await system.start("connector")
            yield system
            nursery.cancel_scope.cancel()


async def _start_nats(nursery: trio.Nursery, store_dir: Path) -> str:
    server = ServerSettings(store_dir=store_dir, max_file_store_bytes=2_000_000_000)
    urls: list[str] = []

    async def ready() -> None:
        urls.append((await wait_ready(server)).url)

    await nursery.start(ChildProcess(ProcessSpec("nats-server", server_argv(server), ready=ready)).run)
    return urls[0]
