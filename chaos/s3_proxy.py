"""A TCP proxy in front of an S3 server: passes, slows down, or answers itself; it can stop a request on its way."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

CHUNK_BYTES = 16_384
ANSWER = "HTTP/1.1 {} Chaos\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD_END = b"\r\n\r\n"

Watch = Callable[[str], None]
"""Called with the first line of a request, or of an answer together with that of its request."""


class S3Proxy:
    """answers: a status with which every request is answered. bytes_per_s: in each direction, all connections together.
    delay_s: every request waits so long, as it would on its way to another house.

    on_request, on_answer: called before the head of the one or the other goes on its way.
    """

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.answers = 0
        self.bytes_per_s = 0
        self.delay_s = 0.0
        self.requests = 0
        self.on_request: Watch | None = None
        self.on_answer: Watch | None = None
        self._target_port = target_port
        self._connections: set[trio.CancelScope] = set()
        self._free_s = {"up": 0.0, "down": 0.0}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def change(self, *, answers: int = 0, bytes_per_s: int = 0) -> None:
        """Behave like this from now on; connections that are open end, since they behave as before."""
        self.answers, self.bytes_per_s = answers, bytes_per_s
        self.cut()

    def cut(self) -> None:
        for scope in list(self._connections):
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        with trio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with client:
                    await (self._answer(client) if self.answers else self._pass_on(client))
            except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                pass
            finally:
                self._connections.discard(scope)

    async def _answer(self, client: trio.SocketStream) -> None:
        """Read a request whole, as a server would that cannot store it, and say so."""
        head = b""
        while HEAD_END not in head:
            more = await client.receive_some(CHUNK_BYTES)
            if not more:
                return
            head += more
        self.requests += 1
        first, _, body = head.partition(HEAD_END)
        left = _content_length(first) - len(body)
        while left > 0 and (more := await client.receive_some(CHUNK_BYTES)):
            left -= len(more)
        await client.send_all(ANSWER.format(self.answers).encode())
        await client.send_eof()

    async def _pass_on(self, client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", self._target_port)
        asked = [""]
        async with server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, client, server, "up", partial(self._see_request, asked))
            await self._pump(server, client, "down", partial(self._see_answer, asked))
            nursery.cancel_scope.cancel()

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, way: str, see: Watch) -> None:
        try:
            async for data in source:
                see(data.split(b"\r\n", 1)[0][:500].decode(errors="replace"))
                if self.delay_s and way == "up" and HEAD_END in data:
                    await trio.sleep(self.delay_s)
                for start in range(0, len(data), CHUNK_BYTES):
                    piece = data[start : start + CHUNK_BYTES]
                    await self._pace(way, len(piece))
                    await sink.send_all(piece)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await sink.aclose()

    async def _pace(self, way: str, size_bytes: int) -> None:
        if self.bytes_per_s:
            start_s = max(trio.current_time(), self._free_s[way])
            self._free_s[way] = start_s + size_bytes / self.bytes_per_s
            await trio.sleep_until(self._free_s[way])

    def _see_request(self, asked: list[str], line: str) -> None:
        if line.endswith("HTTP/1.1"):
            self.requests += 1
            asked[0] = line
            if self.on_request is not None:
                self.on_request(line)

    def _see_answer(self, asked: list[str], line: str) -> None:
        if line.startswith("HTTP/1.1") and self.on_answer is not None:
            self.on_answer(f"{asked[0]} -> {line}")


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


@asynccontextmanager
async def s3_proxy(target_port: int) -> AsyncIterator[S3Proxy]:
    proxy = S3Proxy(target_port)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1"))
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()
