"""Clients of the gateway that behave badly, many in one process: `python -m chaos.rabble PLAN.json`.

Each kind goes on until it is killed; a file says when all of them are at it, and another counts what they met.
"""

import os
import resource
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
import trio
import trio.lowlevel
from msgspec import Struct

TELL_EVERY_S = 0.5
SMALL_BYTES = 4_096
CONNECTS_AT_ONCE = 20
PER_ADDRESS = 150
"""Sockets from one address: below what one address may open in a burst."""

PING, PONG = b"\x89\x00", b"\x8a\x80" + bytes(4)

HEAD = (
    "GET /subscribe{query} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nX-API-Key: {key}\r\n"
    "X-Device-Id: {device}\r\n\r\n"
)


class Rabble(Struct, frozen=True):
    """So many clients of a kind (a key of KINDS), all with the key of one client that may read these symbols."""

    kind: str
    clients: int
    port: int
    key: str
    symbols: tuple[str, ...]
    folder: str


class Met(Counter[str]):
    """What the clients of this process have met so far."""


def masked(**command: object) -> bytes:
    """Return a text frame as a client sends it, with a mask of zeros."""
    payload = msgspec.json.encode(command)
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0x80 | 126)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


async def connected(plan: Rabble, number: int, receive_bytes: int = 0) -> trio.SocketStream:
    """Connect from an address of this machine that few others use."""
    opened = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_bytes:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    await opened.bind((f"127.0.1.{1 + number // PER_ADDRESS}", 0))
    await opened.connect(("127.0.0.1", plan.port))
    return trio.SocketStream(opened)


async def subscribed(plan: Rabble, number: int, receive_bytes: int = 0) -> trio.SocketStream:
    stream = await connected(plan, number, receive_bytes)
    query = f"?symbols={','.join(plan.symbols)}"
    await stream.send_all(HEAD.format(query=query, key=plan.key, device=f"{plan.kind}-{number}").encode())
    answer = await stream.receive_some(SMALL_BYTES)
    assert answer.startswith(b"HTTP/1.1 101"), answer[:200]
    return stream


async def read_slowly(plan: Rabble, number: int, met: Met) -> None:
    """Read a byte in a second."""
    stream = await subscribed(plan, number, SMALL_BYTES)
    met["ready"] += 1
    while await stream.receive_some(1):  # noqa: ASYNC110  this is what a slow reader is
        await trio.sleep(1)
    met["ended"] += 1


async def be_idle(plan: Rabble, number: int, met: Met) -> None:
    """Want nothing, hear heartbeats, and answer pings."""
    stream = await subscribed(plan, number)
    await stream.send_all(masked(op="unsubscribe", symbols=plan.symbols))
    met["ready"] += 1
    while heard := await stream.receive_some(SMALL_BYTES):
        met["heard"] += 1
        if PING in heard:
            await stream.send_all(PONG)
    met["ended"] += 1


async def say_hello_slowly(plan: Rabble, number: int, met: Met) -> None:
    """Send the head of a request byte by byte, and begin anew when told to go."""
    for attempt in count():
        stream = await connected(plan, number)
        met["ready"] += not attempt
        try:
            for letter in HEAD.encode():
                await stream.send_all(bytes((letter,)))
                await trio.sleep(1)
        except trio.BrokenResourceError:
            met["told_to_go"] += 1
        await trio.aclose_forcefully(stream)


async def storm(plan: Rabble, number: int, met: Met) -> None:
    """Subscribe and unsubscribe as fast as the socket takes it."""
    stream = await subscribed(plan, number)
    met["ready"] += 1

    async def read() -> None:
        while heard := await stream.receive_some(1 << 16):
            met["rate_limited"] += heard.count(b'"rate_limited"')

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for turn in count():
            op = "unsubscribe" if turn % 2 else "subscribe"
            await stream.send_all(masked(op=op, id=turn, symbols=[*plan.symbols, f"NO{turn}"]))


KINDS: dict[str, Callable[[Rabble, int, Met], Awaitable[None]]] = {
    "slow_readers": read_slowly,
    "idle": be_idle,
    "slow_handshakes": say_hello_slowly,
    "storm": storm,
}


async def main(plan: Rabble) -> None:
    met, places = Met(), trio.CapacityLimiter(CONNECTS_AT_ONCE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell, Path(plan.folder) / f"{plan.kind}.json", met)
        for number in range(plan.clients):
            async with places:  # a client at a time is enough to be many soon
                ready = met["ready"]
                nursery.start_soon(_survive, partial(KINDS[plan.kind], plan, number, met), met)
                with trio.move_on_after(1):
                    while met["ready"] + met["broken"] == ready:
                        await trio.lowlevel.checkpoint()


async def _survive(work: Callable[[], Awaitable[None]], met: Met) -> None:
    try:
        await work()
    except (trio.BrokenResourceError, OSError):
        met["broken"] += 1


async def tell(path: Path, met: Met) -> None:
    while True:
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(met))
        part.replace(path)
        await trio.sleep(TELL_EVERY_S)


if __name__ == "__main__":
    os.nice(19)  # these clients stand for other machines: they shall not take the processor from the gateway
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    trio.run(main, msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Rabble))
