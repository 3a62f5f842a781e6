"""Answers of history: rows with what is known of their quality."""

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, Self

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from ssmd.clock import NS_PER_S
from ssmd.gateway.access import Series
from ssmd.gateway.cursor import encode_cursor
from ssmd.gateway.formats.packing import Packer, packer
from ssmd.gateway.formats.writer import RowWriter, row_writer
from ssmd.gateway.history.catalog import Catalog, Resolved
from ssmd.gateway.history.estimate import Estimate, estimate
from ssmd.gateway.history.objects import NS_PER_DAY, days_of, list_day
from ssmd.gateway.history.page import Page, next_cursor, plan_of, read_newest, read_page, wanted
from ssmd.gateway.history.plan import Plan, Span
from ssmd.gateway.history.quality import Asked, LiveView, Quality, Window, quality_of
from ssmd.gateway.history.reader import Archive, MinuteReader
from ssmd.gateway.history.uncounted import Uncounted
from ssmd.gateway.problems import Problem
from ssmd.gateway.query import MAX_LIMIT, RowsQuery
from ssmd.gateway.times import rfc3339
from ssmd.model import Event, type_of
from ssmd.protocols.quality import worst

MAX_DOWNLOAD_NS: Final = 31 * NS_PER_DAY
MAX_JUDGED_NS: Final = 31 * NS_PER_DAY
"""A ledger record is read for each minute: more would be a long wait."""
NOT_JUDGED: Final = "not_judged"

CLOSED_AFTER_NS: Final = 3_600 * NS_PER_S
"""A range that ended so long ago does not change any more: what is wrong with a minute may become known an hour later."""

CHUNK_ROWS: Final = 1_000
CHUNK_BOOKS: Final = 250
"""A book is as large as twenty trades, and what a piece takes as Python objects the process keeps."""

Count = Callable[[Series, int], None]
"""Told how many rows of a series were handed out."""


class Answer(Struct, frozen=True):
    page: Page
    quality: Quality


class History:
    """Reads what a resolved request asks for. Raises Problem unavailable, StoreDown and BadRecord."""

    def __init__(self, archive: Archive, catalog: Catalog) -> None:
        self._archive = archive
        self._catalog = catalog
        self._uncounted = Uncounted(archive)
        self.blocking = archive.blocking

    async def page(self, query: RowsQuery, resolved: Resolved) -> Answer:
        if query.last is not None:
            page = await read_newest(self._archive, query, resolved)
        else:
            page = await read_page(self._archive, query, plan_of(query, resolved))
        return Answer(page, await self.quality(resolved, page.span))

    async def download(self, query: RowsQuery, resolved: Resolved, count: Count) -> "Download":
        """Prepare an answer without pages. Raises Problem range_too_large with an estimate."""
        if query.last is not None:
            answer = await self.page(query, resolved)
            rows = _Ready(answer.page.rows)
            plan = Plan(resolved.sources, resolved.series, answer.page.span)
            return Download(self._archive, query, (plan, rows, answer.quality), count)
        plan = plan_of(query, resolved)
        if query.limit is None or query.limit > MAX_LIMIT:
            await self._check_size(plan, resolved)
        quality = await self.quality(resolved, plan.span)
        reader = await MinuteReader.open(self._archive, plan)
        return Download(self._archive, query, (plan, _Read(reader, query), quality), count)

    async def estimate(self, resolved: Resolved, span: Span) -> Estimate:
        return await estimate(self._archive, resolved, span)

    async def quality(self, resolved: Resolved, span: Span) -> Quality:
        """Return what is known of a span; of a very long one only of its end."""
        now_ns = self._archive.now()
        judged = Span(max(span.from_ns, span.to_ns - MAX_JUDGED_NS), span.to_ns)
        asked = [
            Asked(
                source.feed,
                source.version,
                resolved.symbols(source.feed),
                source.durable is not None,
                await self._live_view(source.feed, judged),
                await self._uncounted.within(source, judged),
            )
            for source in resolved.sources
        ]
        quality = await quality_of(self._archive.store, asked, judged, now_ns)
        if judged == span:
            return quality
        rest = [Window(span.from_ns, judged.from_ns, one.feed, (), "unverifiable", NOT_JUDGED) for one in asked]
        status = worst([quality.status, "unverifiable"])
        return replace(quality, status=status, windows=(*rest, *quality.windows))

    def is_closed(self, span: Span) -> bool:
        return span.to_ns <= self._archive.now() - CLOSED_AFTER_NS

    async def fingerprint(self, query: RowsQuery, plan: Plan, quality: Quality) -> str:
        """Return what changes whenever the answer of a closed range would: what it is made of, and what it says."""
        prefixes = [(source.version, series) for source in plan.sources for series in sorted(plan.of(source.feed))]
        store = self._archive.store_of(plan.span)
        days = sorted(await days_of(store, prefixes, plan.span))
        listed = [
            (one.key.key, one.size_bytes)
            for day_ns in days
            for one in await list_day(store, prefixes, day_ns)
            if plan.span.from_ns - NS_PER_DAY < one.key.minute_ns < plan.span.to_ns
        ]
        asked = (query.digest, query.shape, query.start_ns, query.end_ns, query.limit, query.cursor)
        return blake2b(msgspec.json.encode((asked, sorted(listed), quality)), digest_size=16).hexdigest()

    async def _live_view(self, feed: str, span: Span) -> LiveView:
        if self.is_closed(span):
            return LiveView(is_heard=False)  # of no use for what is over
        return await self._catalog.feeds.live_view(feed)

    async def _check_size(self, plan: Plan, resolved: Resolved) -> None:
        if plan.span.to_ns - plan.span.from_ns <= MAX_DOWNLOAD_NS:
            return
        size = await self.estimate(resolved, plan.span)
        days = MAX_DOWNLOAD_NS // NS_PER_DAY
        raise Problem(
            "range_too_large",
            f"{rfc3339(plan.span.from_ns)} to {rfc3339(plan.span.to_ns)} is longer than {days} days: about {size.rows} rows",
            f"ask for {days} days at a time, or page through it as JSON",
            estimate=size,
        )


class _Ready:
    """Rows that were read already."""

    def __init__(self, rows: list[Event]) -> None:
        self._rows = rows

    async def next(self) -> list[Event] | None:
        await trio.lowlevel.checkpoint()
        rows, self._rows = self._rows, []
        return rows or None


class _Read:
    """Rows as they are read: the first ones at once, then in pieces of some size."""

    def __init__(self, reader: MinuteReader, query: RowsQuery) -> None:
        self._reader = reader
        self._query = query
        self._enough = 1

    async def next(self) -> list[Event] | None:
        rows: list[Event] = []
        while len(rows) < self._enough and (batch := await self._reader.next()) is not None:
            rows += wanted(self._query, batch.events)
        self._enough = CHUNK_BOOKS if self._query.type == "book" else CHUNK_ROWS
        return rows or None


class Download:
    """The body of an answer, piece by piece; nothing is open between two pieces, so it may be left at any time.

    A piece counts as handed out when the next one is asked for, and never more rows than are in it: a writer may hold
    some back. Parquet counts as a whole, since it cannot be read without its end.
    """

    def __init__(
        self, archive: Archive, query: RowsQuery, found: tuple[Plan, _Ready | _Read, Quality], count: Count
    ) -> None:
        self.plan, self._rows, self.quality = found
        self._archive = archive
        self._query = query
        self._count = count
        self._writer: RowWriter | None = None
        self._packer: Packer = packer(query.shape.compression)
        self._left = query.limit
        self._written: Counter[Series] = Counter()
        self._sent: Counter[Series] = Counter()
        self._next_cursor: str | None = None
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._account()
        if self._is_over:
            raise StopAsyncIteration
        while not (piece := await self._piece()) and not self._is_over:
            pass
        if self._is_over or self._query.shape.format != "parquet":
            self._sent, self._written = self._written, Counter()
        return piece

    def _account(self) -> None:
        for series, rows in self._sent.items():
            self._count(series, rows)
        self._sent = Counter()

    async def _piece(self) -> bytes:
        if self._writer is None:
            return await self._archive.blocking(self._begin)
        rows = None if self._left == 0 else await self._rows.next()
        if rows is None:
            self._is_over = True
            return await self._archive.blocking(self._end, self._writer)
        rows = self._within_limit(rows)
        self._written.update(Series(row.feed, self._query.type, row.symbol) for row in rows)
        return await self._archive.blocking(self._write, self._writer, rows)

    def _begin(self) -> bytes:
        self._writer = row_writer(self._query, self.quality)
        return self._packer.pack(self._writer.begin())

    def _write(self, writer: RowWriter, rows: list[Event]) -> bytes:
        return self._packer.pack(writer.rows(rows))

    def _end(self, writer: RowWriter) -> bytes:
        return self._packer.pack(writer.end(self._next_cursor)) + self._packer.finish()

    def _within_limit(self, rows: list[Event]) -> list[Event]:
        if self._left is None or len(rows) < self._left:
            self._left = None if self._left is None else self._left - len(rows)
            return rows
        rows = rows[: self._left]
        self._left = 0
        self._next_cursor = encode_cursor(next_cursor(self._query, self.plan, rows))
        return rows


def counted(rows: list[Event]) -> Counter[Series]:
    return Counter(Series(row.feed, type_of(row), row.symbol) for row in rows)
