"""What writes an answer in a format."""

from typing import Protocol

from ssmd.gateway.formats.text import CsvWriter, NdjsonWriter
from ssmd.gateway.history.quality import Quality
from ssmd.gateway.query import FormatName, RowsQuery
from ssmd.model import Event

MEDIA_TYPE: dict[FormatName, str] = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
    "parquet": "application/vnd.apache.parquet",
}


class RowWriter(Protocol):
    """Writes one answer piece by piece. Pieces may be empty; CPU work only, so that it may run in a thread."""

    def begin(self) -> bytes: ...

    def rows(self, events: list[Event]) -> bytes: ...

    def end(self, next_cursor: str | None) -> bytes:
        """Finish; next_cursor: where the rest of it is when a limit has cut it."""
        ...


def row_writer(query: RowsQuery, quality: Quality) -> RowWriter:
    """Return what writes an answer that is no page of JSON. Each carries the quality in its own way."""
    match query.shape.format:
        case "csv":
            return CsvWriter(query.type, query.shape)
        case "arrow":
            from ssmd.gateway.formats.tables import ArrowWriter  # noqa: PLC0415  pyarrow takes 40 MB

            return ArrowWriter(query.type, query.shape, quality)
        case "parquet":
            from ssmd.gateway.formats.tables import ParquetWriter  # noqa: PLC0415  pyarrow takes 40 MB

            return ParquetWriter(query.type, query.shape, quality)
        case _:
            return NdjsonWriter(query.type, query.shape, quality)
