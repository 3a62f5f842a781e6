"""Garbage of every kind: nothing is raised, and what it does not concern comes out unchanged."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmd.model import Book
from ssmd.protocols import exchange
from ssmd.protocols.decoder import FeedDecoder
from tests.protocols.recorded import FEED, VenueBook, Wire, config, frame, kraken_wire, ticker, trade

SETTINGS = config("BTC/USD", "ETH/USD", interval_ms=0)
MALFORMED = [
    "", " ", "\x00", "garbage", "{", "}", "[]", "null", "true", "1", '"x"', "NaN", "{}", '{"channel":{}}',
    '{"channel":"book"}', '{"channel":"book","type":"update","data":[]}', '{"channel":"book","type":"update","data":[null]}',
    frame("book", "update", '{"symbol":"BTC/USD"}'), frame("book", "update", '{"symbol":5}'),
    frame("book", "update", '{"symbol":"BTC/USD","bids":[{"price":NaN,"qty":1}],"asks":[],"checksum":0}'),
    frame("book", "update", '{"symbol":"BTC/USD","bids":[{"price":1e309,"qty":1}],"asks":[],"checksum":0}'),
    frame("book", "update", '{"symbol":"BTC/USD","bids":[{"price":-1,"qty":-1}],"asks":[],"checksum":0}'),
    frame("book", "update", '{"symbol":"BTC/USD","bids":[{"price":' + "9" * 6000 + ',"qty":1}],"asks":[],"checksum":0}'),
    frame("book", "update", '{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":' + "9" * 40 + "}"),
    frame("book", "update", '{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":-1}'),
    frame("book", "update", '{"symbol":"BTC/USD","bids":{},"asks":"","checksum":0}'),
    frame("book", "snapshot", '{"symbol":"BTC/USD","bids":[],"asks":[],"checksum":1}'),
    frame("trade", "update", trade("9" * 40)), frame("trade", "update", trade(price="[" * 2000 + "]" * 2000)),
    frame("trade", "update", trade(name="BTC\\u0000USD")), frame("ticker", "update", ticker("DOGE/USD")),
    '{"a":' * 50_000, "[" * 200_000, '{"channel":"trade","type":"update","data":' + "[" * 5000, "\ufeff{}", "\ud800",
    '{"channel":"trade","type":"update","data":[' + ",".join(["{}"] * 1000) + "]}",
]  # fmt: skip


def eth_after(garbage):
    """Return what ETH/USD gives while garbage arrives between its frames, free of identity and time."""
    wire, btc, eth = kraken_wire(SETTINGS), VenueBook(), VenueBook("ETH/USD")
    wire.frames([btc.snapshot(), eth.snapshot()])
    for i, text in enumerate(garbage):
        wire.frame(text)
        wire.frame(eth.update({"100.0": f"{i}.75000000"}, {"101.0": f"{i}.25000000"}))
    return [event.bids for event in wire.events if isinstance(event, Book) and event.symbol == "ETHUSD"]


def test_no_malformed_frame_touches_the_neighbour():
    assert eth_after(MALFORMED) == eth_after([""] * len(MALFORMED))


@pytest.mark.parametrize("text", MALFORMED)
def test_after_any_malformed_frame_a_snapshot_makes_all_well(text):
    wire, venue = kraken_wire(SETTINGS), VenueBook()
    wire.frame(venue.snapshot())
    wire.frame(text)
    assert len(wire.frame(venue.snapshot()).events) == 1
    assert len(wire.frame(frame("trade", "update", trade(5))).events) == 1


def test_seventeen_megabytes_are_rejected_like_anything_else():
    wire = kraken_wire(SETTINGS)
    assert len(wire.frame("x" * 17_000_000).rejects) == 1
    assert len(wire.frame('{"channel":"new","data":"' + "x" * 17_000_000 + '"}').rejects) == 1
    assert all(len(reject.detail) < 200 for decoded in wire.all for reject in decoded.rejects)


KEYS = [
    "channel",
    "type",
    "data",
    "symbol",
    "bids",
    "asks",
    "price",
    "qty",
    "checksum",
    "timestamp",
    "side",
    "trade_id",
]
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["book", "BTC/USD", "buy"])
)
JSON = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=15,
)
FRAMES = st.builds(
    lambda channel, kind, data: json.dumps({"channel": channel, "type": kind, "data": data}),
    st.sampled_from(["book", "trade", "ticker", "status", "x"]),
    st.sampled_from(["snapshot", "update"]),
    st.lists(JSON, max_size=3) | JSON,
)


@settings(max_examples=60)
@given(st.lists(st.text() | JSON.map(json.dumps) | FRAMES, max_size=5))
def test_arbitrary_text_and_json_never_raise_and_leave_the_neighbour_alone(garbage):
    assert eth_after(garbage) == eth_after([""] * len(garbage))


LETTERS = st.sampled_from([*'{}[]",:.-eE0159 ', "null", "BTC", "book", "\\"])


@settings(max_examples=60)
@given(st.sampled_from(["book", "trade", "ticker"]), st.data())
def test_one_changed_spot_in_a_good_frame_never_raises(channel, data):
    text = {
        "book": VenueBook().snapshot(),
        "trade": frame("trade", "update", trade()),
        "ticker": frame("ticker", "update", ticker()),
    }[channel]
    at = data.draw(st.integers(0, len(text) - 1))
    broken = text[:at] + data.draw(LETTERS) + text[at + data.draw(st.integers(0, 3)) :]
    wire = Wire(FeedDecoder(FEED, exchange(FEED)), SETTINGS)
    wire.frame(broken)
    for event in wire.events:
        if isinstance(event, Book):
            assert wire.decoder.counts.checksums_verified == 1


def test_a_checksummed_book_never_comes_out_changed():
    """Flip each digit of a snapshot's levels in turn: the book is either not published or exactly the sent one."""
    venue = VenueBook()
    text = venue.snapshot()
    right = kraken_wire(SETTINGS).frame(text).events
    start, end = text.index('"bids"'), text.index('"checksum"')
    for at in range(start, end):
        if text[at].isdigit():
            wire = kraken_wire(SETTINGS)
            events = wire.frame(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :]).events
            assert events in ((), right)
