"""The same rows in each of the five formats, and in each a way to tell that all of them came."""

import csv
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmd.codec import marketdata
from ssmd.gateway.formats.packing import packer
from ssmd.gateway.formats.rows import COLUMNS
from ssmd.gateway.formats.text import JsonRows, page_json
from ssmd.gateway.formats.writer import row_writer
from ssmd.gateway.history.quality import Quality, Window, quality_json
from ssmd.gateway.query import RowsQuery, Shape, Which
from ssmd.model import EVENT_TYPES, Book, Event, Quote, Trade

WINDOW = Window(1, 2, "kraken", ("BTCUSD",), "missing", "reset")
QUALITY = Quality("missing", {"kraken": "v1"}, (WINDOW,))

numbers = st.floats(allow_nan=False, allow_infinity=False).map(repr)
heads = st.tuples(
    st.just("kraken"), st.sampled_from(["BTCUSD", "ETH_X-1"]), st.integers(0, (1 << 62)), st.just("c-0-1"),
    st.integers(0, 1 << 63), st.integers(0, 1 << 31), st.integers(0, 1 << 62),
)  # fmt: skip
levels = st.lists(st.tuples(numbers, numbers), max_size=4).map(tuple)
events = {
    "trade": st.builds(
        lambda head, *rest: Trade(*head, *rest), heads, numbers, numbers, st.sampled_from(["buy", "sell"]),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    ),
    "quote": st.builds(lambda head, *rest: Quote(*head, *rest), heads, numbers, numbers, numbers, numbers),
    "book": st.builds(lambda head, *rest: Book(*head, *rest), heads, levels, levels),
}  # fmt: skip


def written(query: RowsQuery, rows: Sequence[Event]) -> bytes:
    writer = row_writer(query, QUALITY)
    half = len(rows) // 2
    return writer.begin() + writer.rows(list(rows[:half])) + writer.rows(list(rows[half:])) + writer.end(None)


def asked(kind, **shape) -> RowsQuery:
    return RowsQuery(kind, Which(("BTCUSD",)), Shape(**shape), 0, 1)


def from_table(table: pa.Table) -> list[dict]:
    """Turn times and levels into what JSON says of them."""
    rows = []
    columns = {name: table.column(name) for name in table.column_names}
    for name, column in columns.items():
        if pa.types.is_timestamp(column.type):
            columns[name] = [f"{text[:-1].replace(' ', 'T')}Z" for text in column.cast(pa.string()).to_pylist()]
        else:
            columns[name] = column.to_pylist()
    for number in range(table.num_rows):
        row = {name: values[number] for name, values in columns.items()}
        for side in {"bids", "asks"} & row.keys():
            row[side] = [[level["price"], level["size"]] for level in row[side]]
        rows.append(row)
    return rows


def from_csv(text: str, kind: str) -> list[dict]:
    words = {"type", "exchange", "symbol", "side", "trade_id", "timestamp", "received_at", "id"}
    return [
        {name: cell if name in words else json.loads(cell) for name, cell in row.items()}
        for row in csv.DictReader(io.StringIO(text, newline=""))
    ]


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_the_five_formats_give_equal_rows(kind):
    @settings(max_examples=40)
    @given(st.lists(events[kind], max_size=6), st.lists(st.sampled_from(COLUMNS[kind]), unique=True))
    def check(rows, fields):
        rows = [marketdata.decode(kind, marketdata.encode(row)) for row in rows]  # as the archive has them
        shape = {"fields": tuple(fields)}
        page = json.loads(page_json(JsonRows(kind, Shape(**shape)).texts(rows), {"x": 1}))["data"]
        assert [list(row) for row in page] == [[c for c in COLUMNS[kind] if not fields or c in fields]] * len(rows)
        *lines, end = written(asked(kind, format="ndjson", **shape), rows).splitlines()
        assert [json.loads(line) for line in lines] == page
        assert json.loads(end) == {"_end": True, "rows": len(rows), "quality": json.loads(quality_json(QUALITY))}
        assert from_csv(written(asked(kind, format="csv", **shape), rows).decode(), kind) == page
        arrow = pa.ipc.open_stream(written(asked(kind, format="arrow", **shape), rows)).read_all()
        assert from_table(arrow) == page
        parquet = pq.read_table(io.BytesIO(written(asked(kind, format="parquet", **shape), rows)))
        assert from_table(parquet) == page
        for table in (arrow, parquet):
            assert table.schema.metadata[b"ssmd.quality"].decode() == quality_json(QUALITY)

    check()


def test_times_in_nanoseconds_are_text_in_json_because_its_readers_round_them():
    row = Trade(
        "kraken", "BTCUSD", 1_765_029_600_123_456_789, "c", 1, 0, 1_765_029_600_123_456_788, "1.0", "2.0", "buy", "7"
    )
    (text,) = JsonRows("trade", Shape(times="ns", fields=("timestamp",))).texts([row])
    assert text == '{"timestamp":"1765029600123456788"}'
    arrow = pa.ipc.open_stream(written(asked("trade", format="arrow", times="ns"), [row])).read_all()
    assert arrow.column("received_at").to_pylist() == [1_765_029_600_123_456_789]


@pytest.mark.parametrize("form", ["ndjson", "arrow", "parquet"])
def test_a_cut_answer_is_noticed(form):
    rows = [Trade("kraken", "BTCUSD", n, "c", n, 0, n, "1.0", "2.0", "buy", str(n)) for n in range(20_000)]
    whole = written(asked("trade", format=form), rows)
    cut = whole[: len(whole) * 2 // 3]
    if form == "ndjson":
        assert b"_end" in whole.splitlines()[-1]
        assert b"_end" not in cut.splitlines()[-1]
    elif form == "arrow":
        with pytest.raises((pa.ArrowInvalid, OSError)):
            pa.ipc.open_stream(cut).read_all()
    else:
        with pytest.raises(pa.ArrowInvalid):
            pq.read_table(io.BytesIO(cut))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_each_piece_can_be_read_when_it_has_come(compression):
    packing = packer(compression)
    first = packing.pack(b"one\n")
    reader = {"gzip": lambda data: gzip.GzipFile(fileobj=io.BytesIO(data)).read1(4)}.get(
        compression, lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)
    )
    assert reader(first) == b"one\n"
    whole = first + packing.pack(b"two\n") + packing.finish()
    opened = (
        gzip.decompress(whole) if compression == "gzip" else zstandard.ZstdDecompressor().stream_reader(whole).read()
    )
    assert opened == b"one\ntwo\n"


WITHOUT_PANDAS = """
import sys
from ssmd.gateway.formats.tables import ArrowWriter, ParquetWriter
from ssmd.gateway.history.quality import Quality
from ssmd.gateway.query import Shape
from ssmd.model import Book, Quote, Trade

head = ("kraken", "BTCUSD", 1, "c-0-1", 0, 0, 1)
for writer in (ArrowWriter, ParquetWriter):
    for event in (Trade(*head, "1.5", "2", "buy", "7"), Quote(*head, "1", "2", "3", "4"), Book(*head, (("1", "2"),), ())):
        kind = type(event).__name__.lower()
        table = writer(kind, Shape(), Quality("verified", {}))
        assert table.begin() + table.rows([event] * 3_000) + table.end(None)
sys.exit("pandas" in sys.modules)
"""


@pytest.mark.slow
def test_arrow_and_parquet_are_written_without_loading_pandas():
    """It takes 50 MB, and pyarrow loads it to look at a list. Mutant: a column made by pa.array."""
    assert find_spec("pandas") is not None
    assert subprocess.run([sys.executable, "-c", WITHOUT_PANDAS], timeout=60, check=False).returncode == 0
