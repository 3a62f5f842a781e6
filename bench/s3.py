"""A real S3 server as far away as one in another house: a SeaweedFS behind a proxy that holds up and counts requests.

The proxy is a process of its own, so that what it costs is not counted as ours.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
import trio
from msgspec import Struct

from chaos.s3_proxy import s3_proxy
from chaos.s3_servers import KEY_ID, SECRET, SeaweedFS, why_absent
from ssmd.settings import StorageSettings
from ssmd.store.objects import ObjectStore
from ssmd.store.s3 import s3_store
from ssmd.store.s3_access import s3_access

DELAY_MS = 25
BUCKET = "ssmd-bench"
METHODS = ("LIST", "GET", "HEAD")


class FarServer(Struct, frozen=True):
    """near_port: the server itself. far_port: the same behind the delay. counts_port: tells what was asked there."""

    near_port: int
    far_port: int
    counts_port: int

    def near(self) -> ObjectStore:
        return _store(self.near_port)

    def far(self) -> ObjectStore:
        return _store(self.far_port)

    async def counts(self) -> Mapping[str, int]:
        """Return how many requests came so far, by method; a listing is a GET on the wire and counts as LIST."""
        async with await trio.open_tcp_stream("127.0.0.1", self.counts_port) as stream:
            return msgspec.json.decode(b"".join([piece async for piece in stream]), type=dict[str, int])


@contextmanager
def far_server(folder: Path) -> Iterator[FarServer]:
    """Run a server and the proxy before it; both end with the block."""
    if reason := why_absent("seaweedfs"):
        sys.exit(f"no S3 server here: {reason}")
    server = SeaweedFS(folder / "weed").start()
    try:
        near_port = int(server.settings.endpoint.rpartition(":")[2])
        argv = [sys.executable, "-m", "bench.s3", str(near_port)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as proxy:
            try:
                assert proxy.stdout is not None
                far_port, counts_port = map(int, proxy.stdout.readline().split())
                yield FarServer(near_port, far_port, counts_port)
            finally:
                proxy.kill()
    finally:
        server.kill()


def _store(port: int) -> ObjectStore:
    settings = StorageSettings(f"http://127.0.0.1:{port}", "garage", KEY_ID, SECRET)
    return s3_store(s3_access(settings), BUCKET)


async def serve(near_port: int) -> None:
    """Hold up what comes; print the ports."""
    counts: Counter[str] = Counter()

    def count(line: str) -> None:
        method, path, _ = line.split(" ", 2)
        counts["LIST" if "list-type=" in path else method] += 1

    async def tell(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(msgspec.json.encode(counts))

    async with s3_proxy(near_port) as proxy, trio.open_nursery() as nursery:
        proxy.on_request, proxy.delay_s = count, DELAY_MS / 1000
        listeners = await nursery.start(partial(trio.serve_tcp, tell, 0, host="127.0.0.1"))
        print(proxy.port, listeners[0].socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(serve, int(sys.argv[1]))
