"""Rows as Arrow tables, and back. pyarrow, polars and pandas are loaded when they are asked for."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Struct

from ssmd.client.ends import End
from ssmd.client.errors import MissingExtra
from ssmd.client.rows import Level, Quality, is_event
from ssmd.client.times import ns_of, text_of

if TYPE_CHECKING:
    import pyarrow as pa

R = TypeVar("R", bound=Struct)

EXTRAS: Final = {
    "pyarrow": "arrow",
    "pyarrow.parquet": "arrow",
    "polars": "polars",
    "pandas": "pandas",
    "httpx_ws": "client",
}
QUALITY: Final = b"ssmd.quality"
NOT_IN_TABLES: Final = ("pos", "snapshot")
"""What only live messages have."""
TIMES: Final = ("timestamp", "received_at", "start", "end", "first", "last")
LEVELS: Final = ("bids", "asks")
NUMBERS: Final = ("price", "size", "bid_price", "bid_size", "ask_price", "ask_size")
"""Named, because a table without rows has columns too."""
TEXTS_IN_LISTS: Final = ("types", "symbols")


def need(package: str, what: str) -> ModuleType:
    """Return a package that is not needed for the rest. Raises MissingExtra that names the extra."""
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingExtra(
            f"{what} needs {package}, which is not installed", f"pip install 'ssmd[{EXTRAS[package]}]'"
        ) from error


def read_arrow(body: bytes, what: str) -> "tuple[pa.Table, Quality]":
    arrow = need("pyarrow", what)
    table = arrow.ipc.open_stream(body).read_all()
    return table, _quality(table.schema.metadata)


def quality_in_file(path: Path, form: str) -> End | None:
    """Return what a file of Arrow or Parquet says of itself, None without pyarrow."""
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        return None
    if form == "parquet":
        metadata = parquet.read_metadata(path)
        return End(metadata.num_rows, _quality(metadata.metadata))
    with arrow.memory_map(str(path)) as file, arrow.ipc.open_stream(file) as batches:
        return End(sum(batch.num_rows for batch in batches), _quality(batches.schema.metadata))


def _quality(metadata: Mapping[bytes, bytes]) -> Quality:
    return msgspec.json.decode(metadata[QUALITY], type=Quality)


def table_of(rows: Sequence[R], kind: type[R], quality: Quality | None, what: str) -> "pa.Table":
    """Return rows as the gateway would have given them as Arrow."""
    arrow = need("pyarrow", what)
    tag = kind.__struct_config__.tag
    columns = {"type": arrow.array([tag] * len(rows), arrow.string())} if tag is not None else {}
    for name in _names(kind):
        columns[name] = _column(arrow, name, [getattr(row, name) for row in rows])
    fields = [arrow.field(name, column.type, nullable=not is_event(kind)) for name, column in columns.items()]
    metadata = None if quality is None else {QUALITY: msgspec.json.encode(quality)}
    return arrow.table(list(columns.values()), schema=arrow.schema(fields, metadata=metadata))


def rows_of(table: "pa.Table", kind: type[R]) -> list[R]:
    columns = {name: _values(table.column(name), name) for name in _names(kind)}
    return [kind(*values) for values in zip(*columns.values(), strict=True)]


def _names(kind: type[Struct]) -> list[str]:
    return [name for name in kind.__struct_fields__ if name not in NOT_IN_TABLES]


def _column(arrow: ModuleType, name: str, values: Sequence[object]) -> "pa.Array":
    if name in TIMES:
        times = [ns_of(value) if isinstance(value, str) else None for value in values]
        return arrow.array(times, arrow.timestamp("ns", tz="UTC"))
    if name in LEVELS:
        level = arrow.struct([arrow.field(part, arrow.float64(), nullable=False) for part in Level._fields])
        sides = [[one._asdict() for one in side] for side in values if isinstance(side, tuple)]
        return arrow.array(sides, arrow.list_(arrow.field("item", level, nullable=False)))
    if name in NUMBERS:
        return arrow.array(values, arrow.float64())
    if name in TEXTS_IN_LISTS:
        return arrow.array([list(value) for value in values if isinstance(value, tuple)], arrow.list_(arrow.string()))
    return arrow.array(values, None if values else arrow.string())


def _values(column: "pa.ChunkedArray", name: str) -> Sequence[object]:
    if name in TIMES:
        return [None if value is None else text_of(value) for value in column.cast("int64").to_pylist()]
    if name in LEVELS:
        return [tuple(Level(one["price"], one["size"]) for one in side) for side in column.to_pylist()]
    values: list[object] = column.to_pylist()
    return values
