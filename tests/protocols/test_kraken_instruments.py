import gzip

import pytest

from ssmd.errors import BadFrame
from ssmd.protocols.kraken_instruments import parse_instruments

PAIR = (
    '{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,"qty_increment":%s,'
    '"price_precision":1,"price_increment":0.1}'
)


def frame(increment):
    return '{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[' + PAIR % increment + "]}}"


def test_the_recorded_list_is_read_whole(shared_data):
    path = shared_data / "kraken/ws_v2/instrument_snapshot_20240403.json.gz"
    pairs = parse_instruments(gzip.decompress(path.read_bytes()).decode())
    assert len(pairs) == 683
    by_name = {pair.name: pair for pair in pairs}
    assert by_name["BTC/USD"].price_precision == 1
    assert by_name["BTC/USD"].qty_increment == "0.00000001"  # written 1e-08
    statuses = [pair.status for pair in pairs]
    assert (statuses.count("online"), statuses.count("reduce_only"), statuses.count("cancel_only")) == (672, 9, 2)


@pytest.mark.parametrize(
    ("written", "plain"), [("1e-08", "0.00000001"), ("5e-05", "0.00005"), ("0.10", "0.10"), ("1E+2", "100")]
)
def test_exponents_become_plain_text(written, plain):
    assert parse_instruments(frame(written))[0].qty_increment == plain


@pytest.mark.parametrize("increment", ["1e999999999", "1e-999999", '"x"', "null", "{}", "NaN"])
def test_a_number_that_is_none_is_a_bad_frame(increment):
    with pytest.raises(BadFrame):
        parse_instruments(frame(increment))


@pytest.mark.parametrize("text", ["", "[]", '{"channel":"book","data":[]}', '{"channel":"instrument"}', "[" * 100_000])
def test_any_other_text_is_a_bad_frame(text):
    with pytest.raises(BadFrame):
        parse_instruments(text)
