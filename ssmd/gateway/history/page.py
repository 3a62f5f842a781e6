"""One answer of bounded length: a page of a range, or the newest rows before a moment."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ssmd.clock import NS_PER_S
from ssmd.gateway.cursor import Cursor
from ssmd.gateway.history.catalog import Resolved
from ssmd.gateway.history.objects import NS_PER_DAY
from ssmd.gateway.history.plan import Key, Plan, Span, key_of
from ssmd.gateway.history.reader import Archive, MinuteReader
from ssmd.gateway.query import RowsQuery
from ssmd.model import Event

PAGE_NS: Final = 2 * NS_PER_DAY
"""A page looks through so much time at most: what is known of it is part of the answer. It may have fewer rows, then."""

BEFORE_NS: Final = 60 * NS_PER_S
BEHIND_NS: Final = 600 * NS_PER_S
"""How much earlier and later than by the exchange's time something may have been received (clock=exchange)."""

LATE_NS: Final = 10 * NS_PER_S
"""How much later than another feed's events a feed's own may become known. Pages of several feeds look back so far."""


class Page(Struct, frozen=True):
    """rows: in order. span: the receive times that they were looked for in. next: where the next page begins."""

    rows: list[Event]
    span: Span
    next: Cursor | None = None


def plan_of(query: RowsQuery, resolved: Resolved) -> Plan:
    """Return what a range, or what is left of it behind the cursor, is read from."""
    span = Span(query.start_ns, query.end_ns)
    if query.clock == "exchange" and query.cursor is None:
        span = Span(max(0, span.from_ns - BEFORE_NS), span.to_ns + BEHIND_NS)
    after: dict[str, Key] = dict(query.cursor.after) if query.cursor is not None else {}
    return Plan(resolved.sources, resolved.series, span, after)


async def read_page(archive: Archive, query: RowsQuery, plan: Plan) -> Page:
    """Return the next rows of a range, `limit` at most."""
    limit = query.limit or 0
    end_ns = min(plan.span.to_ns, plan.span.from_ns + PAGE_NS)
    looked = replace(plan, span=Span(plan.span.from_ns, end_ns))
    reader = await MinuteReader.open(archive, looked)
    rows: list[Event] = []
    while len(rows) <= limit and (batch := await reader.next()) is not None:
        rows += wanted(query, batch.events)
    if len(rows) > limit:
        rows = rows[:limit]
        return Page(rows, Span(plan.span.from_ns, rows[-1].recv_ns + 1), next_cursor(query, plan, rows))
    if end_ns < plan.span.to_ns:
        return Page(rows, looked.span, cursor_at(query, plan, end_ns))
    return Page(rows, looked.span)


async def read_newest(archive: Archive, query: RowsQuery, resolved: Resolved) -> Page:
    """Return the `last` newest rows before the end."""
    count = query.last or 0
    plan = Plan(resolved.sources, resolved.series, Span(0, query.end_ns), newest_first=True)
    reader = await MinuteReader.open(archive, plan)
    minutes: dict[int, deque[Event]] = {}
    while (batch := await reader.next()) is not None:
        if batch.minute_ns not in minutes and sum(len(minute) for minute in minutes.values()) >= count:
            break
        minutes.setdefault(batch.minute_ns, deque(maxlen=count)).extend(batch.events)
    rows = [event for minute_ns in sorted(minutes) for event in minutes[minute_ns]][-count:]
    from_ns = rows[0].recv_ns if rows else max(0, query.end_ns - NS_PER_DAY)
    return Page(rows, Span(from_ns, query.end_ns))


def wanted(query: RowsQuery, events: list[Event]) -> list[Event]:
    """Return the events that the range is about, if it is about the exchange's time."""
    if query.clock == "receive":
        return events
    first_ns, end_ns = query.exchange_span
    return [event for event in events if first_ns <= event.timestamp_ns < end_ns]


def next_cursor(query: RowsQuery, plan: Plan, rows: Sequence[Event]) -> Cursor:
    """Return where the rest begins: by feed behind the last row that was handed out.

    Of a feed whose last row is long ago, everything up to shortly before the last row of all was looked through.
    """
    last = {row.feed: key_of(row) for row in rows}
    seen: Key = (max(0, rows[-1].recv_ns - LATE_NS), "", -1, -1)
    after = {
        source.feed: max(last.get(source.feed, seen), plan.after.get(source.feed, seen), seen)
        for source in plan.sources
    }
    from_ns = max(plan.span.from_ns, min(key[0] for key in after.values()))
    return _cursor(query, plan, from_ns, after)


def cursor_at(query: RowsQuery, plan: Plan, from_ns: int) -> Cursor:
    return _cursor(query, plan, from_ns, {})


def _cursor(query: RowsQuery, plan: Plan, from_ns: int, after: dict[str, Key]) -> Cursor:
    versions = {source.feed: source.version for source in plan.sources}
    exchange = query.exchange_span if query.clock == "exchange" else None
    return Cursor(query.digest, from_ns, plan.span.to_ns, after, versions, exchange)
