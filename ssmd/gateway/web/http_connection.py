"""One connection that speaks HTTP/1.1: Hypercorn's protocol around the app, in a shell of ours.

The shell is ours because Hypercorn's own shields each send without a deadline, lets anybody switch to HTTP/2, and would
keep a WebSocket that begins on a used connection (as HTTP clients with a pool do).
"""

from collections.abc import Callable
from math import inf
from typing import Final

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.logging import Logger
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGISendCallable,
    ConnectionState,
    LifespanState,
    ResponseSummary,
    Scope,
    WWWScope,
)

from ssmd.clock import now_ns
from ssmd.gateway.answers import raw_answer
from ssmd.gateway.live.handshake import RequestHead
from ssmd.gateway.problems import Problem
from ssmd.gateway.web.doors import Doors, Guest
from ssmd.gateway.web.heads import CHUNK_BYTES, read_head, subscription
from ssmd.gateway.web.request_ids import request_id
from ssmd.gateway.web.transport import LINGER_S, Patience, Transport, end_writing
from ssmd.log import get_logger

App = ASGIFramework
MAX_HEAD_BYTES: Final = 16 << 10
REQUESTS_PER_CONNECTION: Final = 10_000


class _QuietLogger(Logger):
    """Hypercorn's words as our events. It knows of nothing but bugs of the app; requests are counted by the app."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._log = get_logger(actor="web")

    async def access(self, request: WWWScope, response: ResponseSummary, request_time: float) -> None:
        pass

    async def exception(self, message: str, *_args: object, **_words: object) -> None:
        self._log.error("answer_failed", detail=message, exc_info=True)


def http_config() -> Config:
    config = Config()
    config.errorlog = None
    config.logger_class = _QuietLogger
    config.h11_max_incomplete_size = MAX_HEAD_BYTES + CHUNK_BYTES  # we look at the head first
    config.include_server_header = False
    config.keep_alive_max_requests = REQUESTS_PER_CONNECTION
    return config


class _HttpOnly:
    """The app as Hypercorn calls it. A WebSocket gets here only when it is pipelined behind a request: refused."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., object],  # noqa: ARG002  # for apps that are not async
        call_soon: Callable[..., object],  # noqa: ARG002
    ) -> None:
        if scope["type"] == "http":
            await self._app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000, "reason": None})


class _Protocol(H11Protocol):
    async def _check_protocol(self, event: h11.Request) -> None:
        """Leave every offer of HTTP/2 unanswered."""

    @property
    def expects_request(self) -> bool:
        """Tell whether what comes next is the head of a request, maybe before the answer to the last one is out."""
        return self.connection.their_state in {h11.IDLE, h11.DONE}

    async def _send_error_response(self, status_code: int) -> None:
        """Say as problem+json what is no HTTP; the connection ends with it."""
        code = "head_too_large" if status_code == 431 else "bad_request"
        problem = Problem(code, "this is not a request that HTTP/1.1 allows")
        await self.send(RawData(raw_answer(problem, request_id(now_ns()))))


class HttpService:
    """What all HTTP connections share. `drain`: each ends after the request that it is serving."""

    def __init__(self, app: App, doors: Doors, patience: Patience) -> None:
        self.app = _HttpOnly(app)
        self.doors = doors
        self.patience = patience
        self.config = http_config()
        self.context = WorkerContext(None)

    async def drain(self) -> None:
        await self.context.terminated.set()


class HttpConnection:
    def __init__(self, service: HttpService, transport: Transport, guest: Guest) -> None:
        self._service = service
        self._patience = service.patience
        self._transport = transport
        self._guest = guest
        self._send_lock = trio.Lock()
        self._is_idle = True
        self._is_over = False
        self._over_at_s = 0.0
        self._turned = trio.Event()
        self._reading = trio.CancelScope()

    async def serve(self, received: bytes) -> RequestHead | None:
        """Serve requests, the first of which has been received, until the connection ends.

        Return the request for a WebSocket that ends HTTP on this connection, if one does.
        """
        async with TaskGroup() as group:
            self._protocol = self._new_protocol(group)
            await self._protocol.handle(RawData(received))
            while received := await self._receive():
                if self._is_over:
                    continue
                if self._protocol.expects_request and (head := subscription(received)) is not None:
                    return head
                await self._protocol.handle(RawData(received))
            await self._protocol.handle(Closed())
        return None

    def _new_protocol(self, group: TaskGroup) -> _Protocol:
        service, transport = self._service, self._transport
        state = ConnectionState(LifespanState())
        here = (service.app, service.config, service.context, group, state, transport.is_encrypted)
        return _Protocol(*here, transport.client, transport.server, self._on_event)

    async def _receive(self) -> bytes:
        """Return what came, all of a head when a new request begins; b"" when there is nothing to wait for."""
        try:
            with trio.CancelScope(deadline=self._deadline_s()) as self._reading:
                received = bytes(await self._transport.stream.receive_some(CHUNK_BYTES))
                if received and not self._is_over and self._protocol.expects_request:
                    received = await self._whole_head(received)
                return received
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        except Problem as problem:
            await self._send(raw_answer(problem, request_id(now_ns())))
        return b""

    async def _whole_head(self, received: bytes) -> bytes:
        """Finish the answer to the last request first: a fast client asks again before we have turned the page."""
        self._reading.deadline = inf
        await self._turned.wait()
        if self._is_over:
            return received
        self._reading.deadline = inf
        return await read_head(self._transport.stream, received, MAX_HEAD_BYTES, self._patience.head_s)

    def _deadline_s(self) -> float:
        if self._is_over:
            return self._over_at_s + LINGER_S
        return trio.current_time() + self._patience.idle_s if self._is_idle else inf

    async def _on_event(self, event: Event) -> None:
        if isinstance(event, RawData):
            await self._send(event.data)
        elif isinstance(event, Closed):
            await self._part()
        elif isinstance(event, Updated):
            self._turn(is_idle=event.idle)

    def _turn(self, *, is_idle: bool) -> None:
        self._is_idle = is_idle
        if is_idle:
            self._turned.set()
            self._service.doors.waits(self._guest)
        else:
            self._turned = trio.Event()
            self._service.doors.is_served(self._guest)
        self._reading.deadline = self._deadline_s()

    async def _part(self) -> None:
        """Everything is said. Read on for a moment: else the kernel takes back what the client has not read yet."""
        self._is_over, self._over_at_s = True, trio.current_time()
        self._turned.set()
        self._reading.deadline = self._deadline_s()
        await end_writing(self._transport.stream)
        await self._protocol.handle(Closed())

    async def _send(self, content: bytes) -> None:
        async with self._send_lock:
            try:
                with trio.fail_after(self._patience.send_s):
                    await self._transport.stream.send_all(content)
            except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                await trio.aclose_forcefully(self._transport.stream)
                await self._protocol.handle(Closed())
