"""A project of a test's own: environments and manifests copied, git if wanted, and a bus in memory to go live on."""

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
import trio
from msgspec.structs import replace

from ssmd.actors.report import BUCKET as STATUS
from ssmd.actors.report import ConnectorReport, RefusedConfig, RefusedSymbol, digest_of, encode_config, value_digest
from ssmd.actors.symbol_watcher import BUCKET, config_key
from ssmd.bus.base import BucketSpec, KvEntry
from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.bus.memory_store import MemoryBucket
from ssmd.clock import now_ns
from ssmd.environment.load import load
from ssmd.records import FeedConfig
from ssmd.trees import LiveLink

T = TypeVar("T")


class Project:
    """A folder like a clone's, the working directory of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str) -> Path:
        return self.folder / "environments" / f"{name}.yaml"

    def tree(self) -> dict[str, bytes]:
        """Return every file with its content, git's own left out."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and ".git" not in path.parts
        }

    def git(self, *words: str) -> str:
        done = subprocess.run(("git", *words), cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def begin_git(self) -> None:
        self.git("init", "--quiet", "--initial-branch=main", ".")
        self.git("config", "user.name", "Test")
        self.git("config", "user.email", "test@example.org")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "begin")

    def committed(self) -> list[str]:
        """Return the files of the last commit."""
        return self.git("show", "--name-only", "--format=", "HEAD").split()


class _Lasting(MemoryBucket):
    """Each command has a clock of its own, and none can tell the age of what another one wrote."""

    def after(self, revision: int) -> list[KvEntry]:
        return [entry for _, entry in self._entries if entry.revision > revision]


class LiveBus(MemoryBroker):
    """What commands find at [nats] url: a broker in memory. answer: what a connector reports of a copy that is put."""

    def __init__(self) -> None:
        super().__init__()
        self.buckets = {name: _Lasting(BucketSpec(name)) for name in (BUCKET, STATUS.name)}
        self.answer: Callable[[str, int, FeedConfig], ConnectorReport] | None = None

    def _run(self, work: Callable[..., Awaitable[T]], *words: object) -> T:
        result: T = trio.run(work, *words)
        return result

    @asynccontextmanager
    async def link(self, _url: str) -> AsyncIterator[LiveLink]:
        """Stand in for `ssmd.trees.live_link`."""
        async with MemoryDialer(self).connect() as bus:
            yield LiveLink(bus)

    def write(self, bucket: str, key: str, value: bytes | None) -> int:
        revision = super().write(bucket, key, value)
        if self.answer is not None and bucket == BUCKET and value is not None:
            environment, _, feed = key.split(".")
            self._tell(environment, self.answer(feed, revision, msgspec.json.decode(value, type=FeedConfig)))
        return revision

    def _tell(self, environment: str, said: ConnectorReport) -> None:
        key = f"{environment}.connectors.{said.feed}.{said.instance}"
        super().write(STATUS.name, key, msgspec.json.encode(said))

    def tell(self, environment: str, said: ConnectorReport) -> None:
        """Have a connector report."""

        async def work() -> None:
            self._tell(environment, said)

        self._run(work)

    def seed(self, environment: str, feed: str = "kraken") -> FeedConfig:
        """Put a feed live as the environment's file has it now."""
        config = load(environment).spec.feeds[feed].config()
        self.put(environment, feed, encode_config(config))
        return config

    def put(self, environment: str, feed: str, value: bytes | None) -> None:
        """Put anything in the place of a live copy; None takes it away."""

        async def work() -> None:
            MemoryBroker.write(self, BUCKET, config_key(environment, feed), value)

        self._run(work)

    def live(self, environment: str, feed: str = "kraken") -> FeedConfig | None:
        async def work() -> FeedConfig | None:
            async with self.link("") as link:
                return (await link.copy(environment, feed)).config

        return self._run(work)

    def revision(self, environment: str, feed: str = "kraken") -> int:
        async def work() -> int:
            async with self.link("") as link:
                return (await link.copy(environment, feed)).revision

        return self._run(work)


def report(feed: str, revision: int, config: FeedConfig, **more: object) -> ConnectorReport:
    """Return what a healthy connector says that runs a configuration."""
    said = ConnectorReport(feed, "pod-1", 7, now_ns(), "0.1.0", now_ns(), revision, digest_of(config))
    symbols = tuple(spec.symbol for spec in config.symbols)
    return replace(said, **{"enabled": config.enabled, "live": symbols, **more})


def refusal(revision: int, value: bytes, reason: str) -> RefusedConfig:
    return RefusedConfig(revision, reason, now_ns(), value_digest(value))


def refused(symbol: str, reason: str) -> RefusedSymbol:
    return RefusedSymbol(symbol, reason)
