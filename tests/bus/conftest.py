"""A real nats-server per module, and one rig per kind of bus: the conformance suite runs over both."""

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import nats
import pytest
import trio
from nats.js import JetStreamContext

from ssmd.bus.base import BusDialer, Outgoing, StreamSpec
from ssmd.bus.island import open_island
from ssmd.bus.memory import MemoryDialer
from ssmd.bus.nats import NatsDialer
from ssmd.bus.server import ServerSettings, endpoints_of, server_argv, wait_ready


class RunningServer:
    def __init__(self, store_dir: Path, max_file_store_bytes: int = 2_000_000_000) -> None:
        self.settings = ServerSettings(store_dir=store_dir, max_file_store_bytes=max_file_store_bytes)
        self.argv = server_argv(self.settings)
        self.url = endpoints_of(self.settings).url
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.argv)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(store_dir: Path) -> Iterator[RunningServer]:
    server = RunningServer(store_dir)
    server.start()
    try:
        trio.run(wait_ready, server.settings)
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server that the test may kill or freeze."""
    with running(tmp_path / "nats") as server:
        yield server


async def as_admin(url: str, work: Callable[[JetStreamContext], Awaitable[object]]) -> object:
    """Do something that the seam does not offer, through nats-py."""

    async def run() -> object:
        client = await nats.connect(url)
        try:
            return await work(client.jetstream())
        finally:
            await client.close()
            await asyncio.sleep(0)

    async with open_island("admin") as island:
        return await island.run(run)


@dataclass
class Rig:
    """One bus to test, with names that no other test uses."""

    dialer: BusDialer
    delete_bucket: Callable[[], Awaitable[object]]
    delete_key: Callable[[str], Awaitable[object]]
    bucket: str
    stream: str = field(default_factory=lambda: f"s{uuid4().hex[:12]}")

    @property
    def spec(self) -> StreamSpec:
        return StreamSpec(self.stream, (f"{self.stream}.>",), max_bytes=10_000_000, max_age_s=3600)

    def batch(self, first: int, count: int, symbol: str = "BTCUSD") -> list[Outgoing]:
        return [
            Outgoing(f"{self.stream}.trade.{symbol}", b"payload %d" % i, f"feed/conn/{i}/0")
            for i in range(first, first + count)
        ]


def memory_rig() -> Rig:
    dialer = MemoryDialer()
    bucket = "config"

    async def delete_bucket() -> None:
        dialer.broker.delete_bucket(bucket)

    async def delete_key(key: str) -> None:
        dialer.broker.delete_key(bucket, key)

    return Rig(dialer, delete_bucket, delete_key, bucket)


def nats_rig(url: str) -> Rig:
    bucket = f"b{uuid4().hex[:12]}"

    async def delete_in(key: str, js: JetStreamContext) -> None:
        await (await js.key_value(bucket)).delete(key)

    async def delete_key(key: str) -> None:
        await as_admin(url, partial(delete_in, key))

    async def delete_bucket() -> None:
        await as_admin(url, lambda js: js.delete_key_value(bucket))

    return Rig(NatsDialer(url), delete_bucket, delete_key, bucket)


@pytest.fixture(params=["memory", "nats"])
def rig(request: pytest.FixtureRequest) -> Rig:
    if request.param == "memory":
        return memory_rig()
    return nats_rig(request.getfixturevalue("nats_server").url)
