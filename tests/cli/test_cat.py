import json
import subprocess

import pytest
from msgspec.structs import replace

from ssmd.cli.commands.cat import cat
from ssmd.codec import blocks, marketdata, raw
from ssmd.errors import ConfigError
from ssmd.model import Book, Quote, Trade
from tests.cli.commands import SSMD

KEY = "normalized/v1/kraken/{kind}/BTCUSD/2025/12/06/14-00.capnp.zst"
EVENTS = {
    "trade": Trade("kraken", "BTCUSD", 7, "c-0-1", 3, 0, 5, "100.5", "0.25", "buy", "81234567"),
    "quote": Quote("kraken", "BTCUSD", 7, "c-0-1", 4, 0, 5, "100.5", "0.25", "101.0", "2.0"),
    "book": Book("kraken", "BTCUSD", 7, "c-0-1", 5, 0, 5, (("100.5", "0.25"),), (("101.0", "2.0"),)),
}


def normalized(folder, kind, count=1):
    path = folder / KEY.format(kind=kind)
    path.parent.mkdir(parents=True)
    events = [replace(EVENTS[kind], recv_ns=7 + 997 * i) for i in range(count)]
    path.write_bytes(blocks.compress(b"".join(marketdata.encode(event) for event in events)))
    return path


@pytest.mark.parametrize("kind", EVENTS)
def test_an_event_is_one_line_of_json_with_its_identity(tmp_path, capfdbinary, kind):
    assert cat(normalized(tmp_path, kind)) == 0
    line = json.loads(capfdbinary.readouterr().out)
    assert (line["type"], line["symbol"], line["conn"], line["seq"]) == (kind, "BTCUSD", "c-0-1", EVENTS[kind].seq)


def test_raw_lines_come_as_they_are_stored(tmp_path, capfdbinary):
    lines = raw.encode_frame(7, "c-0-1", 0, '{"a":1.50}') + raw.encode_frame(8, "c-0-1", 1, "no json")
    path = tmp_path / "00-00.jsonl.zst"
    path.write_bytes(blocks.compress(lines))
    assert cat(path, path) == 0
    assert capfdbinary.readouterr().out == lines + lines


def test_a_damaged_object_is_one_and_names_the_file(tmp_path, capfd):
    path = normalized(tmp_path, "trade")
    path.write_bytes(b"no zstd at all")
    assert cat(path) == 1
    assert path.name in capfd.readouterr().err


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"x\.capnp\.zst cannot be read: No such file"):
        cat(tmp_path / "trade/x.capnp.zst")


def test_a_file_whose_path_does_not_tell_its_type_says_what_is_missing(tmp_path):
    (tmp_path / "x.capnp.zst").write_bytes(blocks.compress(b""))
    with pytest.raises(ConfigError, match=r"x\.capnp\.zst.*trade, quote, book"):
        cat(tmp_path / "x.capnp.zst")


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_error(tmp_path):
    """Mutant: catch OSError alone; `ssmd cat … | head -1` then said the file cannot be read: Broken pipe."""
    path = normalized(tmp_path, "trade", count=20_000)
    with subprocess.Popen((*SSMD, "cat", str(path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b'{"type":"trade"')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
