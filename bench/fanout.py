"""What it costs to deliver one message to one more client: `python -m bench fanout`.

Real sockets; all clients run in another process, and their CPU is not counted. The gateway's is user + system time of
this process, with decoding, encoding, counting and the kernel's part of sending. A batch is what the hub gets from the
bus at once: 1 is a quiet market, 20 what comes within 10 ms at 2,000 messages per second. Before a figure is printed,
every client must have got every message, in order.
"""

import argparse
import base64
import os
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

import h11
import msgspec
import trio

from bench.stages import cpu_s
from ssmd import log
from ssmd.actors.ops import resident_bytes
from ssmd.bus.base import Incoming
from ssmd.bus.memory import MemoryDialer
from ssmd.codec import marketdata
from ssmd.gateway.access import Grant, Principal, Series
from ssmd.gateway.live.hub import Hub
from ssmd.gateway.live.resume import Rewinder
from ssmd.gateway.live.tickets import Tickets
from ssmd.gateway.live.websocket import LiveParts, RequestHead, open_websocket
from ssmd.model import Book, Event, Quote, Trade, message_id, type_of

CLIENTS = (1, 100, 500)
BATCHES = (1, 20)
DELIVERIES = 200_000
SYMBOLS = ("BTCUSD", "ETHUSD", "SOLUSD", "XRPUSD", "ADAUSD")
TARGET_US = 5.0
AHEAD = 2_000
"""Messages that the hub may be in front of the slowest client, so that nobody counts as slow."""
PRINCIPAL = Principal("bench", "non-display", (Grant("kraken", ("*",)),))


class Doors:
    """Lets everybody in."""

    async def authenticate(self, key: str, ip_address: str) -> Principal:
        del key, ip_address
        await trio.lowlevel.checkpoint()
        return PRINCIPAL

    @asynccontextmanager
    async def session(self, principal: Principal, *_others: object) -> AsyncIterator[object]:
        yield type("Session", (), {"session_id": "s-1", "principal": principal})()


class CountingMeter:
    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Series]] = Counter()

        self.total = self._wanted = 0
        self._reached = trio.Event()

    def count(self, principal: Principal, series: Series, messages: int) -> None:
        self.counts[principal.client_id, series] += messages
        self.total += messages
        if self.total >= self._wanted:
            self._reached.set()

    async def reached(self, total: int) -> None:
        while self.total < total:
            self._wanted, self._reached = total, trio.Event()
            await self._reached.wait()


class EverySeries:
    def series(self) -> list[Series]:
        return [Series("kraken", kind, symbol) for symbol in SYMBOLS for kind in ("trade", "quote", "book")]


def event(pos: int) -> Event:
    """Return trades, quotes and books by turns, 3 of 10 are books, as the simulated exchange gives them."""
    symbol, at_ns = SYMBOLS[pos % len(SYMBOLS)], 1_765_029_600_000_000_000 + pos * 500_000
    head = ("kraken", symbol, at_ns, "k-0-1", pos, 0, at_ns - 9_000_000)
    price = 60_000 + pos % 97 / 10
    match pos % 10:
        case 0 | 1 | 2 | 3:
            return Trade(*head, f"{price}", "0.015", "buy", f"{80_000_000 + pos}")
        case 4 | 5 | 6:
            return Quote(*head, f"{price}", "1.25", f"{price + 0.1}", "0.75")
        case _:
            levels = [tuple((f"{price + side * i / 10}", f"{i}.25") for i in range(1, 11)) for side in (-1, 1)]
            return Book(*head, *levels)


def incoming(pos: int) -> Incoming:
    made = event(pos)
    subject = f"md.kraken.{type_of(made)}.{made.symbol}"
    return Incoming(subject, marketdata.encode(made), message_id(made), pos, 0)


async def serve(parts: LiveParts, stream: trio.SocketStream) -> None:
    connection = h11.Connection(h11.SERVER)
    while (request := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await stream.receive_some())
    assert isinstance(request, h11.Request)
    head = RequestHead(request.method, request.target, tuple(request.headers))
    await (await open_websocket(stream, head, "::1", parts)).serve()


async def measure(clients: int, batch: int) -> None:
    hub, meter = Hub(), CountingMeter()
    hub.begin("bench", (), 0, 0)
    parts = LiveParts(
        hub, Rewinder(hub, MemoryDialer(), "bench"), Doors(), meter, EverySeries(), None, Tickets(trio.current_time)
    )  # fmt: skip
    messages = max(2_000, min(20_000, DELIVERIES // clients))
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, partial(serve, parts), 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        argv = (sys.executable, "-m", "bench.fanout", "--client", f"{port}", f"{clients}", f"{messages}")
        process = await nursery.start(partial(trio.run_process, argv, stdout=subprocess.PIPE, capture_stdout=False))
        assert process.stdout is not None
        await process.stdout.receive_some()  # every client is subscribed
        await deliver(hub, meter, clients, messages, batch)
        told = b""
        while b"complete" not in told:
            told += await process.stdout.receive_some()
        assert told.strip() == b"complete", told
        nursery.cancel_scope.cancel()


async def deliver(hub: Hub, meter: CountingMeter, clients: int, messages: int, batch: int) -> None:
    batches = [[incoming(first + i) for i in range(batch)] for first in range(1, messages + 1, batch)]
    total = sum(len(each) for each in batches) * clients
    began_s, cpu = time.perf_counter(), cpu_s()
    for each in batches:
        hub.take(each)
        await trio.lowlevel.checkpoint()
        await meter.reached((hub.pos - AHEAD) * clients)
    await meter.reached(total)
    cpu, wall_s = cpu_s() - cpu, time.perf_counter() - began_s
    mark = "" if clients < 100 else "  within the target" if cpu / total * 1e6 <= TARGET_US else "  ABOVE THE TARGET"
    print(
        f"{clients:4} clients, batches of {batch:2}: {cpu / total * 1e6:6.2f} µs per delivered message"
        f" {total / cpu:11,.0f}/s per core {total / wall_s:11,.0f}/s here   rss {resident_bytes() / 1e6:5.1f} MB{mark}",
        flush=True,
    )


# the clients' process ------------------------------------------------------------------------------------------


class Reader:
    """One client: counts frames and looks at the order of what it gets."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /subscribe?symbols={','.join(SYMBOLS)} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Authorization: Bearer bench\r\n\r\n".encode()
        )
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(65_536)
        self.buffer = self.buffer.partition(b"\r\n\r\n")[2]
        self.subscribed = False
        self.got = 0
        self._pos = msgspec.json.Decoder(type("Pos", (msgspec.Struct,), {"__annotations__": {"pos": int}}))

    def read(self) -> None:
        self.buffer += self.socket.recv(1 << 20)
        self.scan()

    def scan(self) -> None:
        at, data = 0, self.buffer
        while at + 4 <= len(data):
            size, head = data[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            if at + head + size > len(data):
                break
            self.take(data[at + head : at + head + size])
            at += head + size
        self.buffer = data[at:]

    def take(self, payload: bytes) -> None:
        if payload.startswith((b'{"type":"trade"', b'{"type":"quote"', b'{"type":"book"')):
            self.got += 1
            pos = int(payload[payload.rindex(b":") + 1 : -1])
            assert pos == self.got, (pos, self.got)
        elif payload.startswith(b'{"type":"subscribed"'):
            self.subscribed = True


def be_clients(port: int, clients: int, messages: int) -> None:
    readers = [Reader(port) for _ in range(clients)]
    selector = selectors.DefaultSelector()
    for reader in readers:
        reader.scan()
        selector.register(reader.socket, selectors.EVENT_READ, reader)
    is_told = False
    for _ in count():
        if not is_told and all(reader.subscribed for reader in readers):
            is_told = print("ready", flush=True) is None
        if all(reader.got == messages for reader in readers):
            print("complete", flush=True)
            return
        for key, _events in selector.select():
            key.data.read()


async def main() -> None:
    print(f"target: {TARGET_US:g} µs per delivered message at 100 clients")
    for clients in CLIENTS:
        for batch in BATCHES:
            await measure(clients, batch)


def run() -> None:
    log.configure("error", role="bench")
    trio.run(main)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--client", nargs=3, type=int, metavar=("PORT", "CLIENTS", "MESSAGES"))
    asked = parser.parse_args()
    if asked.client:
        be_clients(*asked.client)
    else:
        run()
