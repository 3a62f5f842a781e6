"""What Kraken's REST answers say: recorded ones against the recorded list of v2 names, and made-up ones."""

import gzip
import json

import pytest

from ssmd.errors import BadFrame
from ssmd.protocols.kraken import Kraken

KRAKEN = Kraken()

GONE_BY_2024 = (
    "AAVE/AUD ATOM/AUD BAL/ETH COMP/ETH DOT/AUD FIL/AUD GNO/ETH GRT/AUD GRT/ETH KEEP/ETH KSM/AUD OXT/ETH REP/ETH "
    "SNX/AUD SNX/GBP STORJ/ETH TBTC/ETH XLM/AUD YFI/AUD YFI/ETH YFI/GBP"
)


def v2_names(shared_data):
    """Return the names of the recorded instrument channel."""
    recorded = gzip.decompress((shared_data / "kraken/ws_v2/instrument_snapshot_20240403.json.gz").read_bytes())
    return {pair["symbol"] for pair in json.loads(recorded)["data"]["pairs"]}


def rest(shared_data, name):
    return (shared_data / "kraken/rest" / name).read_bytes()


def listing(*errors, **pairs):
    result = {key: {"wsname": wsname, "status": status} for key, (wsname, status) in pairs.items()}
    return json.dumps({"error": errors, "result": result}).encode()


def test_every_recorded_pair_that_still_existed_became_a_v2_name(shared_data):
    listed = KRAKEN.instruments(rest(shared_data, "asset_pairs_full_20210417.json"))
    assert len(listed) == 293  # of 304; the 11 dark pools have no wsname
    assert listed - v2_names(shared_data) == set(GONE_BY_2024.split())


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("asset_pairs_5pairs_2026.json", {"BTC/USD", "DOGE/USD", "ETH/USD", "SOL/USD", "XRP/USD"}),
        ("nautilus_asset_pairs.json", {"BTC/USDT"}),
    ],
)
def test_recent_answers_give_v2_names(shared_data, name, listed):
    assert KRAKEN.instruments(rest(shared_data, name)) == listed
    assert listed < v2_names(shared_data)


def test_tokenized_names_keep_their_small_letter(shared_data):
    assert KRAKEN.instruments(rest(shared_data, "nautilus_asset_pairs_tokenized.json")) == {"AAPLx/USD"}
    assert KRAKEN.spelling("AAPLx/USD") == "AAPLx/USD"


@pytest.mark.parametrize("status", ["online", "cancel_only", "post_only", "limit_only", "reduce_only", "maintenance"])
def test_a_pair_that_only_refuses_orders_is_listed(status):
    assert KRAKEN.instruments(listing(A=("XBT/USD", status))) == {"BTC/USD"}


def test_a_status_that_nobody_knows_refuses_no_name():
    assert KRAKEN.instruments(listing(A=("XDG/XBT", "some_new_one"))) == {"DOGE/BTC"}


@pytest.mark.parametrize("status", ["delisted", "work_in_progress"])
def test_a_pair_that_is_no_more_or_not_yet_is_not_listed(status):
    assert KRAKEN.instruments(listing(A=("XBT/USD", status), B=("ETH/USD", "online"))) == {"ETH/USD"}


def test_v2_names_are_taken_as_they_are():
    assert KRAKEN.instruments(listing(A=("BTC/USD", "online"), B=("XBT/USD", "online"))) == {"BTC/USD"}


@pytest.mark.parametrize("wsname", ["", "BTC", "BTC/USD/EUR", "/USD", "BTC/\x1b[31m", "A" * 33 + "/USD", None])
def test_a_name_that_is_none_is_left_out(wsname):
    assert KRAKEN.instruments(listing(A=(wsname, "online"), B=("ETH/USD", "online"))) == {"ETH/USD"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("EAPI:Rate limit exceeded", "rate_limited"),
        ("EGeneral:Too many requests", "rate_limited"),
        ("EService:Throttled: 1700000000", "rate_limited"),
        ("EService:Unavailable", "refused"),
        ("EQuery:Unknown asset pair", "refused"),
    ],
)
def test_an_error_in_a_good_answer_is_an_error(error, reason):
    for read in (KRAKEN.instruments, KRAKEN.clock_ns):
        with pytest.raises(BadFrame, match=error) as caught:
            read(listing("WGeneral:Danger", error, A=("XBT/USD", "online")))
        assert caught.value.reason == reason


def test_a_warning_is_no_error():
    assert KRAKEN.instruments(listing("WGeneral:Danger", A=("XBT/USD", "online"))) == {"BTC/USD"}


def test_the_recorded_time_is_read(shared_data):
    assert KRAKEN.clock_ns(rest(shared_data, "nautilus_server_time.json")) == 1_762_820_224 * 10**9


@pytest.mark.parametrize("unixtime", ["-1", "1e999", "99999999999", '"1700000000"', "1.5", "null"])
def test_a_time_that_is_none_is_a_bad_frame(unixtime):
    with pytest.raises(BadFrame):
        KRAKEN.clock_ns(b'{"error":[],"result":{"unixtime":%s}}' % unixtime.encode())


# How a person may write it


@pytest.mark.parametrize(
    "name", ["BTC/USD", "XBT/USD", "xbt/usd", "btc-usd", "BTC_USD", "btcusd", "XBTUSD", "XXBTZUSD"]
)
def test_every_way_to_write_a_pair_leads_to_its_name(name):
    assert KRAKEN.spelling(name) == "BTC/USD"


@pytest.mark.parametrize("name", ["", "BTC", "USD", "bitcoin", "BTC/USD/EUR", "ß", "BTC USD", "/", "-"])
def test_what_is_unclear_stays_as_it_is(name):
    assert KRAKEN.spelling(name) == name


def test_each_pair_is_found_however_it_is_written(shared_data):
    for name in v2_names(shared_data):
        v1 = "/".join({"BTC": "XBT", "DOGE": "XDG"}.get(asset, asset) for asset in name.split("/"))
        for written in (name, v1):
            variants = [written, written.lower(), *(written.replace("/", joint) for joint in ("-", "_", ""))]
            assert {KRAKEN.spelling(variant) for variant in variants} == {name}


def test_of_the_recorded_keys_only_one_misleads(shared_data):
    pairs = json.loads(rest(shared_data, "asset_pairs_full_20210417.json"))["result"]
    named = {key: pair["wsname"] for key, pair in pairs.items() if "wsname" in pair}
    assert {key for key, wsname in named.items() if KRAKEN.spelling(key) != KRAKEN.spelling(wsname)} == {"USDTZUSD"}
