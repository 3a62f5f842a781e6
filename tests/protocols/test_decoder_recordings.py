"""The whole recordings: every checksum matches, every trade is there, and the same input gives the same output."""

import json

import pytest

from ssmd.model import Book, Trade
from ssmd.protocols import exchange
from ssmd.protocols.decoder import FeedDecoder
from tests.protocols.recorded import (
    BTC_2023,
    BTC_ETH,
    FEED,
    START_NS,
    TEN_NAMES,
    TEN_PAIRS,
    config,
    lines,
    records,
)

RECORDINGS = [
    pytest.param(BTC_ETH, config("BTC/USD", "ETH/USD"), 2962, id="btc_eth"),
    pytest.param(BTC_2023, config("BTC/USD"), 510, id="btc_2023"),
    pytest.param(TEN_PAIRS, config(*TEN_NAMES, depth=1000), 4279, id="ten_pairs"),
]


def decoded(path, settings):
    decoder = FeedDecoder(FEED, exchange(FEED))
    events = [event for record in records(lines(path), settings) for event in decoder.feed(record).events]
    return decoder.counts, events


@pytest.mark.parametrize(("name", "settings", "messages"), RECORDINGS)
def test_every_recorded_checksum_matches(shared_data, name, settings, messages):
    counts, _ = decoded(shared_data / name, settings)
    assert (counts.checksums_verified, counts.checksums_failed, counts.desyncs) == (messages, 0, 0)
    assert counts.rejected == {}
    assert counts.unawaited_changes == counts.unknown_deletes == 0


def test_the_seventeen_recorded_trades_come_out_with_the_side_of_the_taker(shared_data):
    counts, events = decoded(shared_data / BTC_ETH, config("BTC/USD", "ETH/USD", interval_ms=0))
    trades = [event for event in events if isinstance(event, Trade)]
    assert len(trades) == counts.trades == 17
    assert counts.duplicates == 0
    middle = {}
    for event in events:
        if isinstance(event, Book):
            middle[event.symbol] = (float(event.bids[0][0]) + float(event.asks[0][0])) / 2
        elif isinstance(event, Trade):
            assert event.side == ("buy" if float(event.price) > middle[event.symbol] else "sell")


def test_published_books_are_never_crossed_and_hold_the_configured_depth(shared_data):
    _, events = decoded(shared_data / BTC_ETH, config("BTC/USD", "ETH/USD", depth=5, interval_ms=0))
    books = [event for event in events if isinstance(event, Book)]
    assert len(books) == 2962
    assert all(float(book.bids[0][0]) < float(book.asks[0][0]) for book in books)
    assert {(len(book.bids), len(book.asks)) for book in books} == {(5, 5)}


def test_a_book_is_published_at_most_once_per_interval(shared_data):
    _, events = decoded(shared_data / BTC_ETH, config("BTC/USD", "ETH/USD"))
    slots = [(book.symbol, book.recv_ns // 100_000_000) for book in events if isinstance(book, Book)]
    assert len(slots) == len(set(slots))
    assert 300 < len(slots) <= 2 * 211  # two symbols, 21 s


def test_a_book_without_the_cut_fails(shared_data):
    whole = exchange(FEED)
    uncut = FeedDecoder(FEED, type("Uncut", (type(whole),), {"book_depths": ()})())
    verified = 0
    for record in records(lines(shared_data / BTC_ETH), config("BTC/USD", "ETH/USD")):
        uncut.feed(record)
        verified = uncut.counts.checksums_verified
    assert uncut.counts.desyncs == 2  # each book is lost once, and stays so until a snapshot that never comes
    assert verified < 1500


def test_a_flipped_level_is_found_and_costs_one_symbol(shared_data):
    frames = lines(shared_data / BTC_ETH)
    at = next(
        i for i, text in enumerate(frames) if i > 500 and '"update"' in text and "ETH/USD" in text and '"book"' in text
    )
    entry = json.loads(frames[at])["data"][0]
    changed = (entry["bids"] or entry["asks"])[0]
    assert changed["qty"] > 0
    head, _, tail = frames[at].partition('"qty":')
    frames[at] = head + '"qty":9' + tail
    decoder = FeedDecoder(FEED, exchange(FEED))
    settings = config("BTC/USD", "ETH/USD")
    lost = [desync for record in records(frames, settings) for desync in decoder.feed(record).desyncs]
    assert [(desync.symbol, desync.reason) for desync in lost] == [("ETHUSD", "checksum")]
    btc_frames = sum('"BTC/USD"' in text and '"checksum"' in text for text in frames)
    assert decoder.counts.checksums_verified > btc_frames


@pytest.mark.parametrize(("name", "settings", "messages"), RECORDINGS[:2])
def test_the_same_records_give_the_same_events_and_state(shared_data, name, settings, messages):
    one, two = (FeedDecoder(FEED, exchange(FEED)) for _ in range(2))
    for record in records(lines(shared_data / name), settings):
        assert one.feed(record) == two.feed(record)
    assert one.state() == two.state()


def test_identities_are_unique_and_ordered(shared_data):
    _, events = decoded(shared_data / BTC_ETH, config("BTC/USD", "ETH/USD"))
    identities = [(event.conn, event.seq, event.n) for event in events]
    assert identities == sorted(set(identities))
    assert all(event.recv_ns >= START_NS for event in events)
