"""What an answer becomes: one request, made when it is needed, and everything that is read from it."""

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio  # noqa: TID251  # asyncio or Trio, as the caller has it
import msgspec
from msgspec import Struct

from ssmd.client import ends, tables
from ssmd.client.asking import Question
from ssmd.client.download import download
from ssmd.client.http import Http, Query
from ssmd.client.rows import Quality, joined

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

R = TypeVar("R", bound=Struct)

REQUEST_ID: Final = "X-Request-Id"
PAGE_ROWS: Final = 10_000
"""What the gateway gives at most as one piece of JSON."""


class _Page(Struct, Generic[R], frozen=True):
    data: tuple[R, ...]
    request_id: str = ""
    next_cursor: str | None = None
    quality: Quality | None = None


def _check_ndjson(body: bytes) -> None:
    ends.split_ndjson(body)


class Answer(Generic[R]):
    """Rows that have come, with what is known of them. quality is None where there is nothing to judge."""

    def __init__(
        self, question: Question[R], content: "list[R] | pa.Table", request_id: str, quality: Quality | None
    ) -> None:
        self._question = question
        self._rows = content if isinstance(content, list) else None
        self._table = None if isinstance(content, list) else content
        self.request_id = request_id
        self.quality = quality

    @property
    def version(self) -> str:
        """Of the normalizer that made the rows."""
        return self.quality.version if self.quality is not None else ""

    @property
    def rows(self) -> list[R]:
        if self._rows is None:
            self._rows = tables.rows_of(self._table, self._question.kind)
        return self._rows

    def to_arrow(self) -> "pa.Table":
        """Times are timestamps with nanoseconds; the quality stands in the schema's metadata as `ssmd.quality`."""
        if self._table is None:
            self._table = tables.table_of(self.rows, self._question.kind, self.quality, "to_arrow")
        return self._table

    def to_polars(self) -> "pl.DataFrame":
        polars = tables.need("polars", "to_polars")
        return polars.from_arrow(self.to_arrow())

    def to_pandas(self) -> "pd.DataFrame":
        tables.need("pandas", "to_pandas")
        return self.to_arrow().to_pandas()

    def to_parquet(self, path: str | Path) -> Path:
        parquet = tables.need("pyarrow.parquet", "to_parquet")
        parquet.write_table(self.to_arrow(), path, compression="zstd")
        return Path(path)

    def __len__(self) -> int:
        return len(self.rows) if self._table is None else int(self._table.num_rows)

    def __repr__(self) -> str:
        quality = f", quality {self.quality.status}" if self.quality is not None else ""
        return f"<{self._question}: {len(self):,} rows{quality}>"


class AsyncResult(Generic[R]):
    """One answer, asked for once, when it is needed: `await` it, or one of its methods.

    Its rows come as NDJSON; as Arrow, which is smaller and faster, when a table is what is asked for first.
    """

    def __init__(self, http: Http, question: Question[R]) -> None:
        self.question = question
        self.answer: Answer[R] | None = None
        self._http = http
        self._lock = anyio.Lock()

    def __repr__(self) -> str:
        """Never asks: debuggers and logs call it."""
        return f"<{self.question}: not asked yet>" if self.answer is None else repr(self.answer)

    def __await__(self) -> Generator[None, None, Answer[R]]:
        return self.load().__await__()

    async def load(self, *, as_table: bool = False) -> Answer[R]:
        async with self._lock:
            if self.answer is None:
                self.answer = await self._ask(as_table=as_table)
        return self.answer

    async def to_arrow(self) -> "pa.Table":
        tables.need("pyarrow", "to_arrow")
        return (await self.load(as_table=True)).to_arrow()

    async def to_polars(self) -> "pl.DataFrame":
        tables.need("polars", "to_polars")
        tables.need("pyarrow", "to_polars")
        return (await self.load(as_table=True)).to_polars()

    async def to_pandas(self) -> "pd.DataFrame":
        tables.need("pandas", "to_pandas")
        tables.need("pyarrow", "to_pandas")
        return (await self.load(as_table=True)).to_pandas()

    async def to_parquet(self, path: str | Path) -> Path:
        """Write a file, whole or not at all. What has not come yet goes to disk as it comes, whatever its size."""
        if self.answer is not None or self.question.is_listing:
            return (await self.load()).to_parquet(path)
        await self._http.again(partial(download, self._http, self.question, "parquet", Path(path)))
        return Path(path)

    async def _ask(self, *, as_table: bool) -> Answer[R]:
        if as_table and not self.question.is_listing:
            return await self._table()
        limit = self.question.query.get("limit")
        if isinstance(limit, int):
            return await self._pages(limit)
        return await (self._page() if self.question.is_listing else self._rows())

    async def _page(self) -> Answer[R]:
        page = await self._read_page(self.question.query)
        return Answer(self.question, list(page.data), page.request_id, page.quality)

    async def _pages(self, limit: int) -> Answer[R]:
        """Follow the pages until there are enough rows: a page may be empty, and of any part of a long range."""
        rows: list[R] = []
        judged: list[Quality] = []
        query: Query = {**self.question.query, "limit": min(limit, PAGE_ROWS)}
        while True:
            page = await self._read_page(query)
            rows += page.data
            judged += [page.quality] if page.quality is not None else []
            if page.next_cursor is None or len(rows) >= limit:
                return Answer(self.question, rows, page.request_id, joined(judged))
            kept = {name: value for name, value in query.items() if name not in {"start", "end"}}
            query = {**kept, "limit": min(limit - len(rows), PAGE_ROWS), "cursor": page.next_cursor}

    async def _read_page(self, query: Query) -> _Page[R]:
        response = await self._http.get(self.question.path, query)
        page: _Page[R] = msgspec.json.decode(response.content, type=_Page[self.question.kind])  # type: ignore[name-defined]
        return page

    async def _rows(self) -> Answer[R]:
        query = {**self.question.query, "format": "ndjson"}
        response = await self._http.get(self.question.path, query, _check_ndjson)
        lines, end = ends.split_ndjson(response.content)
        rows: list[R] = msgspec.json.Decoder(self.question.kind).decode_lines(lines)
        return Answer(self.question, rows, response.headers.get(REQUEST_ID, ""), end.quality)

    async def _table(self) -> Answer[R]:
        query = {**self.question.query, "format": "arrow"}
        response = await self._http.get(self.question.path, query, ends.arrow_end)
        table, quality = tables.read_arrow(response.content, "to_arrow")
        return Answer(self.question, table, response.headers.get(REQUEST_ID, ""), quality)
