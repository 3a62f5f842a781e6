"""What comes of records: events, rejects and desyncs, and when."""

import pytest

from ssmd.errors import BadRecord, ConfigError
from ssmd.model import Book, Quote, Trade
from ssmd.protocols import exchange
from ssmd.protocols.decoder import EMPTY, VERSIONS, Desync, FeedDecoder, decoder
from ssmd.records import Configured, Disconnected, FeedConfig, Live, Lost, Refused, Resync, SymbolSpec
from tests.protocols.recorded import (
    FEED,
    HEARTBEAT,
    MS,
    START_NS,
    VenueBook,
    Wire,
    config,
    frame,
    kraken_wire,
    ticker,
    trade,
)

EVERY_UPDATE = config("BTC/USD", "ETH/USD", interval_ms=0)
EVERY_100_MS = config("BTC/USD", "ETH/USD")


def books(wire):
    return [event for event in wire.events if isinstance(event, Book)]


def desyncs(wire):
    return [desync for decoded in wire.all for desync in decoded.desyncs]


# Identity and times


def test_a_trade_carries_identity_exact_text_and_both_times():
    wire = kraken_wire(EVERY_100_MS)
    decoded = wire.frame(frame("trade", "update", trade(7), trade(8)))
    recv_ns, venue_ns = START_NS + 5 * MS, 1_783_465_203_000_001_000
    assert decoded.events == (
        Trade(FEED, "BTCUSD", recv_ns, "c1", 2, 0, venue_ns, "100.5", "0.10", "buy", "7"),
        Trade(FEED, "BTCUSD", recv_ns, "c1", 2, 1, venue_ns, "100.5", "0.10", "buy", "8"),
    )


def test_without_an_exchange_time_the_receive_time_stands():
    decoded = kraken_wire(EVERY_100_MS).frame(frame("ticker", "update", ticker()))
    recv_ns = START_NS + 5 * MS
    assert decoded.events == (
        Quote(FEED, "BTCUSD", recv_ns, "c1", 2, 0, recv_ns, "100.0", "1.50000000", "101.0", "2.00000000"),
    )


def test_repeated_quotes_are_all_published():
    wire = kraken_wire(EVERY_100_MS)
    assert len(wire.frames([frame("ticker", "update", ticker())] * 3)) == 3


def test_most_records_give_the_one_empty_answer():
    wire = kraken_wire(EVERY_100_MS)
    assert wire.frame(HEARTBEAT) is EMPTY
    assert wire.note(Live(("BTCUSD",))) is EMPTY
    assert wire.note(Refused("BTCUSD", "book", "no")) is EMPTY


# Verification


def test_two_sided_update_is_checksummed():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    wire.frame(venue.snapshot())
    good = wire.frame(venue.update({"100.0": "7.00000000"}, {"101.0": "8.00000000"}))
    assert len(good.events) == 1
    flipped = venue.update({"100.0": "1.00000000"}, {"101.0": "2.00000000"}).replace(
        '101.0,"qty":2.0', '101.0,"qty":3.0'
    )
    bad = wire.frame(flipped)
    assert bad.events == ()
    assert [desync.reason for desync in bad.desyncs] == ["checksum"]


def test_checksum_is_never_switched_off():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    for _ in range(50):
        assert wire.frame(venue.snapshot(checksum=1)).events == ()
    assert wire.decoder.counts.checksums_failed == len(desyncs(wire)) == 50
    assert len(wire.frame(venue.snapshot()).events) == 1


def test_a_checksum_mismatch_invalidates_only_that_symbol():
    wire, btc, eth = kraken_wire(EVERY_UPDATE), VenueBook(), VenueBook("ETH/USD")
    wire.frames([btc.snapshot(), eth.snapshot()])
    verified_ns = wire.recv_ns - 5 * MS
    decoded = wire.frame(btc.update({"100.0": "7.00000000"}, checksum=1))
    assert decoded.desyncs == (Desync("c1", "BTCUSD", "BTC/USD", "checksum", verified_ns),)
    assert wire.frames([btc.update({"100.0": "8.00000000"})]) == []
    assert len(wire.frames([eth.update({"100.0": "8.00000000"})])) == 1
    assert wire.decoder.counts.unawaited_changes == 1


def test_one_invalidation_gives_one_desync_and_a_verified_snapshot_ends_it():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    wire.frames([venue.snapshot(), venue.update({"100.0": "7.00000000"}, checksum=1)])
    for i in range(5):
        wire.frame(venue.update({"100.0": f"{i}.50000000"}))
    assert len(desyncs(wire)) == 1
    published = wire.frame(venue.snapshot()).events
    assert [event.bids[0] for event in published if isinstance(event, Book)] == [("100.0", "4.50000000")]


def test_a_failed_snapshot_still_counts_its_gap_from_the_last_verified_state():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    wire.frame(venue.snapshot(checksum=1))
    wire.frame(venue.snapshot())
    verified_ns = wire.recv_ns
    wire.frames([venue.snapshot(checksum=1), venue.snapshot(checksum=2)])
    assert [desync.from_ns for desync in desyncs(wire)] == [START_NS, verified_ns, verified_ns]


def test_updates_before_a_snapshot_are_ignored_without_a_desync():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    assert wire.frames([venue.update({"100.0": "7.00000000"})] * 3) == []
    assert desyncs(wire) == []
    assert wire.decoder.counts.unawaited_changes == 3


@pytest.mark.parametrize(
    "level", ['"price":100.00,"qty":1', '"price":1e2,"qty":1', '"price":100.0,"qty":-1', '"price":"100.0","qty":1']
)
def test_a_level_that_does_not_fit_costs_the_book_at_once(level):
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    wire.frame(venue.snapshot())
    decoded = wire.frame(venue.update({"100.0": "5.00000000"}).replace('"price":100.0,"qty":5.00000000', level))
    assert [reject.reason for reject in decoded.rejects] == ["bad_level"]
    assert [desync.reason for desync in decoded.desyncs] == ["bad_level"]
    assert wire.frames([venue.update({"99.0": "5.00000000"})]) == []


def test_prices_above_every_integer_type_are_kept():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    venue.asks = {"101.00": "1.00", "886110000000.00": "0.50"}
    venue.bids = {"100.00": "1.00"}
    (event,) = wire.frame(venue.snapshot()).events
    assert isinstance(event, Book)
    assert event.asks == (("101.00", "1.00"), ("886110000000.00", "0.50"))


def test_a_thin_book_of_fewer_than_ten_levels_is_verified_with_what_is_there():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    venue.asks, venue.bids = {"101.0": "1.00"}, {}
    assert len(wire.frame(venue.snapshot()).events) == 1
    assert len(wire.frame(venue.update({"5.0": "1.00"}, {"101.0": "0.00"})).events) == 1


# Connections


def test_no_level_survives_a_reconnect():
    first, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    first.frame(venue.snapshot())
    first.note(Disconnected("closed"))
    second = Wire(first.decoder, EVERY_UPDATE, conn="c2", after="c1")
    assert second.frames([venue.update({"100.0": "7.00000000"})]) == []
    thin = VenueBook()
    thin.bids, thin.asks = {"50.0": "1.00"}, {"51.0": "1.00"}
    (event,) = second.frame(thin.snapshot()).events
    assert isinstance(event, Book)
    assert (event.bids, event.asks) == ((("50.0", "1.00"),), (("51.0", "1.00"),))


def test_a_connection_that_died_silently_goes_with_its_successor():
    first = kraken_wire(EVERY_UPDATE)
    Wire(first.decoder, EVERY_UPDATE, conn="c2", after="c1")
    decoded = first.frame(frame("trade", "update", trade()))
    assert [reject.reason for reject in decoded.rejects] == ["unknown_connection"]


def test_connections_of_other_shards_are_left_alone():
    first, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    first.frame(venue.snapshot())
    Wire(first.decoder, config("SOL/USD"), conn="other")
    assert len(first.frames([venue.update({"100.0": "7.00000000"})])) == 1


def test_a_note_of_an_unknown_connection_is_ignored():
    wire = kraken_wire(EVERY_UPDATE)
    wire.note(Disconnected("closed"))
    assert [wire.note(each) for each in (Configured(EVERY_UPDATE), Resync("BTCUSD", "x", 0), Lost("x"))] == [EMPTY] * 3


# Notes


def test_a_resync_note_distrusts_one_book_until_its_next_snapshot():
    wire, btc, eth = kraken_wire(EVERY_UPDATE), VenueBook(), VenueBook("ETH/USD")
    wire.frames([btc.snapshot(), eth.snapshot()])
    assert wire.note(Resync("BTCUSD", "asked", START_NS)) is EMPTY
    assert wire.frames([btc.update({"100.0": "7.00000000"})]) == []
    assert len(wire.frames([eth.update({"100.0": "7.00000000"})])) == 1
    assert len(wire.frames([btc.snapshot()])) == 1
    assert desyncs(wire) == []


def test_lost_frames_cost_every_book_of_the_connection():
    wire, btc, eth = kraken_wire(EVERY_UPDATE), VenueBook(), VenueBook("ETH/USD")
    wire.frames([btc.snapshot(), eth.snapshot()])
    decoded = wire.note(Lost("disk_full"))
    assert [(desync.symbol, desync.reason) for desync in decoded.desyncs] == [
        ("BTCUSD", "disk_full"),
        ("ETHUSD", "disk_full"),
    ]
    assert wire.frames([btc.update({"100.0": "7.00000000"})]) == []


def test_a_removed_symbol_loses_its_book_and_what_waits_of_it():
    wire, venue = kraken_wire(EVERY_100_MS), VenueBook()
    wire.frame(venue.snapshot())
    wire.note(Configured(config("ETH/USD")))
    decoded = wire.frame(venue.update({"100.0": "7.00000000"}), at_ms=150)
    assert decoded.events == ()
    assert decoded.rejects == ()
    assert wire.decoder.counts.unawaited_changes == 1
    wire.note(Configured(EVERY_100_MS))
    assert wire.frames([venue.update({"100.0": "8.00000000"}), HEARTBEAT]) == []


def test_what_still_comes_of_a_removed_symbol_is_no_reject_also_after_a_restart():
    wire, venue = kraken_wire(EVERY_100_MS), VenueBook()
    wire.frame(venue.snapshot())
    wire.note(Configured(config("ETH/USD")))
    wire.decoder = FeedDecoder(FEED, exchange(FEED), wire.decoder.state())
    assert wire.frame(venue.update({"100.0": "7.00000000"})).rejects == ()
    assert wire.decoder.counts.unknown_symbols == 0


def test_a_symbol_added_on_the_live_connection_is_decoded_and_the_others_kept():
    wire, btc, eth = kraken_wire(config("BTC/USD", interval_ms=0)), VenueBook(), VenueBook("ETH/USD")
    wire.frame(btc.snapshot())
    wire.note(Configured(EVERY_UPDATE))
    assert len(wire.frames([eth.snapshot(), btc.update({"100.0": "7.00000000"})])) == 2


def test_a_symbol_reduced_to_l1_gives_no_books_and_no_rejects():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    wire.frame(venue.snapshot())
    wire.note(Configured(config("ETH/USD", l1=["BTC/USD"])))
    assert wire.frame(venue.update({"100.0": "7.00000000"})) is EMPTY
    assert len(wire.frames([frame("trade", "update", trade())])) == 1


def test_a_renamed_symbol_is_published_under_its_new_name():
    wire = kraken_wire(EVERY_UPDATE)
    venue = VenueBook()
    wire.frame(venue.snapshot())
    wire.note(Configured(FeedConfig((SymbolSpec("BTC/USD", "XBTUSD", "l2"),), book_interval_ms=0)))
    events = wire.frames([frame("trade", "update", trade()), venue.update({"100.0": "7.00000000"})])
    assert [event.symbol for event in events] == ["XBTUSD", "XBTUSD"]


def test_a_new_depth_holds_from_the_next_snapshot_for_the_cut_and_at_once_for_the_top():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    wire.frame(venue.snapshot())
    wire.note(Configured(config("BTC/USD", interval_ms=0, depth=3)))
    (event,) = wire.frames([venue.update({"100.0": "7.00000000"})])
    assert isinstance(event, Book)
    assert (len(event.bids), len(event.asks)) == (3, 3)


# Counts and versions


def test_counts_say_what_came_of_everything():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    wire.frames([venue.snapshot(), venue.update({"100.0": "2.00000000"})])
    wire.frames([frame("trade", "update", trade()), frame("ticker", "update", ticker("ETH/USD")), HEARTBEAT])
    counts = wire.decoder.counts
    assert (counts.frames, counts.trades, counts.quotes, counts.books_published) == (5, 1, 1, 2)
    assert (counts.checksums_verified, counts.checksums_failed) == (2, 0)
    assert counts.messages == {"BTCUSD": 3, "ETHUSD": 1}


def test_a_copy_of_the_counts_stands_still():
    wire = kraken_wire(EVERY_UPDATE)
    before = wire.decoder.counts.copy()
    wire.frames(["x", frame("trade", "update", trade())])
    assert (before.frames, before.rejected, before.messages) == (0, {}, {})


def test_versions_are_found_by_name_and_an_unknown_one_is_a_config_error():
    assert type(decoder("v1", FEED, exchange(FEED))) is VERSIONS["v1"] is FeedDecoder
    with pytest.raises(ConfigError, match="normalizer is 'v9'; known are v1"):
        decoder("v9", FEED, exchange(FEED))


@pytest.mark.parametrize("state", [b"", b"\xc1", b"\x80", b"garbage" * 50])
def test_a_damaged_state_is_a_bad_record(state):
    with pytest.raises(BadRecord):
        FeedDecoder(FEED, exchange(FEED), state)


def test_the_state_of_another_feed_is_a_bad_record():
    with pytest.raises(BadRecord, match="of feed kraken"):
        FeedDecoder("other", exchange(FEED), FeedDecoder(FEED, exchange(FEED)).state())
