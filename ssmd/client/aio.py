"""The client for programs that run under asyncio or Trio."""

from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

import anyio  # noqa: TID251  # asyncio or Trio, as the caller has it
import httpx
import msgspec
from anyio.abc import TaskGroup  # noqa: TID251  # asyncio or Trio, as the caller has it
from msgspec import Struct
from msgspec.structs import replace

from ssmd.client import asking
from ssmd.client.asking import LiveOptions, ReplayOptions, RowOptions, Span, Symbols
from ssmd.client.course import Course, Wish
from ssmd.client.errors import Estimate, SsmdError
from ssmd.client.http import Http
from ssmd.client.live import Subscription, Way
from ssmd.client.pacing import Patience
from ssmd.client.place import DATA_DIR, find
from ssmd.client.replaying import Period, Replay
from ssmd.client.result import AsyncResult
from ssmd.client.rows import Book, Coverage, EventType, Quote, Symbol, Trade, Window
from ssmd.client.times import Time, time_text


class _Estimated(Struct, frozen=True):
    estimate: Estimate
    start: str
    end: str


class AsyncClient:
    """`async with AsyncClient() as client`. Every question is asked when its result is awaited or read.

    gateway: URL; else SSMD_GATEWAY, else the one that runs in data_dir. api_key_file: else SSMD_API_KEY_FILE, else the
    demo's. The file holds the key alone, or the header of curl's -H @FILE. Raises AuthError and Unavailable without.
    """

    def __init__(
        self,
        gateway: str = "",
        api_key_file: str | Path = "",
        *,
        data_dir: str | Path = DATA_DIR,
        patience: Patience = Patience(),  # noqa: B008  # frozen
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.http = Http(find(gateway, api_key_file, data_dir), patience, transport)
        self._group: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.http.url!r})"

    async def __aenter__(self) -> Self:
        await self.http.client.__aenter__()
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every subscription. What the block has raised comes out as it is, not in a group."""
        group, self._group = self._group, None
        if group is None:
            return
        group.cancel_scope.cancel()
        try:
            await group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as several:
            if error is None or several.exceptions != (error,):
                raise
        finally:
            with anyio.move_on_after(1, shield=True):
                await self.http.client.aclose()

    # rows ----------------------------------------------------------------------------------------------------

    def trades(
        self, symbol: Symbols, start: Time | None = None, end: Time | None = None, **options: Unpack[RowOptions]
    ) -> AsyncResult[Trade]:
        """Ask for trades of a range, or for the `last` so many."""
        return AsyncResult(self.http, asking.events(Trade, symbol, Span(start, end), options))

    def quotes(
        self, symbol: Symbols, start: Time | None = None, end: Time | None = None, **options: Unpack[RowOptions]
    ) -> AsyncResult[Quote]:
        """Ask for best bids and asks."""
        return AsyncResult(self.http, asking.events(Quote, symbol, Span(start, end), options))

    def books(
        self, symbol: Symbols, start: Time | None = None, end: Time | None = None, **options: Unpack[RowOptions]
    ) -> AsyncResult[Book]:
        """Ask for whole books, each as it was after a change."""
        return AsyncResult(self.http, asking.events(Book, symbol, Span(start, end), options))

    def book(self, symbol: Symbols, at: Time = "now", **options: Unpack[RowOptions]) -> AsyncResult[Book]:
        """Ask for the book as it was at a moment: one row, or none."""
        return AsyncResult(self.http, asking.book(symbol, at, options))

    # what there is -------------------------------------------------------------------------------------------

    def symbols(self, q: str = "", feed: str = "") -> AsyncResult[Symbol]:
        """Ask for the symbols that this key may read; q: those that look like it."""
        return AsyncResult(self.http, asking.symbols(q, feed))

    def gaps(
        self, symbol: Symbols = "", start: Time | None = None, end: Time | None = None, feed: str = ""
    ) -> AsyncResult[Window]:
        """Ask for what is missing or suspect in a range; without start, in a day."""
        return AsyncResult(self.http, asking.gaps(symbol, Span(start, end), feed))

    def coverage(
        self, symbol: Symbols = "", start: Time | None = None, end: Time | None = None, feed: str = ""
    ) -> AsyncResult[Coverage]:
        """Ask from when to when there is something; quality is of the range."""
        return AsyncResult(self.http, asking.coverage(symbol, Span(start, end), feed))

    async def estimate(
        self,
        kind: EventType,
        symbol: Symbols,
        start: Time,
        end: Time | None = None,
        feed: str = "",
    ) -> Estimate:
        """Return about how much a range holds, before it is asked for."""
        query = asking.estimate(kind, symbol, Span(start, end), feed)
        answer = msgspec.json.decode((await self.http.get("/api/v1/estimate", query)).content, type=_Estimated)
        return replace(answer.estimate, start=answer.start, end=answer.end)

    # live ----------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        symbols: Symbols,
        types: Symbols = (),
        start: Time = "now",
        **options: Unpack[LiveOptions],
    ) -> Subscription:
        """Give messages as they come: `async for`. start: now, -5m, a time, or pos:N or id:ID (behind that message).

        See LiveOptions for the rest.
        """
        wish = Wish(asking.listed(symbols), asking.listed(types), start=time_text(start), **options)
        return self._subscription(Course(wish))

    def replay(
        self,
        symbols: Symbols,
        start: Time,
        end: Time = "now",
        speed: float | str = "1x",
        **options: Unpack[ReplayOptions],
    ) -> Subscription:
        """Give the messages of a period as they came, at that pace or faster: `async for`, and it ends by itself.

        speed: how many times as fast, `10x` or 10; `max` is as fast as they are read. They have no `pos`.
        """
        pace = speed if isinstance(speed, str) else f"{speed:g}x"
        types = asking.listed(options.get("types", ()))
        period = Period(asking.listed(symbols), time_text(start), time_text(end), types, options.get("feed", ""), pace)
        return self._subscription(Replay(period))

    def _subscription(self, way: Way) -> Subscription:
        if self._group is None:
            raise SsmdError("this client is not open", "async with AsyncClient() as client: …")
        return Subscription(self.http, way, self._group)
