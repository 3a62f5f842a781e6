"""/health, /health/ready and /metrics of a role, on a port of its own."""

import resource
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import h11
import msgspec
import trio
from msgspec import Struct

from ssmd import __version__, metrics
from ssmd.settings import OpsSettings
from ssmd.supervisor import HealthBoard

REQUEST_TIMEOUT_S: Final = 5.0
MAX_READ_BYTES: Final = 16 << 10


class ChildReport(Struct, frozen=True):
    path: str
    state: str
    restarts: int
    error: str | None
    since_s: float


class CheckReport(Struct, frozen=True):
    name: str
    ok: bool
    detail: str


class Health(Struct, frozen=True):
    """The answer of /health and /health/ready."""

    status: str
    role: str
    version: str
    ready: bool
    children: tuple[ChildReport, ...]
    checks: tuple[CheckReport, ...]


class OpsEndpoint:
    """Serves until drained. Being alive and being ready are two answers: an outage outside makes only the second no."""

    def __init__(
        self, role: str, settings: OpsSettings, board: HealthBoard, on_listening: Callable[[str], None]
    ) -> None:
        self._role = role
        self._settings = settings
        self._board = board
        self._on_listening = on_listening
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                serve = partial(trio.serve_tcp, self._serve, self._settings.port, host=self._settings.host)
                listeners = await nursery.start(serve)
                host, port = listeners[0].socket.getsockname()[:2]
                self._on_listening(f"http://{host}:{port}")
                task_status.started()

    def drain(self) -> None:
        self._scope.cancel()

    def health(self) -> Health:
        now_s = trio.current_time()
        children = tuple(
            ChildReport(child.path, child.state.value, child.restarts, child.error, round(now_s - child.since_s, 3))
            for child in self._board.snapshot()
        )
        checks = tuple(CheckReport(check.name, check.is_ok, check.detail) for check in self._board.checks())
        return Health("ok", self._role, __version__, self._board.ready, children, checks)

    async def _serve(self, stream: trio.SocketStream) -> None:
        with trio.move_on_after(REQUEST_TIMEOUT_S):
            try:
                await self._answer(stream)
            except (h11.RemoteProtocolError, trio.BrokenResourceError):
                return  # a scanner or a client that went away; nothing to tell anyone
            finally:
                await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_READ_BYTES)
        event = connection.next_event()
        while event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(MAX_READ_BYTES))
            event = connection.next_event()
        if not isinstance(event, h11.Request):
            return
        status, kind, body = self._route(event.method, event.target.partition(b"?")[0])
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")]
        head = connection.send(h11.Response(status_code=status, headers=headers)) or b""
        await stream.send_all(head + (b"" if event.method == b"HEAD" else body))
        await stream.send_eof()

    def _route(self, method: bytes, path: bytes) -> tuple[int, str, bytes]:
        if method not in {b"GET", b"HEAD"}:
            return 405, "text/plain", b"only GET is served here\n"
        if path == b"/metrics":
            observe_process()
            return 200, "text/plain; version=0.0.4; charset=utf-8", metrics.render()
        if path in {b"/health", b"/health/ready"}:
            health = self.health()
            ready = path == b"/health" or health.ready
            return (200 if ready else 503), "application/json", msgspec.json.encode(health) + b"\n"
        return 404, "text/plain", b"try /health, /health/ready or /metrics\n"


def observe_process() -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    metrics.CPU_SECONDS.set(usage.ru_utime + usage.ru_stime)
    metrics.RESIDENT_BYTES.set(resident_bytes())


def resident_bytes() -> int:
    """Return the memory of this process; 0 where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()
