"""An event as JSON: the very numbers that are stored, in their shortest text, and times to the nanosecond."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmd.codec import marketdata
from ssmd.gateway.live.encoding import encode_event
from ssmd.gateway.problems import Problem
from ssmd.gateway.times import parameter_time, rfc3339
from ssmd.model import Book, Event, Quote, Trade, type_of

NS = 10**9
AT_NS = 1_765_029_600_123_456_789
finite = st.floats(min_value=0, max_value=1e300).map(repr)
times = st.integers(0, 2**63 - 1)
conns = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


def stored(event: Event) -> Event:
    """Return an event as it comes from the stream or the archive."""
    return marketdata.decode(type_of(event), marketdata.encode(event))


@given(finite, finite, st.sampled_from(["buy", "sell"]), st.text(max_size=20), conns, times)
def test_a_trade_says_exactly_what_is_stored(price, size, side, trade_id, conn, at_ns):
    trade_id = trade_id.replace("\0", "")
    event = stored(Trade("kraken", "BTCUSD", at_ns, conn, 7, 1, at_ns, price, size, side, trade_id))
    said = json.loads(encode_event(event, 12), parse_float=str, parse_int=str)
    assert (float(said["price"]), float(said["size"])) == (float(price), float(size))
    assert said["price"] == repr(float(price))
    assert (said["side"], said["trade_id"], said["pos"]) == (side, trade_id, "12")
    assert said["id"] == f"kraken/{conn}/7/1"
    assert parameter_time("at", said["received_at"], 0) == at_ns


@given(st.lists(st.tuples(finite, finite), max_size=20), st.lists(st.tuples(finite, finite), max_size=3))
def test_a_book_has_every_level_in_order(bids, asks):
    event = stored(Book("kraken", "BTCUSD", AT_NS, "c", 0, 0, AT_NS, tuple(bids), tuple(asks)))
    said = json.loads(encode_event(event))
    assert [[float(p), float(s)] for p, s in bids] == said["bids"]
    assert [[float(p), float(s)] for p, s in asks] == said["asks"]
    assert "pos" not in said


def test_the_keys_stand_in_the_order_of_the_contract():
    quote = stored(Quote("kraken", "BTCUSD", AT_NS, "c", 0, 0, AT_NS, "1", "0.00100", "1e-7", "4"))
    assert encode_event(quote, 1) == (
        b'{"type":"quote","exchange":"kraken","symbol":"BTCUSD","bid_price":1.0,"bid_size":0.001,'
        b'"ask_price":1e-07,"ask_size":4.0,"timestamp":"2025-12-06T14:00:00.123456789Z",'
        b'"received_at":"2025-12-06T14:00:00.123456789Z","id":"kraken/c/0/0","pos":1}'
    )


@given(times)
def test_a_time_comes_back_as_it_was(at_ns: int):
    assert parameter_time("at", rfc3339(at_ns), 0) == at_ns


@pytest.mark.parametrize(
    ("text", "at_ns"),
    [
        ("now", AT_NS), ("-15m", AT_NS - 900 * NS), ("-2d", AT_NS - 172_800 * NS), ("1765029600123456789", AT_NS),
        ("2025-12-06", 1_764_979_200 * NS), ("2025-12-06T14:00Z", 1_765_029_600 * NS),
        ("2025-12-06T15:00:00.5+01:00", 1_765_029_600 * NS + NS // 2),
        ("2025-12-06T14:00:00.123456789", AT_NS),
    ],
)  # fmt: skip
def test_times_are_read_as_people_and_programs_write_them(text: str, at_ns: int):
    assert parameter_time("at", text, AT_NS) == at_ns


@pytest.mark.parametrize("text", ["", "yesterday", "-", "-5", "5m", "2025-13-01", "2025-12-06T25:00Z", "1e9", "9" * 20])
def test_what_is_no_time_is_refused_with_what_is_allowed(text: str):
    with pytest.raises(Problem, match="invalid_parameter: at: "):
        parameter_time("at", text, AT_NS)


def test_numbers_that_json_does_not_know_never_get_here():
    assert math.isinf(float("1e999"))
    with pytest.raises(Exception, match="cannot be encoded"):
        marketdata.encode(Trade("kraken", "BTCUSD", 0, "c", 0, 0, 0, "1e999", "1", "buy", ""))
