"""Bodies as the gateway writes them, cut anywhere: none passes for a whole one."""

import pytest

from ssmd.client import Unavailable
from ssmd.client.ends import Watch, split_ndjson
from ssmd.client.rows import Trade
from ssmd.client.tables import read_arrow, rows_of
from ssmd.gateway.formats.writer import row_writer
from ssmd.gateway.history.quality import Quality, Window
from ssmd.gateway.query import RowsQuery, Shape, Which
from tests.client.served import trade

QUALITY = Quality("missing", {"kraken": "v1"}, (Window(1, 2, "kraken", ("BTCUSD",), "missing", "disconnect"),))
ROWS = 40


def body(form: str, rows: int = ROWS) -> bytes:
    query = RowsQuery("trade", Which(("BTCUSD",)), Shape(form), 0, 1)
    writer = row_writer(query, QUALITY)
    events = [trade(seq) for seq in range(rows)]
    return writer.begin() + writer.rows(events) + writer.end(None)


def watched(form: str, data: bytes, piece: int = 7) -> Watch:
    watch = Watch(form, {})
    for at in range(0, len(data), piece):
        watch.saw(data[at : at + piece])
    return watch


@pytest.mark.parametrize("form", ["ndjson", "arrow", "parquet"])
def test_a_whole_body_is_whole_in_any_pieces_and_every_shorter_one_is_cut(form):
    whole = body(form)
    for piece in (1, 64, len(whole)):
        watched(form, whole, piece).end()
    for end in [*range(0, len(whole), 37), *range(len(whole) - 9, len(whole) - 1)]:
        with pytest.raises(Unavailable, match="cut"):
            watched(form, whole[:end], 64).end()


def test_the_last_line_tells_rows_and_quality():
    lines, end = split_ndjson(body("ndjson"))
    assert (lines.count(b"\n") + 1, end.rows) == (ROWS, ROWS)
    assert (end.quality.status, end.quality.version, end.quality.windows[0].reason) == ("missing", "v1", "disconnect")
    assert watched("ndjson", body("ndjson")).end() == end
    assert split_ndjson(body("ndjson", 0))[1].rows == 0


def test_a_row_is_never_taken_for_the_end():
    with pytest.raises(Unavailable):
        split_ndjson(body("ndjson").rpartition(b'{"_end"')[0])


def test_csv_counts_its_rows():
    assert watched("csv", body("csv")).end().rows == ROWS


def test_arrow_and_rows_are_the_same():
    table, quality = read_arrow(body("arrow"), "a test")
    assert quality == split_ndjson(body("ndjson"))[1].quality
    rows = rows_of(table, Trade)
    assert [row.trade_id for row in rows] == [str(seq) for seq in range(ROWS)]
    assert rows[0].received_at.endswith("Z")
    assert table.column("received_at").cast("int64").to_pylist() == [row.received_ns for row in rows]
