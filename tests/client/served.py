"""A whole gateway in a thread of its own, behind a proxy that cuts connections: for clients of every kind."""

import math
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import trio

from ssmd.bus.memory import MemoryDialer
from ssmd.clock import now_ns
from ssmd.model import Event, Quote, Trade
from tests.trees.test_gateway import Running, outgoing, running

T = TypeVar("T")

MANY = 1_500
"""Trades of ETHUSD that are there from the beginning: an answer of several pieces."""


def trade(seq: int, symbol: str = "BTCUSD", conn: str = "k-0-2") -> Trade:
    at_ns = now_ns()
    return Trade("kraken", symbol, at_ns, conn, seq, 0, at_ns - 5, "60000.1", "0.01", "buy", str(seq))


def quote(seq: int, symbol: str = "BTCUSD", conn: str = "k-0-2") -> Quote:
    at_ns = now_ns()
    return Quote("kraken", symbol, at_ns, conn, seq, 0, at_ns - 5, "60000", "1.5", "60000.2", "0.5")


class Proxy:
    """Hands bytes on, until it is told to cut."""

    def __init__(self, port: int) -> None:
        self.left = math.inf
        """How many bytes of answers are let through before the connection that has the next ones is cut."""
        self.accepted = 0
        self._port = port
        self._open: set[trio.CancelScope] = set()

    def cut(self) -> None:
        for scope in self._open:
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        self.accepted += 1
        with trio.CancelScope() as scope:
            self._open.add(scope)
            server = await trio.open_tcp_stream("127.0.0.1", self._port)
            async with server, client, trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, client, server, scope)
                await self._pump(server, client, scope, counts=True)
        self._open.discard(scope)

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope, *, counts: bool = False
    ) -> None:
        try:
            while data := await source.receive_some():
                if counts and len(data) > self.left:
                    await sink.send_all(data[: int(self.left)])
                    self.left = math.inf
                    break
                self.left -= len(data) if counts else 0
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


class Served:
    """What tests see of it; every method may be called from their thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key_file = folder / "demo.header"
        self.ready = threading.Event()

    async def run(self) -> None:
        async with running(self.folder) as found, self._proxied(found) as self.proxy, trio.open_nursery() as nursery:
            self._nursery = nursery
            self._found, self._token, self._stop = found, trio.lowlevel.current_trio_token(), trio.Event()
            key = await found.client("bot", "*")
            self.key_file.write_text(f"Authorization: {key['Authorization']}\n")
            await self._publish([trade(seq, "ETHUSD", "k-0-3") for seq in range(MANY)])
            self.ready.set()
            await self._stop.wait()

    @asynccontextmanager
    async def _proxied(self, found: Running) -> AsyncIterator[Proxy]:
        proxy = Proxy(int(found.urls["gateway"].rpartition(":")[2]))
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, proxy.serve, 0)
            self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            yield proxy
            nursery.cancel_scope.cancel()

    def stop(self) -> None:
        self._token.run_sync_soon(self._stop.set)

    def publish(self, *events: Event) -> int:
        """Return the place of the last one in the stream."""
        return self._call(lambda: self._publish(events))

    def cut(self) -> None:
        self._token.run_sync_soon(self.proxy.cut)

    def _call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it in the gateway's thread and wait; trio.from_thread refuses where another loop of Trio runs."""
        done: Future[T] = Future()

        async def run() -> None:
            done.set_result(await work())

        self._token.run_sync_soon(lambda: self._nursery.start_soon(run))
        return done.result(10)

    async def _publish(self, events) -> int:
        async with MemoryDialer(self._found.broker).connect() as bus:
            return (await bus.publish([outgoing(event) for event in events])).last_stream_seq


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    gateway = Served(folder)
    thread = threading.Thread(target=trio.run, args=(gateway.run,), name="gateway")
    thread.start()
    while not gateway.ready.wait(0.1):
        assert thread.is_alive()
    try:
        yield gateway
    finally:
        gateway.stop()
        thread.join()
