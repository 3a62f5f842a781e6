"""The same claims for the sync client in a running loop, under asyncio, and under Trio; against a whole gateway."""

import itertools
import logging

import polars as pl
import pyarrow.parquet as pq
import pytest

from ssmd.client import (
    AuthError,
    Client,
    InvalidParameter,
    NotFound,
    Patience,
    RangeTooLarge,
    SsmdError,
    Trade,
    Unavailable,
)
from tests.client.modes import first
from tests.client.served import MANY, trade

seqs = itertools.count(1_000)


# history -----------------------------------------------------------------------------------------------------


def test_an_answer_has_rows_and_what_is_known_of_them(use):
    async def claim(client):
        answer = await client.trades("BTCUSD", last=3)
        assert [row.symbol for row in answer.rows] == ["BTCUSD"] * 3
        assert isinstance(answer.rows[0], Trade)
        assert answer.rows[0].received_ns > answer.rows[0].timestamp_ns - 1
        assert answer.quality.status in {"missing", "unverifiable"}
        assert answer.version == "v1"
        assert len(answer.request_id) == 26
        assert len(answer) == 3
        assert "3 rows, quality" in repr(answer)

    use(claim)


def test_every_form_has_the_same_rows(use, tmp_path):
    async def claim(client):
        rows = (await client.trades("ETHUSD", "-1h")).rows
        assert len(rows) >= MANY
        table = await client.trades("ETHUSD", "-1h").to_arrow()
        again = await client.trades("ETHUSD", "-1h")
        assert again.to_arrow().equals(table)
        assert again.to_arrow().schema.equals(table.schema)
        frame = await client.trades("ETHUSD", "-1h").to_polars()
        assert isinstance(frame, pl.DataFrame)
        assert frame["id"].to_list() == [row.id for row in rows]
        assert (await client.trades("ETHUSD", "-1h").to_pandas())["price"].tolist() == [row.price for row in rows]
        path = await client.trades("ETHUSD", "-1h").to_parquet(tmp_path / "x.parquet")
        assert pq.read_table(path).equals(table)
        assert [entry.name for entry in tmp_path.iterdir()] == ["x.parquet"]

    use(claim)


def test_one_result_is_one_answer_whatever_is_read_from_it(use, gateway):
    async def claim(client):
        result = client.trades("BTCUSD", last=1)
        table = await result.to_arrow()
        gateway.publish(trade(next(seqs)))
        assert [row.id for row in (await result).rows] == table["id"].to_pylist()
        assert [row.id for row in (await client.trades("BTCUSD", last=1)).rows] != table["id"].to_pylist()

    use(claim)


def test_with_fields_a_row_and_a_table_have_these_and_no_others(use, tmp_path):
    async def claim(client):
        whole = (await client.trades("ETHUSD", "-1h")).rows
        asked = {"fields": ["price", "id", "received_at"]}
        rows = (await client.trades("ETHUSD", "-1h", **asked)).rows
        assert [(row.id, row.price, row.received_ns) for row in rows] == [
            (row.id, row.price, row.received_ns) for row in whole
        ]
        assert not hasattr(rows[0], "size")
        paged = await client.trades("ETHUSD", "-1h", limit=5, **asked)
        assert paged.rows == rows[:5]
        table = await client.trades("ETHUSD", "-1h", **asked).to_arrow()
        assert table.column_names == ["price", "received_at", "id"]
        again = await client.trades("ETHUSD", "-1h", **asked)
        assert again.to_arrow().equals(table)
        assert again.to_arrow().schema.equals(table.schema)
        path = await client.trades("ETHUSD", "-1h", **asked).to_parquet(tmp_path / "x.parquet")
        assert pq.read_table(path).equals(table)
        typed = (await client.quotes("BTCUSD", "-1h", fields="type,symbol")).to_arrow()
        assert typed.column_names == ["type", "symbol"]
        with pytest.raises(InvalidParameter, match="fields"):
            await client.trades("ETHUSD", "-1h", fields="price,colour")

    use(claim)


def test_a_limit_is_kept_over_several_pages_and_too_long_a_range_is_refused(use):
    async def claim(client):
        answer = await client.trades("ETHUSD", "-5d", limit=5)
        assert len(answer) == 5
        assert answer.quality.status == "missing"
        with pytest.raises(RangeTooLarge) as refused:
            await client.trades("ETHUSD", "-33d")
        assert refused.value.estimate is not None

    use(claim)


def test_it_says_what_there_is_and_what_is_missing(use):
    async def claim(client):
        assert {row.symbol for row in await rows_of(client.symbols())} == {"BTCUSD", "ETHUSD"}
        assert [row.name for row in await rows_of(client.symbols(q="eth"))] == ["ETH/USD"]
        assert {row.type for row in await rows_of(client.coverage("BTCUSD"))} == {"trade", "quote", "book"}
        gaps = await client.gaps("BTCUSD", "-1h")
        assert {row.status for row in gaps.rows} <= {"missing", "suspect"}
        assert gaps.to_arrow().num_rows == len(gaps.rows)
        assert (await client.book("BTCUSD", at="now")).rows == []
        assert (await client.books("BTCUSD", last=1, depth=3).to_arrow()).num_rows == 0
        size = await client.estimate("trade", ["BTCUSD", "ETHUSD"], start="-1h")
        assert (size.rows, size.start < size.end) == (0, True)  # nothing is archived here

    async def rows_of(result):
        return (await result).rows

    use(claim)


def test_each_error_is_of_the_kind_that_tells_what_to_do(use, tmp_path, gateway):
    async def claim(client):
        with pytest.raises(NotFound, match=r"did you mean BTCUSD.*request 01") as unknown:
            await client.trades("BTCUSDD", last=1)
        assert "BTCUSD" in unknown.value.suggestions
        with pytest.raises(InvalidParameter) as wrong:
            await client.trades("BTCUSD", "soon", limit=-1)
        assert [one.parameter for one in wrong.value.errors] == ["limit", "start"]
        with pytest.raises(InvalidParameter, match="after end"):
            await client.quotes("BTCUSD", "now", "-1h").to_arrow()

    async def refused(client):
        with pytest.raises(AuthError, match="this key is not valid"):
            await client.symbols()
        with pytest.raises(AuthError):
            await first(client.subscribe("BTCUSD"))

    async def nobody(client):
        with pytest.raises(Unavailable, match=r"127.0.0.1:1 cannot be reached.*is it running"):
            await client.symbols()
        with pytest.raises(Unavailable, match="gives no live data"):
            await first(client.subscribe("BTCUSD"))

    use(claim)
    wrong_key = tmp_path / "key"
    wrong_key.write_text("ssmd_AAAAAAAA_nothing")
    use(refused, api_key_file=wrong_key)
    use(nobody, gateway="http://127.0.0.1:1", patience=Patience(tries=2, first_s=0.01))


def test_a_result_outlives_its_client(gateway):
    """Only of the sync client, that nobody has to close."""
    result = Client(gateway.url, gateway.key_file).trades("BTCUSD", last=2)
    assert "not asked yet" in repr(result)
    assert str(result).count("Trade(") == 2
    with Client(gateway.url, gateway.key_file) as client:
        closed, unread = client.trades("BTCUSD", last=2), client.trades("BTCUSD", last=2)
        assert len(closed) == 2
    assert closed.to_arrow().num_rows == 2
    with pytest.raises(SsmdError, match="closed"):
        len(unread)


# cut answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["rows", "to_arrow", "to_parquet"])
def test_a_cut_answer_is_asked_for_again_and_never_passes_for_a_short_one(use, gateway, tmp_path, how):
    async def ask(client):
        result = client.trades("ETHUSD", "-1h")
        return await {"rows": lambda: result, "to_arrow": result.to_arrow}.get(
            how, lambda: result.to_parquet(tmp_path / "x.parquet")
        )()

    async def claim(client):
        gateway.proxy.left = 2_000
        await ask(client)
        assert gateway.proxy.left > 2_000  # it was cut

    async def once(client):
        gateway.proxy.left = 2_000
        with pytest.raises(Unavailable, match="cut"):
            await ask(client)
        assert list(tmp_path.iterdir()) == []

    use(once, patience=Patience(tries=1))
    use(claim)


# keys --------------------------------------------------------------------------------------------------------


def test_the_key_is_in_no_log_no_repr_and_no_url(use, gateway, caplog):
    caplog.set_level(logging.DEBUG)
    key = gateway.key_file.read_text().rpartition(" ")[2].strip()
    shown = []

    async def claim(client):
        answer = await client.trades("BTCUSD", last=1)
        gateway.publish(trade(next(seqs)))
        message = await first(client.subscribe("BTCUSD", start="-1h"))
        shown.extend(map(repr, (client, answer, message, vars(client))))
        with pytest.raises(NotFound) as error:
            await client.trades("NOPE", last=1)
        shown.append(repr(error.value))

    use(claim)
    said = caplog.text + " ".join(shown)
    assert "/api/v1/trades" in said
    assert key not in said
    assert key.rpartition("_")[2] not in said
