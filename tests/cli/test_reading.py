"""`ssmd get`, `ssmd tail` and `ssmd export` against a whole gateway."""

import csv
import io
import itertools
import json

import pyarrow.parquet as pq
import pytest

from ssmd.cli.export_plan import days
from tests.client.served import MANY, served, trade

NS_PER_H = 3_600 * 10**9
seqs = itertools.count(1_000)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with served(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def read(ask, clean, monkeypatch, gateway, tmp_path):
    """Return what runs a command that finds the gateway by its variables."""
    monkeypatch.setenv("SSMD_GATEWAY", gateway.url)
    monkeypatch.setenv("SSMD_API_KEY_FILE", str(gateway.key_file))
    monkeypatch.chdir(tmp_path)
    return ask


# get ---------------------------------------------------------------------------------------------------------


def test_rows_are_printed_in_every_form_and_their_quality_is_said_aside(read):
    said = read("get", "trades", "BTCUSD", "--last", "3", "-o", "json")
    rows = json.loads(said.out)
    assert (said.code, [row["type"] for row in rows]) == (0, ["trade"] * 3)
    assert said.err.startswith("quality: ")
    assert "(v1)" in said.err
    lines = read("get", "trades", "BTCUSD", "--last", "3", "-o", "ndjson").out.splitlines()
    assert [json.loads(line) for line in lines] == rows
    cells = list(csv.DictReader(io.StringIO(read("get", "trades", "BTC/USD", "--last", "3", "-o", "csv").out)))
    assert [row["id"] for row in cells] == [row["id"] for row in rows]
    assert cells[0].keys() == rows[0].keys()
    table = read("get", "trades", "BTCUSD", "--last", "3").out.splitlines()
    assert table[0].split() == ["received", "at", "exchange", "symbol", "side", "price", "size", "trade", "id"]
    assert len(table) == 4


def test_a_range_is_cut_at_its_limit_and_says_so(read):
    said = read("get", "trades", "ETHUSD", "--start", "-1h", "--limit", "7", "-o", "name")
    assert len(said.out.splitlines()) == 7
    assert "! only the first 7 rows" in said.err
    assert len(read("get", "trades", "ETHUSD", "-o", "name").out.splitlines()) == 20


def test_what_is_missing_and_what_there_is_can_be_asked_for(read):
    gaps = json.loads(read("get", "gaps", "BTCUSD", "--start", "-1h", "-o", "json").out)
    assert {gap["status"] for gap in gaps} <= {"missing", "suspect"}
    kinds = {row["type"] for row in json.loads(read("get", "coverage", "BTCUSD", "-o", "json").out)}
    assert kinds == {"trade", "quote", "book"}


@pytest.mark.parametrize(
    ("words", "code", "fix"),
    [
        (("get", "trades", "BTCUSDD", "--last", "1"), 2, "did you mean BTCUSD"),
        (("get", "trades"), 2, "name at least one symbol"),
        (("get", "trades", "BTCUSD", "--last", "1", "--start", "-1h"), 2, "give one of both"),
        (("get", "trades", "BTCUSD", "--start", "soon"), 2, "start: not a time"),
        (("get", "trades", "BTCUSD", "--version", "nonsense"), 2, "such as v1"),
        (("get", "gaps", "BTCUSD", "--last", "1"), 2, "--start -1d"),
        (("tail", "NOPE"), 2, "no such symbol: NOPE"),
        (("tail", "BTCUSD", "--types", "candle"), 2, "trade, quote, book"),
        (("tail", "BTCUSD", "-o", "csv"), 2, "table or ndjson"),
        (("export", "BTCUSD", "--types", "candle", "--start", "-1h", "--to", "x"), 2, "some of trade, quote, book"),
        (("export", "BTCUSD", "--types", "trade", "--start", "-1h", "--to", "x.csv", "--format", "arrow"), 2, "change"),
        (("export", "BTCUSD", "--types", "trade,quote", "--start", "-1h", "--to", "x.csv"), 2, "give a folder"),
        (("export", "BTCUSD", "--types", "trade", "--start", "-90d", "--to", "x.csv"), 2, "longer than 31 days"),
        (("get", "trades", "BTCUSD", "--api-key-file", "wrong.key"), 4, "this key is not valid"),
        (("get", "trades", "BTCUSD", "--api-key-file", "absent.key"), 4, "cannot be read"),
        (("get", "trades", "BTCUSD", "--gateway", "", "--data-dir", "nowhere"), 5, "start one with `ssmd up`"),
    ],
)
def test_what_cannot_be_had_has_its_exit_code_and_a_way_out(read, tmp_path, words, code, fix):
    (tmp_path / "wrong.key").write_text("ssmd_AAAAAAAA_nothing")
    said = read(*words)
    assert (said.code, said.out) == (code, ""), said.err
    assert fix in said.err
    assert not (tmp_path / "x.csv").exists()


# tail --------------------------------------------------------------------------------------------------------


def test_messages_are_printed_as_they_come_with_what_was_refused(read, gateway):
    first = gateway.publish(*(trade(next(seqs)) for _ in range(3)))
    said = read(
        "tail", "BTCUSD", "BTCUSDD", "--types", "trade", "--from", f"pos:{first - 3}", "--count", "4", "-o", "ndjson"
    )
    messages = [json.loads(line) for line in said.out.splitlines()]
    assert {message["type"] for message in messages[:2]} >= {"refused"}
    assert [message["pos"] for message in messages if message["type"] == "trade"][:2] == [first - 2, first - 1]
    lines = read("tail", "BTCUSD", "--types", "trade", "--from", f"pos:{first - 1}", "--count", "1").out.splitlines()
    assert len(lines) == 1
    assert " kraken BTCUSD   trade  buy  0.01 @ 60000.1" in lines[0]


# export ------------------------------------------------------------------------------------------------------


def export(read, *more: str, to: str = "out", start: str = "-1h"):
    return read("export", "ETHUSD", "BTC/USD", "--types", "trade", "--start", start, "--to", to, "-o", "json", *more)


@pytest.mark.slow
def test_an_export_has_a_file_for_each_symbol_and_day_and_goes_on_where_it_was(read, tmp_path):
    first = json.loads(export(read, start="-25h").out)
    files = sorted(path.relative_to(tmp_path / "out") for path in tmp_path.glob("out/trade/*/*.parquet"))
    assert {path.parent.name for path in files} == {"BTCUSD", "ETHUSD"}
    assert first["files"] == first["fetched"] == len(files) >= 4
    assert sum(pq.read_metadata(tmp_path / "out" / path).num_rows for path in files) == first["rows"] > MANY
    assert export(read, start="-25h").code == 2  # is there already
    (tmp_path / "out" / files[0]).unlink()
    (tmp_path / "out" / files[-1]).write_bytes(b"PAR1")
    again = json.loads(export(read, "--resume", start="-25h").out)
    assert again == {**first, "fetched": 2}
    assert json.loads(export(read, "--resume", start="-25h").out)["fetched"] == 0
    assert export(read, "--resume", start="-24h").code == 2  # something else


def test_an_export_that_is_cut_leaves_whole_files_only_and_is_finished_later(read, gateway, tmp_path, monkeypatch):
    monkeypatch.setattr("ssmd.client.pacing.Patience.tries", 1, raising=False)
    gateway.proxy.left = 6_000
    said = export(read)
    assert (said.code, said.out) == (5, ""), said.err
    assert "the answer was cut" in said.err
    assert list(tmp_path.glob("out/**/*.part")) == []
    again = json.loads(export(read, "--resume").out)
    assert again["files"] == again["fetched"] == len(list(tmp_path.glob("out/trade/*/*.parquet")))
    assert again["rows"] > MANY


@pytest.mark.parametrize("form", ["parquet", "arrow", "csv", "ndjson"])
def test_one_file_holds_what_is_asked_for(read, tmp_path, form):
    done = json.loads(export(read, to=f"rows.{form}").out)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [f"rows.{form}"]
    assert done["bytes"] == (tmp_path / f"rows.{form}").stat().st_size
    assert done["rows"] > MANY
    assert export(read, to=f"rows.{form}").code == 2
    assert export(read, "--resume", to=f"rows.{form}").code == 0


def test_an_estimate_fetches_nothing(read, tmp_path):
    said = export(read, "--estimate")
    assert [row["type"] for row in json.loads(said.out)] == ["trade"]
    assert not (tmp_path / "out").exists()


def test_a_range_is_cut_at_midnight():
    day = 24 * NS_PER_H
    assert list(days(day - 5, 2 * day + 7)) == [(day - 5, day), (day, 2 * day), (2 * day, 2 * day + 7)]
    assert list(days(day, day)) == []
