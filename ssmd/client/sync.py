"""The client for notebooks and scripts: the same as AsyncClient, with nothing to await.

It runs in a thread of its own, so it works where a loop is running already, as in every notebook.
"""

import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal  # noqa: TID251  # asyncio or Trio, as the caller has it
from msgspec import Struct

from ssmd.client.aio import AsyncClient
from ssmd.client.asking import LiveOptions, ReplayOptions, RowOptions, Symbols
from ssmd.client.errors import Estimate, SsmdError
from ssmd.client.live import Subscription
from ssmd.client.messages import Message
from ssmd.client.pacing import Patience
from ssmd.client.place import DATA_DIR
from ssmd.client.result import Answer, AsyncResult
from ssmd.client.rows import Book, Coverage, EventType, Quality, Quote, Symbol, Trade, Window
from ssmd.client.times import Time

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

R = TypeVar("R", bound=Struct)
T = TypeVar("T")

SHOWN_ROWS: Final = 5


class Loop:
    """A thread with a loop in it, in which a client is open."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._close = weakref.finalize(self, self._stack.close)
        """When nobody has the client or a result of it any more, too."""

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what the work returns. Ctrl-C cancels it. Raises SsmdError when the client is closed."""
        future = self.portal.start_task_soon(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    @property
    def portal(self) -> BlockingPortal:
        if self.is_closed:
            raise SsmdError("this client is closed")
        if self._portal is None:
            self._portal = self._stack.enter_context(start_blocking_portal("asyncio", name="ssmd.client"))
            self._stack.enter_context(self._portal.wrap_async_context_manager(self._client))
        return self._portal

    @property
    def is_closed(self) -> bool:
        return not self._close.alive

    def close(self) -> None:
        self._close()


class Result(Generic[R]):
    """One answer, asked for once, when something of it is read."""

    def __init__(self, loop: Loop, pending: AsyncResult[R]) -> None:
        self._loop = loop
        self._pending = pending

    @property
    def _answer(self) -> Answer[R]:
        """What has come stays, also when the client is closed."""
        answer = self._pending.answer
        return self._loop.run(self._pending.load) if answer is None else answer

    @property
    def rows(self) -> list[R]:
        return self._answer.rows

    @property
    def quality(self) -> Quality | None:
        """What is known of the range; None for what has nothing to judge, such as symbols."""
        return self._answer.quality

    @property
    def version(self) -> str:
        return self._answer.version

    @property
    def request_id(self) -> str:
        return self._answer.request_id

    def to_arrow(self) -> "pa.Table":
        answer = self._pending.answer
        return self._loop.run(self._pending.to_arrow) if answer is None else answer.to_arrow()

    def to_polars(self) -> "pl.DataFrame":
        answer = self._pending.answer
        return self._loop.run(self._pending.to_polars) if answer is None else answer.to_polars()

    def to_pandas(self) -> "pd.DataFrame":
        answer = self._pending.answer
        return self._loop.run(self._pending.to_pandas) if answer is None else answer.to_pandas()

    def to_parquet(self, path: str | Path) -> Path:
        """Write a file, whole or not at all; rows that have not come yet go to disk as they come."""
        return self._loop.run(partial(self._pending.to_parquet, path))

    def __iter__(self) -> Iterator[R]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self._answer)

    def __repr__(self) -> str:
        return repr(self._pending)

    def __str__(self) -> str:
        """Return what came, and its first rows."""
        rows = self.rows[:SHOWN_ROWS]
        more = ["…"] if len(self) > SHOWN_ROWS else []
        return "\n".join([repr(self), *map(str, rows), *more])


class Live:
    """Messages as they come: iterate over it once."""

    def __init__(self, loop: Loop, pending: Subscription) -> None:
        self._loop = loop
        self._pending = pending

    def __iter__(self) -> Iterator[Message]:
        try:
            while batch := self._loop.run(self._pending.batch):
                yield from batch
        finally:
            self.close()

    def close(self) -> None:
        if not self._loop.is_closed:
            self._loop.run(self._pending.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Client:
    """The gateway, from a notebook: `client = Client()`; `with`, or `close()` at the end, if that matters.

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
    ) -> None:
        self._client = AsyncClient(gateway, api_key_file, data_dir=data_dir, patience=patience)
        self._loop = Loop(self._client)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._client.http.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every subscription and the thread; what has been read stays."""
        self._loop.close()

    # rows ----------------------------------------------------------------------------------------------------

    def trades(
        self, symbol: Symbols, start: Time | None = None, end: Time | None = None, **options: Unpack[RowOptions]
    ) -> Result[Trade]:
        """Ask for trades of a range, or for the `last` so many."""
        return Result(self._loop, self._client.trades(symbol, start, end, **options))

    def quotes(
        self, symbol: Symbols, start: Time | None = None, end: Time | None = None, **options: Unpack[RowOptions]
    ) -> Result[Quote]:
        """Ask for best bids and asks."""
        return Result(self._loop, self._client.quotes(symbol, start, end, **options))

    def books(
        self, symbol: Symbols, start: Time | None = None, end: Time | None = None, **options: Unpack[RowOptions]
    ) -> Result[Book]:
        """Ask for whole books, each as it was after a change."""
        return Result(self._loop, self._client.books(symbol, start, end, **options))

    def book(self, symbol: Symbols, at: Time = "now", **options: Unpack[RowOptions]) -> Result[Book]:
        """Ask for the book as it was at a moment: one row, or none."""
        return Result(self._loop, self._client.book(symbol, at, **options))

    # what there is -------------------------------------------------------------------------------------------

    def symbols(self, q: str = "", feed: str = "") -> Result[Symbol]:
        """Ask for the symbols that this key may read; q: those that look like it."""
        return Result(self._loop, self._client.symbols(q, feed))

    def gaps(
        self, symbol: Symbols = "", start: Time | None = None, end: Time | None = None, feed: str = ""
    ) -> Result[Window]:
        """Ask for what is missing or suspect in a range; without start, in a day."""
        return Result(self._loop, self._client.gaps(symbol, start, end, feed))

    def coverage(
        self, symbol: Symbols = "", start: Time | None = None, end: Time | None = None, feed: str = ""
    ) -> Result[Coverage]:
        """Ask from when to when there is something; quality is of the range."""
        return Result(self._loop, self._client.coverage(symbol, start, end, feed))

    def estimate(
        self,
        kind: EventType,
        symbol: Symbols,
        start: Time,
        end: Time | None = None,
        feed: str = "",
    ) -> Estimate:
        """Return about how much a range holds, before it is asked for."""
        return self._loop.run(partial(self._client.estimate, kind, symbol, start, end, feed))

    # live ----------------------------------------------------------------------------------------------------

    def subscribe(
        self,
        symbols: Symbols,
        types: Symbols = (),
        start: Time = "now",
        **options: Unpack[LiveOptions],
    ) -> Live:
        """Give messages as they come: `for message in …`. start: now, -5m, a time, or pos:N or id:ID (behind that message).

        See LiveOptions for the rest.
        """
        opened = partial(self._client.subscribe, symbols, types, start, **options)
        return Live(self._loop, self._loop.portal.call(opened))

    def replay(
        self,
        symbols: Symbols,
        start: Time,
        end: Time = "now",
        speed: float | str = "1x",
        **options: Unpack[ReplayOptions],
    ) -> Live:
        """Give the messages of a period as they came, at that pace or faster: `for message in …`, and it ends by itself.

        speed: how many times as fast, `10x` or 10; `max` is as fast as they are read. They have no `pos`.
        """
        opened = partial(self._client.replay, symbols, start, end, speed, **options)
        return Live(self._loop, self._loop.portal.call(opened))
