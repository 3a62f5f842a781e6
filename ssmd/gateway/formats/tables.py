"""Rows as Arrow and Parquet. Only answers that need it load this module: pyarrow takes 40 MB.

Columns are made of their bytes. `pa.array` of a list would do it too, but looks whether the list is one of pandas', and
loads pandas for that where it is installed: 50 MB more.
"""

import os
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Any, Final

os.putenv("ARROW_DEFAULT_MEMORY_POOL", "system")  # its own allocator keeps 35 MB for ever; it is chosen at the import

import pyarrow as pa
import pyarrow.parquet as pq

from ssmd.gateway.formats.rows import Column, columns_of, cut_depth
from ssmd.gateway.history.quality import Quality, quality_json
from ssmd.gateway.query import Shape
from ssmd.model import Event, EventType, Level, message_id

BATCH_ROWS: Final = 2_048
BATCH_BOOKS: Final = 256
"""A book is as large as twenty trades, and rows wait as Python objects, ten times as large as in a column."""
GROUP_BYTES: Final = 2 << 20
"""Of a row group of Parquet, before compression."""
PAGE_BYTES: Final = 64 << 10
PAGE_ROWS: Final = 256
"""Looked at after so many rows. Pages, groups and dictionaries of usual size took 25 MB more, for files that were larger."""

pa.set_cpu_count(1)  # an answer must not take the cores from live data

_LEVEL: Final = pa.struct(
    [pa.field("price", pa.float64(), nullable=False), pa.field("size", pa.float64(), nullable=False)]
)
_TYPES: Final = {
    "text": pa.string(),
    "number": pa.float64(),
    "time": pa.timestamp("ns", tz="UTC"),
    "levels": pa.list_(pa.field("item", _LEVEL, nullable=False)),
}
_REPEATED: Final = frozenset({"type", "exchange", "symbol", "side"})
"""Columns with few different values: Parquet writes each value once. For others its dictionary only takes memory."""

METADATA_KEY: Final = b"ssmd.quality"


class _Table:
    """Turns events into record batches of one schema."""

    def __init__(self, kind: EventType, shape: Shape, quality: Quality) -> None:
        self._kind = kind
        self._columns = columns_of(kind, shape.fields)
        self._in_ns = shape.times == "ns"
        self._depth_levels = shape.depth_levels
        fields = [pa.field(column.name, self._type(column), nullable=False) for column in self._columns]
        self.schema = pa.schema(fields, metadata={METADATA_KEY: quality_json(quality).encode()})

    def batch(self, events: Sequence[Event]) -> Any:
        events = cut_depth(events, self._depth_levels)
        columns = [self._array(column, events) for column in self._columns]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _type(self, column: Column) -> Any:
        return pa.int64() if column.kind == "time" and self._in_ns else _TYPES[column.kind]

    def _array(self, column: Column, events: Sequence[Event]) -> Any:
        if column.name == "type":
            return _texts([self._kind] * len(events))
        if column.name == "id":
            return _texts([message_id(event) for event in events])
        values = [getattr(event, column.attribute) for event in events]
        match column.kind:
            case "number":
                return _numbers(values)
            case "levels":
                return _levels(values)
            case "time":
                return _plain(self._type(column), array("q", values))
            case _:
                return _texts(values)


def _texts(values: Sequence[str]) -> Any:
    encoded = [value.encode() for value in values]
    return pa.Array.from_buffers(pa.string(), len(values), [None, _offsets(encoded), pa.py_buffer(b"".join(encoded))])


def _numbers(values: Sequence[str]) -> Any:
    return _plain(pa.float64(), array("d", map(float, values)))


def _levels(sides: Sequence[Sequence[Level]]) -> Any:
    every = list(chain.from_iterable(sides))
    columns = [_numbers([level[place] for level in every]) for place in (0, 1)]
    items = pa.Array.from_buffers(_LEVEL, len(every), [None], children=columns)
    return pa.Array.from_buffers(_TYPES["levels"], len(sides), [None, _offsets(sides)], children=[items])


def _plain(kind: Any, values: "array[int] | array[float]") -> Any:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _offsets(parts: Iterable[Sequence[object] | bytes]) -> Any:
    """Return where each part begins, and where the last one ends."""
    return pa.py_buffer(array("i", accumulate(map(len, parts), initial=0)))


class _Sink:
    """A file that is handed on as it grows."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        return

    def close(self) -> None:
        return

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def taken(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


class _Batches:
    """Gathers rows until there are enough for one batch."""

    def __init__(self, table: _Table, enough_rows: int) -> None:
        self._table = table
        self._enough_rows = enough_rows
        self._waiting: list[Event] = []

    def add(self, events: list[Event]) -> Any:
        """Return a batch when there is one, else None."""
        self._waiting += events
        return self.rest() if len(self._waiting) >= self._enough_rows else None

    def rest(self) -> Any:
        waiting, self._waiting = self._waiting, []
        return self._table.batch(waiting) if waiting else None


def _enough_rows(kind: EventType) -> int:
    return BATCH_BOOKS if kind == "book" else BATCH_ROWS


class ArrowWriter:
    """The streaming format of Arrow IPC. A cut one lacks its end mark."""

    def __init__(self, kind: EventType, shape: Shape, quality: Quality) -> None:
        table = _Table(kind, shape, quality)
        self._batches = _Batches(table, _enough_rows(kind))
        self._sink = _Sink()
        self._stream = pa.ipc.new_stream(pa.PythonFile(self._sink, mode="w"), table.schema)

    def begin(self) -> bytes:
        return self._sink.taken()

    def rows(self, events: list[Event]) -> bytes:
        self._write(self._batches.add(events))
        return self._sink.taken()

    def end(self, next_cursor: str | None) -> bytes:
        del next_cursor
        self._write(self._batches.rest())
        self._stream.close()
        return self._sink.taken()

    def _write(self, batch: Any) -> None:
        if batch is not None:
            self._stream.write_batch(batch)


class ParquetWriter:
    """One file, compressed with zstd. A cut one has no footer and cannot be opened."""

    def __init__(self, kind: EventType, shape: Shape, quality: Quality) -> None:
        table = _Table(kind, shape, quality)
        self._batches = _Batches(table, _enough_rows(kind))
        self._sink = _Sink()
        self._file = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            table.schema,
            compression="zstd",
            use_dictionary=[name for name in table.schema.names if name in _REPEATED],
            data_page_size=PAGE_BYTES,
            write_batch_size=PAGE_ROWS,
        )
        self._group: list[Any] = []

    def begin(self) -> bytes:
        return self._sink.taken()

    def rows(self, events: list[Event]) -> bytes:
        batch = self._batches.add(events)
        if batch is not None:
            self._group.append(batch)
        if sum(one.nbytes for one in self._group) >= GROUP_BYTES:
            self._write()
        return self._sink.taken()

    def end(self, next_cursor: str | None) -> bytes:
        del next_cursor
        batch = self._batches.rest()
        if batch is not None:
            self._group.append(batch)
        self._write()
        self._file.close()
        return self._sink.taken()

    def _write(self) -> None:
        if self._group:
            group = pa.Table.from_batches(self._group)
            self._file.write_table(group, row_group_size=group.num_rows)
            self._group = []
