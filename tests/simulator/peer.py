"""A client for tests, written from the venue's documents alone: exact texts, own checksum, own order book."""

import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from ssmd.simulator import Endpoints, SimulatorConfig, serve

PATIENCE_S = 10


@asynccontextmanager
async def simulated(**settings: Any) -> AsyncIterator[Endpoints]:
    """Run a simulator on a free port; it ends with the block."""
    async with _flat_nursery() as nursery:
        yield await nursery.start(partial(serve, SimulatorConfig(**settings)))


def exact(text: str) -> Any:
    """Decode JSON with every number as the text that it was."""
    return json.loads(text, parse_float=str, parse_int=str)


async def call(endpoints: Endpoints, method: str, path: str, **params: Any) -> tuple[int, Any]:
    """Return status and decoded body of one HTTP request."""
    url = urlsplit(endpoints.rest_url)
    target = f"{path}?{urlencode(params)}" if params else path
    async with await trio.open_tcp_stream(url.hostname, url.port) as stream:
        await stream.send_all(f"{method} {target} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        answer = b"".join([bytes(chunk) async for chunk in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body else None


async def inject(endpoints: Endpoints, fault: str) -> None:
    answer = await call(endpoints, "POST", "/sim/faults", fault=fault)
    assert answer == (200, {"error": []})


class Peer:
    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.texts: list[str] = []

    async def text(self) -> str:
        with trio.fail_after(PATIENCE_S):
            text = await self.socket.get_message()
        self.texts.append(text)
        return text

    async def frame(self) -> Any:
        return exact(await self.text())

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        """Return the first frame that is wanted."""
        with trio.fail_after(PATIENCE_S):
            while not wanted(frame := await self.frame()):
                pass
        return frame

    async def ask(self, method: str, **params: Any) -> None:
        request: dict[str, Any] = {"method": method}
        if "req_id" in params:
            request["req_id"] = params.pop("req_id")
        await self.socket.send_message(json.dumps({**request, "params": params} if params else request))

    async def answer(self) -> Any:
        return await self.until(lambda frame: "method" in frame or "Error" in frame)

    async def subscribe(self, channel: str, *symbols: str, **params: Any) -> list[Any]:
        """Return one answer per symbol."""
        await self.ask("subscribe", channel=channel, symbol=list(symbols), **params)
        return [await self.answer() for _ in symbols]

    async def until_closed(self, receive: Callable[[], Awaitable[object]] | None = None) -> None:
        """Read until the connection raises."""
        with trio.fail_after(PATIENCE_S):
            while True:
                await (receive or self.text)()


@asynccontextmanager
async def connected(endpoints: Endpoints, *, greeted: bool = True) -> AsyncIterator[Peer]:
    """Connect; after the block the TCP connection is closed, whatever became of it.

    Not `open_websocket_url`: it leaves the socket open after a refused handshake, a reset and bad UTF-8.
    """
    url = urlsplit(endpoints.ws_url)
    stream = await trio.open_tcp_stream(url.hostname, url.port)
    async with stream, _flat_nursery() as nursery:
        socket = await wrap_client_stream(nursery, stream, url.netloc, url.path, max_message_size=32_000_000)
        peer = Peer(socket)
        if greeted:
            assert (await peer.frame())["channel"] == "status"
        yield peer


@asynccontextmanager
async def _flat_nursery() -> AsyncIterator[trio.Nursery]:
    """Cancel everything at the end of the block; raise a single error as itself."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None


def on(channel: str, kind: str | None = None) -> Callable[[Any], bool]:
    return lambda frame: frame.get("channel") == channel and (kind is None or frame.get("type") == kind)


def crc(asks: dict[str, str], bids: dict[str, str]) -> int:
    top_asks = sorted(asks.items(), key=lambda level: float(level[0]))[:10]
    top_bids = sorted(bids.items(), key=lambda level: -float(level[0]))[:10]
    joined = "".join(
        f"{price.replace('.', '').lstrip('0')}{qty.replace('.', '').lstrip('0')}" for price, qty in top_asks + top_bids
    )
    return zlib.crc32(joined.encode())


class RebuiltBook:
    """Apply frames as the documents say: all levels, then the cut, then the checksum."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
        self.unknown_deletes = 0
        self.verified = 0

    def apply(self, frame: Any) -> bool:
        """Tell whether the checksum matches."""
        (entry,) = frame["data"]
        if frame["type"] == "snapshot":
            self.sides = {"bids": {}, "asks": {}}
        for name, levels in self.sides.items():
            for level in entry[name]:
                self._set(levels, level["price"], level["qty"])
            for price in sorted(levels, key=float, reverse=name == "bids")[self.depth :]:
                del levels[price]
        matches = crc(self.sides["asks"], self.sides["bids"]) == int(entry["checksum"])
        self.verified += matches
        return matches

    def _set(self, levels: dict[str, str], price: str, qty: str) -> None:
        if float(qty):
            levels[price] = qty
        else:
            self.unknown_deletes += levels.pop(price, None) is None
