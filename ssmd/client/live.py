"""A subscription: a task that keeps a connection, and an iterator that reads what it brings."""

import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

import anyio.lowlevel  # noqa: TID251  # asyncio or Trio, as the caller has it
import httpx
from anyio.abc import TaskGroup  # noqa: TID251  # asyncio or Trio, as the caller has it
from anyio.streams.memory import MemoryObjectSendStream  # noqa: TID251  # asyncio or Trio, as the caller has it

from ssmd.client.course import Again, Over
from ssmd.client.errors import AuthError, Problem, RateLimited, SsmdError, Unavailable, answer_error
from ssmd.client.http import Http
from ssmd.client.messages import Heard, Message, parse
from ssmd.client.rows import Event
from ssmd.client.tables import need

if TYPE_CHECKING:
    import httpx_ws

E = TypeVar("E", bound=Exception)

SILENT_S: Final = 15.0
"""The gateway says something every 5 s; after this long, the connection is dead."""
BUFFER_MESSAGES: Final = 1_000
BATCH_MESSAGES: Final = 500
MAX_MESSAGE_BYTES: Final = 8 << 20
OVERLOADED_WAIT_S: Final = 1.0

NOT_UNDERSTOOD: Final = 4400
BAD_KEY: Final = 4401
REVOKED: Final = 4403
TOO_MANY: Final = 4429
OVERLOADED: Final = 1013


class Way(Protocol):
    """What is asked for over any number of connections, and what the reader gets: what is live, or a replay."""

    has_begun: bool

    def query(self) -> dict[str, str]: ...
    def command(self) -> str: ...
    def lose(self, why: str) -> Iterator[Message]: ...
    def take(self, heard: Heard) -> Iterator[Message]: ...


class Subscription:
    """Messages as they come. It reconnects by itself and goes on where it was; what it cannot mend it says as a message.

    Iterate over it once. Ends with SsmdError when no other connection would help: the key is gone, or no symbol is left.
    One that is live has no other end; a replay ends where its period does.
    """

    def __init__(self, http: Http, course: Way, group: TaskGroup) -> None:
        # named here, not in the task: whoever asks must learn of it
        need("httpx_ws", "subscribe")
        send, self._receive = anyio.create_memory_object_stream[Message](BUFFER_MESSAGES)
        self._keeper = Keeper(http, course, send)
        # who stops reading without a word closes it too; the task ends with the next message
        self._forget = weakref.finalize(self, self._receive.close)
        group.start_soon(self._keeper.run)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self._receive.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            raise self._keeper.error or StopAsyncIteration from None

    async def batch(self) -> list[Message]:
        """Return what has come, at least one message; none at the end."""
        try:
            batch = [await anext(self)]
        except StopAsyncIteration:
            return []
        while len(batch) < BATCH_MESSAGES:
            try:
                batch.append(self._receive.receive_nowait())
            except (anyio.WouldBlock, anyio.EndOfStream, anyio.ClosedResourceError):
                break
        return batch

    async def aclose(self) -> None:
        self._keeper.scope.cancel()
        self._forget()
        await anyio.lowlevel.checkpoint()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Keeper:
    """Connects, again and again, and hands on what comes."""

    def __init__(self, http: Http, course: Way, out: MemoryObjectSendStream[Message]) -> None:
        self.error: SsmdError | None = None
        self.scope = anyio.CancelScope()
        self._http = http
        self._course = course
        self._out = out
        self._failures = 0

    async def run(self) -> None:
        with self.scope, self._out:
            try:
                while True:
                    await self._pause(await self._connection())
            except SsmdError as error:
                self.error = error
            except (Over, anyio.BrokenResourceError):
                pass  # nobody reads any more, or there is nothing more to read

    async def _pause(self, ended: Again) -> None:
        """Wait for the time until the next connection. Raises Unavailable when there has been none for too long."""
        self._failures += 1
        patience = self._http.patience
        if not self._course.has_begun and self._failures >= patience.tries:
            away = Unavailable(f"the gateway at {self._http.url} gives no live data: {ended}", "is it ready?")
            raise ended.error or away
        await self._say(self._course.lose(str(ended)))
        await anyio.sleep(patience.wait_s(self._failures, ended.retry_after_s))

    async def _connection(self) -> Again:
        """Have one connection from its beginning to its end, and return why it ended.

        Raises SsmdError when no other one would help, Over at the end, BrokenResourceError when nobody reads.
        """
        import httpx_ws  # noqa: PLC0415  # an extra
        from wsproto.utilities import ProtocolError  # noqa: PLC0415  # comes with it

        ended: Exception = Again("the connection broke")
        connection: httpx_ws.AsyncWebSocketSession
        try:
            async with httpx_ws.aconnect_ws(
                "/subscribe",
                self._http.client,
                params=self._course.query(),
                max_message_size_bytes=MAX_MESSAGE_BYTES,
                keepalive_ping_interval_seconds=None,  # the gateway's heartbeat tells as much
            ) as connection:
                ended = await self._listened(connection)
        except* httpx_ws.WebSocketUpgradeError as refused:
            ended = _refused(first_of(refused).response)
        except* httpx.RequestError as broken:
            ended = Again(str(self._http.away(first_of(broken))))
        except* (httpx_ws.HTTPXWSException, ProtocolError) as broken:
            ended = Again(f"the connection broke {first_of(broken)}".strip())
        if isinstance(ended, RateLimited) and self._course.has_begun:  # by the connection before, that is not gone yet
            return Again(str(ended), ended.retry_after_s)
        if isinstance(ended, Again):
            return ended
        raise ended

    async def _listened(self, connection: "httpx_ws.AsyncWebSocketSession") -> Exception:
        """Return what ends the connection: inside of it, whatever is raised comes out as a group."""
        try:
            return await self._listen(connection)
        except (Again, Over, SsmdError, anyio.BrokenResourceError) as end:
            return end

    async def _listen(self, connection: "httpx_ws.AsyncWebSocketSession") -> Exception:
        import httpx_ws  # noqa: PLC0415  # an extra

        command = self._course.command()
        while True:
            try:
                if command:
                    await connection.send_text(command)
                    command = ""
                text = await connection.receive_text(SILENT_S)
            except httpx_ws.WebSocketDisconnect as closed:
                return closed_as(closed.code, closed.reason or "")
            except TimeoutError:
                return Again(f"nothing came for {SILENT_S:g} s")
            heard = parse(text)
            if heard is not None:
                await self._say(self._course.take(heard))
                self._failures = 0 if isinstance(heard, Event) else self._failures

    async def _say(self, messages: Iterable[Message]) -> None:
        for message in messages:
            await self._out.send(message)


def closed_as(code: int, reason: str) -> Exception:
    """Return what a close means: an error when no other connection would help, else Again."""
    what = reason or f"closed with {code}"
    if code in {BAD_KEY, REVOKED}:
        return AuthError(what)
    if code == NOT_UNDERSTOOD:
        return SsmdError(what)
    if code == TOO_MANY:
        return RateLimited(Problem("rate_limited", what))
    return Again(what, OVERLOADED_WAIT_S if code == OVERLOADED else None)


def _refused(response: httpx.Response) -> Exception:
    """Return what it means that there was no upgrade."""
    error = answer_error(response.status_code, response.content, response.headers.get("retry-after", ""))
    is_passing = isinstance(error, (RateLimited, Unavailable))
    return Again(str(error), error.problem.retry_after_s, error) if is_passing else error


def first_of(group: BaseExceptionGroup[E]) -> E:
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
