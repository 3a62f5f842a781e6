"""A decoder made from another's state goes on exactly where that one is: at every position."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmd.protocols import exchange
from ssmd.protocols.decoder import FeedDecoder
from ssmd.records import Configured, Connected, Disconnected, Lost, Predecessor, Record, Resync
from tests.protocols.recorded import (
    BTC_2023,
    BTC_ETH,
    FEED,
    HEARTBEAT,
    MS,
    START_NS,
    TEN_NAMES,
    TEN_PAIRS,
    VenueBook,
    config,
    frame,
    lines,
    records,
    ticker,
    trade,
)


def check_every_position(decoder, made, journal, every=1):
    """Replace the decoder by a restored one at each position: by induction they agree about everything after it."""
    for i, record in enumerate(journal):
        if i % every:
            decoder.feed(record)
            continue
        again = made(decoder.state())
        assert again.state() == decoder.state()
        assert again.feed(record) == decoder.feed(record)
        assert again.state() == decoder.state()
        decoder = again


def restored(state):
    return FeedDecoder(FEED, exchange(FEED), state)


def test_a_recorded_journal_can_be_cut_anywhere(shared_data):
    journal = records(lines(shared_data / BTC_2023), config("BTC/USD"))
    check_every_position(FeedDecoder(FEED, exchange(FEED)), restored, journal)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "feed_config", "every"),
    [(BTC_ETH, config("BTC/USD", "ETH/USD"), 1), (TEN_PAIRS, config(*TEN_NAMES, depth=1000), 97)],
)
def test_long_journals_can_be_cut_anywhere(shared_data, name, feed_config, every):
    journal = records(lines(shared_data / name), feed_config)
    check_every_position(FeedDecoder(FEED, exchange(FEED)), restored, journal, every)


SIZES = st.sampled_from(["0.00000000", "1.50000000", "2.25000000"])
PRICES = st.sampled_from(["100.0", "99.0", "101.0", "102.5", "98.0"])
STEPS = st.one_of(
    st.tuples(st.just("update"), PRICES, SIZES, st.booleans()),
    st.tuples(st.just("snapshot"), st.booleans()),
    st.tuples(st.just("trade"), st.integers(1, 9)),
    st.sampled_from(
        ["ticker", "heartbeat", "garbage", "bad_level", "resync", "lost", "reconnect", "reconfigure", "wait"]
    ),
)


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=25), st.sampled_from([0, 20, 100]))
def test_any_journal_can_be_cut_anywhere(steps, interval_ms):
    journal = journal_of(steps, config("BTC/USD", "ETH/USD", interval_ms=interval_ms))
    check_every_position(FeedDecoder(FEED, exchange(FEED)), restored, journal)


def journal_of(steps, feed_config):
    """Return records as a session might write them, right and wrong ones."""
    venue, conn, journal = VenueBook(), 1, []

    def add(text=None, note=None):
        journal.append(Record(START_NS + len(journal) * 7 * MS, f"c{conn}", len(journal), frame=text, note=note))

    add(note=Connected("x"))
    add(note=Configured(feed_config))
    add(venue.snapshot())
    for step in steps:
        match step:
            case ("update", price, size, right):
                change = {price: size}
                bids, asks = (change, None) if float(price) <= 100 else (None, change)
                if float(size) or price in (venue.bids if bids else venue.asks):
                    add(venue.update(bids, asks, checksum=None if right else 1))
            case ("snapshot", right):
                add(venue.snapshot(checksum=None if right else 1))
            case ("trade", trade_id):
                add(frame("trade", "update", trade(trade_id)))
            case "reconnect":
                before, conn = f"c{conn}", conn + 1
                journal.append(Record(START_NS + len(journal) * 7 * MS, before, len(journal), note=Disconnected("x")))
                add(note=Connected("x", Predecessor(before, 1, START_NS)))
                add(note=Configured(feed_config))
            case _:
                add(**SIMPLE[step])
    return journal


SIMPLE = {
    "ticker": {"text": frame("ticker", "update", ticker())},
    "heartbeat": {"text": HEARTBEAT},
    "garbage": {"text": "garbage"},
    "bad_level": {"text": VenueBook().update({"100.0": "1.00000000"}).replace("100.0", "100.00")},
    "resync": {"note": Resync("BTCUSD", "asked", START_NS)},
    "lost": {"note": Lost("disk_full")},
    "reconfigure": {"note": Configured(config("ETH/USD", "BTC/USD", interval_ms=10, depth=25))},
    "wait": {"text": HEARTBEAT},
}
