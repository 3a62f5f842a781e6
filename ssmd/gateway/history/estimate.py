"""How large an answer would be, from the sizes of the objects and a few of them looked into."""

from collections.abc import Sequence
from typing import Final, TypeVar

from msgspec import Struct

from ssmd.archive.together import together
from ssmd.codec import packing
from ssmd.gateway.access import Series
from ssmd.gateway.history.catalog import Resolved
from ssmd.gateway.history.objects import NS_PER_DAY, StoredObject, days_of, list_day
from ssmd.gateway.history.plan import Span
from ssmd.gateway.history.reader import Archive

T = TypeVar("T")

SAMPLED_DAYS: Final = 8
SAMPLED_OBJECTS: Final = 8
NDJSON_BYTES_PER_ROW: Final = {"trade": 290, "quote": 290, "book": 900}
"""Measured; of a book with ten levels a side."""


class Estimate(Struct, frozen=True):
    """rows: counted from a sample. stored_bytes: compressed, in the archive. ndjson_bytes: before compression.

    What the stream alone has, the last minute or so, is not in it.
    """

    rows: int
    stored_bytes: int
    ndjson_bytes: int
    objects: int


async def estimate(archive: Archive, resolved: Resolved, span: Span) -> Estimate:
    """Return about how much there is. Reads a few objects, whatever the range. Raises StoreDown."""
    versions = {source.feed: source.version for source in resolved.sources}
    prefixes = [(versions[series.feed], series) for series in sorted(resolved.series)]
    store = archive.store_of(span)
    days = sorted(await days_of(store, prefixes, span))
    sampled = _spread(days, SAMPLED_DAYS)
    listed = [one for day_ns in sampled for one in await list_day(store, prefixes, day_ns)]
    objects = [one for one in listed if one.key.minute_ns in span]
    share = _covered_ns(days, span) / max(1, _covered_ns(sampled, span))
    rows = stored_bytes = ndjson_bytes = 0.0
    for series in sorted(resolved.series):
        own = [one for one in objects if Series(one.key.feed, one.key.type, one.key.symbol) == series]
        size_bytes = sum(one.size_bytes for one in own) * share
        own_rows = size_bytes * await _rows_per_byte(archive, own, len(resolved.series))
        stored_bytes, rows = stored_bytes + size_bytes, rows + own_rows
        ndjson_bytes += own_rows * NDJSON_BYTES_PER_ROW[series.type]
    return Estimate(round(rows), round(stored_bytes), round(ndjson_bytes), round(len(objects) * share))


async def _rows_per_byte(archive: Archive, objects: Sequence[StoredObject], series: int) -> float:
    sample = _spread(objects, max(1, SAMPLED_OBJECTS // series))

    async def count(one: StoredObject) -> int:
        body = await archive.store.read(one.key.key, one.size_bytes)
        return 0 if body is None else len(await archive.blocking(packing.unpack, one.key.type, body))

    rows = sum(await together(count, sample))
    return rows / max(1, sum(one.size_bytes for one in sample))


def _spread(values: Sequence[T], count: int) -> list[T]:
    """Return so many of the values, evenly spread."""
    if len(values) <= count:
        return list(values)
    return [values[number * len(values) // count] for number in range(count)]


def _covered_ns(days: Sequence[int], span: Span) -> int:
    return sum(min(day_ns + NS_PER_DAY, span.to_ns) - max(day_ns, span.from_ns) for day_ns in days)
