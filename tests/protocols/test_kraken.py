"""The session's side of Kraken: what to ask for, and what its answers mean."""

import json
import timeit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmd.protocols.base import Accepted, Pong, RateLimited, Rejected, Request, Subscription, SystemStatus
from ssmd.protocols.kraken import Kraken
from ssmd.records import FeedConfig, SymbolSpec
from tests.protocols.recorded import BTC_ETH, HEARTBEAT, VenueBook, config, frame, lines, ticker, trade

KRAKEN = Kraken()
L2 = config("BTC/USD", l1=["ETH/USD"])


def named(shared_data):
    """Return the recorded control frames of this exchange by name."""
    entries = [json.loads(line) for line in (shared_data / "control_frames.jsonl").read_text().splitlines()]
    return {entry["name"]: entry["frame"] for entry in entries if entry["venue"] == "kraken_v2"}


def test_every_symbol_gives_trades_and_quotes_and_l2_also_books():
    assert KRAKEN.subscriptions(L2) == {
        Subscription("trade", "BTC/USD"),
        Subscription("ticker", "BTC/USD"),
        Subscription("book", "BTC/USD"),
        Subscription("trade", "ETH/USD"),
        Subscription("ticker", "ETH/USD"),
    }


def test_a_disabled_feed_subscribes_nothing():
    assert KRAKEN.subscriptions(FeedConfig(L2.symbols, enabled=False)) == frozenset()


def test_requests_are_what_the_venue_wants_and_count_their_ids():
    requests = KRAKEN.requests("subscribe", KRAKEN.subscriptions(L2), L2, 7)
    assert [json.loads(request.text) for request in requests] == [
        {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}, "req_id": 7},
        {
            "method": "subscribe",
            "params": {"channel": "ticker", "symbol": ["BTC/USD", "ETH/USD"], "event_trigger": "bbo"},
            "req_id": 8,
        },
        {
            "method": "subscribe",
            "params": {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"], "snapshot": False},
            "req_id": 9,
        },
    ]
    assert requests[0] == Request(7, requests[0].text, (Subscription("book", "BTC/USD"),))


def test_an_unsubscription_names_the_same_book_depth():
    (request,) = KRAKEN.requests("unsubscribe", [Subscription("book", "BTC/USD")], config("BTC/USD", depth=50), 1)
    assert json.loads(request.text) == {
        "method": "unsubscribe",
        "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 100},
        "req_id": 1,
    }


@pytest.mark.parametrize(("wanted", "asked"), [(1, 10), (10, 10), (11, 25), (100, 100), (1000, 1000), (5000, 1000)])
def test_a_book_is_asked_for_in_the_smallest_depth_that_holds_it(wanted, asked):
    (request,) = KRAKEN.requests("subscribe", [Subscription("book", "BTC/USD")], config("BTC/USD", depth=wanted), 1)
    assert json.loads(request.text)["params"]["depth"] == asked


def test_a_request_holds_no_more_symbols_than_the_limit():
    many = FeedConfig(tuple(SymbolSpec(f"A{i}/USD", f"A{i}USD") for i in range(250)))
    requests = KRAKEN.requests("subscribe", KRAKEN.subscriptions(many), many, 1)
    assert [len(json.loads(request.text)["params"]["symbol"]) for request in requests] == [100, 100, 50] * 2
    assert [request.req_id for request in requests] == [1, 2, 3, 4, 5, 6]
    asked = [subscription for request in requests for subscription in request.subscriptions]
    assert sorted(asked) == sorted(KRAKEN.subscriptions(many))


def test_an_ack_names_its_subscription(shared_data):
    frames = named(shared_data)
    assert KRAKEN.control(frames["ack_trade_snapshot_false"]) == Accepted("subscribe", Subscription("trade", "BTC/USD"))
    assert KRAKEN.control(frames["ack_ohlc_with_warnings"]) == Accepted(
        "subscribe", Subscription("ohlc", "BTC/USDT"), None, ("timestamp is deprecated, use interval_begin",)
    )
    assert KRAKEN.control(
        '{"method":"unsubscribe","req_id":5,"result":{"channel":"book","depth":10,"symbol":"BTC/USD"},"success":true}'
    ) == Accepted("unsubscribe", Subscription("book", "BTC/USD"), 5)


def test_an_unknown_symbol_is_refused_for_good(shared_data):
    answer = KRAKEN.control(named(shared_data)["error_unknown_symbol"])
    assert answer == Rejected("subscribe", "Currency pair not supported XBT/USDT", name="XBT/USDT", lasting=True)


def test_a_refused_depth_has_no_symbol_but_a_req_id(shared_data):
    answer = KRAKEN.control(named(shared_data)["error_bad_depth"])
    assert answer == Rejected("subscribe", "Subscription depth not supported", lasting=True)
    answer = KRAKEN.control(
        '{"error":"Subscription depth not supported","method":"subscribe","req_id":3,"success":false}'
    )
    assert isinstance(answer, Rejected)
    assert answer.req_id == 3


def test_private_channels_are_refused_for_good(shared_data):
    answer = KRAKEN.control(named(shared_data)["error_private_on_public_host"])
    assert isinstance(answer, Rejected)
    assert answer.lasting


def test_already_subscribed_is_nothing_missing():
    answer = KRAKEN.control(
        '{"error":"Already subscribed","method":"subscribe","success":false,"symbol":"BTC/USD","req_id":2}'
    )
    assert answer == Rejected("subscribe", "Already subscribed", name="BTC/USD", req_id=2, already=True)


def test_an_error_nobody_documented_is_a_refusal_that_may_pass():
    answer = KRAKEN.control('{"error":"EService: Busy","method":"subscribe","success":false,"symbol":"BTC/USD"}')
    assert answer == Rejected("subscribe", "EService: Busy", name="BTC/USD")


@pytest.mark.parametrize(
    "text",
    [
        '{"Error":"Exceeded msg rate"}',
        '{"error":"Exceeded msg rate"}',
        '{"error":"Exceeded msg rate","method":"subscribe","success":false}',
    ],
)
def test_too_many_messages_are_a_rate_limit(text):
    assert KRAKEN.control(text) == RateLimited("Exceeded msg rate")


def test_pong_is_matched_by_its_id(shared_data):
    assert KRAKEN.control(named(shared_data)["pong"]) == Pong(42)
    assert json.loads(KRAKEN.ping(42) or "") == {"method": "ping", "req_id": 42}


def test_status_on_connect_is_open(shared_data):
    frames = named(shared_data)
    for name in ("status_on_connect_plain", "status_on_connect_with_empty_maintenance_arrays"):
        assert KRAKEN.control(frames[name]) == SystemStatus("online", open=True)


@pytest.mark.parametrize(
    ("system", "is_open"),
    [("online", True), ("cancel_only", True), ("post_only", True), ("maintenance", False), ("new", True)],
)
def test_only_maintenance_explains_silence(system, is_open):
    assert KRAKEN.control(frame("status", "update", f'{{"system":"{system}"}}')) == SystemStatus(system, open=is_open)


@pytest.mark.parametrize(
    ("announced", "shown"),
    [
        ('[{"phase":"imminent_5m","recommended_action":"stop_new_orders"}]', "imminent_5m stop_new_orders"),
        ('[{"recommended_action":"disconnect_and_wait"}]', "disconnect_and_wait"),
        ('[{"starts":"soon"}]', "announced"),
        ('"tomorrow"', '"tomorrow"'),
        ("null", None),
    ],
)
@pytest.mark.parametrize("field", ["upcoming_maintenance", "emergency"])
def test_announced_maintenance_is_shown_whatever_its_shape(announced, shown, field):
    answer = KRAKEN.control(frame("status", "update", f'{{"system":"online","{field}":{announced}}}'))
    assert answer == SystemStatus("online", open=True, maintenance=shown)


@pytest.mark.parametrize(
    "text",
    [HEARTBEAT, frame("trade", "update", trade()), frame("ticker", "update", ticker()), VenueBook().snapshot(),
     '{"type":"update","channel":"book","data":[]}', '{"channel":"instrument","data":{"method":"subscribe"}}'],
)  # fmt: skip
def test_market_data_says_nothing_to_the_session(text):
    assert KRAKEN.control(text) is None


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "null", "{}", "[" * 100_000, '{"method":5}', '{"method":"subscribe"}', '{"method":"dance"}',
     '{"method":"subscribe","success":true}', '{"method":"subscribe","success":true,"result":{"channel":"book"}}',
     '{"channel":"status"}', '{"channel":"status","data":[]}', '{"channel":"status","data":[{"system":1}]}', "\ud800"],
)  # fmt: skip
def test_a_frame_that_says_nothing_sensible_is_no_control_frame(text):
    assert KRAKEN.control(text) is None


@settings(max_examples=40)
@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(
    st.sampled_from(["method", "channel", "result", "data", "error", "Error", "success", "system", "req_id", "symbol"]), inner
) | st.lists(inner)).map(json.dumps))  # fmt: skip
def test_control_never_raises(text):
    KRAKEN.control(text)


def test_market_data_costs_the_session_well_under_a_microsecond(shared_data):
    frames = lines(shared_data / BTC_ETH)
    spent_s = min(timeit.repeat(lambda: [KRAKEN.control(text) for text in frames], number=1, repeat=5))
    assert spent_s / len(frames) < 1e-6


@pytest.mark.parametrize(
    ("price", "size", "token"),
    [("63501.6", "0.63889204", b"63501663889204"), ("0.000022890", "0.00100000", b"22890100000"), ("0.0", "0.0", b"")],
)
def test_a_level_adds_its_digits_without_leading_zeros(price, size, token):
    assert KRAKEN.level_token(price, size) == token


def test_published_and_recorded_checksums_are_matched(shared_data):
    for line in (shared_data / "kraken/checksum_vectors.jsonl").read_text().splitlines():
        vector = json.loads(line)
        asks, bids = ([KRAKEN.level_token(*level) for level in vector[side]] for side in ("asks", "bids"))
        assert b"".join(asks + bids).decode() == vector["crc_input"]
        assert KRAKEN.checksum(asks, bids) == vector["checksum"]
        assert KRAKEN.checksum([*asks, b"11th level"], bids) == vector["checksum"]
