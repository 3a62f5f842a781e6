"""The normalizer's side of Kraken: what each frame says, to the digit."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmd.errors import BadFrame
from ssmd.protocols.base import BookChange, BookUnreadable, TopOfBook, TradePrint
from ssmd.protocols.kraken_frames import KrakenParser
from tests.protocols.recorded import BTC_ETH, HEARTBEAT, frame, lines, ticker, trade

parse = KrakenParser().parse
NS = 1_783_465_203_000_001_000
ENTRY = '{"symbol":"BTC/USD","bids":[{"price":100.0,"qty":0.00100000}],"asks":[],"checksum":5}'


def test_a_trade_frame_gives_every_trade_with_its_exact_text():
    text = frame("trade", "update", trade(1), trade(2, price="886110000000.00", qty="0.00000001"))
    assert parse(text) == [
        TradePrint("BTC/USD", "100.5", "0.10", "buy", "1", NS),
        TradePrint("BTC/USD", "886110000000.00", "0.00000001", "buy", "2", NS),
    ]


def test_a_trade_snapshot_repeats_history_and_gives_nothing():
    assert list(parse(frame("trade", "snapshot", trade()))) == []


def test_a_trade_id_may_be_an_integer_or_text():
    updates = parse(frame("trade", "update", trade(7), trade('"7a"')))
    assert [update.trade_id for update in updates if isinstance(update, TradePrint)] == ["7", "7a"]


@pytest.mark.parametrize("kind", ["snapshot", "update"])
def test_a_ticker_gives_the_top_of_the_book(kind):
    assert parse(frame("ticker", kind, ticker())) == [
        TopOfBook("BTC/USD", "100.0", "1.50000000", "101.0", "2.00000000", None)
    ]


def test_recorded_ticker_and_trade_keep_nanoseconds_and_zeros(shared_data):
    frames = [json.loads(line) for line in (shared_data / "control_frames.jsonl").read_text().splitlines()]
    by_name = {each["name"]: each["frame"] for each in frames}
    ns = 1_790_358_506_844_359_000
    assert parse(by_name["ticker_update"]) == [
        TopOfBook("BTC/USD", "83744.2", "0.56251979", "83744.3", "0.00044780", ns)
    ]
    assert parse(by_name["trade_update"]) == [TradePrint("BTC/USD", "83744.3", "0.00044780", "buy", "109116693", ns)]


def test_a_book_frame_may_hold_several_books():
    other = ENTRY.replace("BTC", "ETH")
    assert parse(frame("book", "update", ENTRY, other)) == [
        BookChange("BTC/USD", False, [("100.0", "0.00100000")], [], 5, None),
        BookChange("ETH/USD", False, [("100.0", "0.00100000")], [], 5, None),
    ]


def test_every_recorded_frame_that_is_no_market_data_is_quiet(shared_data):
    for line in (shared_data / "control_frames.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["venue"] != "kraken_v2" or not entry["name"].startswith(
            ("status", "ack", "error", "pong", "heart", "ohlc")
        ):
            continue
        assert list(parse(entry["frame"])) == [], entry["name"]


@pytest.mark.parametrize(
    "text",
    [HEARTBEAT, '{"channel":"status","type":"update","data":[{"connection_id":15113583034416118705}]}',
     '{"channel":"instrument","type":"snapshot","data":{"pairs":[{"qty_increment":1e-08}]}}',
     '{"Error":"Exceeded msg rate"}', '{"method":"pong","req_id":1}', '{"type":"update","channel":"heartbeat"}'],
)  # fmt: skip
def test_what_is_no_market_data_gives_nothing(text):
    assert list(parse(text)) == []


@pytest.mark.parametrize("text", ["", "garbage", "{", '{"channel":"trade"', HEARTBEAT + "x", "\ud800", '{"a":NaN}',
     frame("trade", "update", trade(price="NaN")), frame("trade", "update", trade(price="01.5")),
     '{"channel":' * 5000])  # fmt: skip
def test_what_is_no_json_is_named_so(text):
    with pytest.raises(BadFrame) as bad:
        parse(text)
    assert bad.value.reason == "not_json"


@pytest.mark.parametrize("channel", ["level3", "executions", "trades", ""])
def test_an_unknown_channel_is_named(channel):
    with pytest.raises(BadFrame) as bad:
        parse(frame(channel, "update"))
    assert (bad.value.reason, bad.value.detail) == ("unknown_channel", channel)


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "1", "[" * 100_000, '"x"', "{}", '{"channel":5}', '{"channel":null,"data":[]}', '{"channel":"trade"}',
     '{"channel":"trade","type":"update","data":{}}', '{"channel":"trade","type":"new","data":[]}',
     frame("trade", "update", trade(1.5)), frame("trade", "update", trade("null")), frame("trade", "update", trade('""')),
     frame("trade", "update", trade('"a b"')), frame("trade", "update", trade().replace("buy", "b")),
     frame("trade", "update", trade().replace('"symbol"', '"pair"')), frame("ticker", "update", "{}"),
     frame("book", "update", "{}"), frame("book", "update", "5")],
)  # fmt: skip
def test_wrong_types_and_missing_fields_are_a_bad_shape(text):
    with pytest.raises(BadFrame) as bad:
        parse(text)
    assert bad.value.reason == "bad_shape"


@pytest.mark.parametrize("number", ["-1.5", "1e-8", '"1.5"', "null", "{}", "[1]", '"é"', "true", "1" * 200, '" "'])
def test_a_number_that_is_not_plain_rejects_the_trade_or_ticker(number):
    for text in (frame("trade", "update", trade(price=number)), frame("ticker", "update", ticker(bid=number))):
        with pytest.raises(BadFrame) as bad:
            parse(text)
        assert bad.value.reason == "bad_number"


def test_one_bad_trade_of_several_rejects_the_frame_as_a_whole():
    with pytest.raises(BadFrame):
        parse(frame("trade", "update", trade(1), trade(2, qty="-1"), trade(3)))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [('"checksum":"5"', "bad_shape"), ('"checksum":5,"timestamp":5', "bad_shape"), ('"sum":5', "bad_shape"),
     ('"checksum":5,"timestamp":"yesterday"', "bad_time")],
)  # fmt: skip
def test_a_bad_book_frame_says_which_books_it_leaves_unknown(wrong, reason):
    text = frame("book", "update", ENTRY, ENTRY.replace("BTC", "ETH").replace('"checksum":5', wrong), '{"no":"symbol"}')
    text = text.replace(',{"no":"symbol"}', "")
    updates = parse(text)
    assert [update.name for update in updates if isinstance(update, BookUnreadable)] == ["BTC/USD", "ETH/USD"]
    assert {update.reason for update in updates if isinstance(update, BookUnreadable)} == {reason}


def test_an_entry_without_a_name_does_not_hide_the_named_ones():
    assert [getattr(each, "name", "") for each in parse(frame("book", "update", '{"a":1}', "7", ENTRY))] == ["BTC/USD"]


def test_the_digits_do_not_keep_the_frame_alive_and_survive_it():
    text = frame("trade", "update", trade())
    (update,) = parse(text)
    del text
    assert isinstance(update, TradePrint)
    assert type(update.price) is str
    assert update.price == "100.5"


def test_recorded_numbers_keep_every_zero(shared_data):
    for text in lines(shared_data / BTC_ETH):
        for update in parse(text):
            if isinstance(update, BookChange):
                for price, size in (*update.bids, *update.asks):
                    assert f'"price":{price},"qty":{size}}}' in text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["channel", "type", "data", "symbol", "bids", "asks", "price", "qty", "checksum", "timestamp", "side", "trade_id", "bid"]
    ), inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=60)
@given(st.text() | JSON.map(json.dumps) | st.builds(
    lambda channel, kind, data: json.dumps({"channel": channel, "type": kind, "data": data}),
    st.sampled_from(["book", "trade", "ticker", "x"]), st.sampled_from(["snapshot", "update", "x"]), JSON,
))  # fmt: skip
def test_nothing_but_bad_frame_is_ever_raised(text):
    try:
        list(parse(text))
    except BadFrame as bad:
        assert bad.reason in {"not_json", "bad_shape", "bad_number", "bad_time", "unknown_channel"}  # noqa: PT017 - most texts raise, not all
