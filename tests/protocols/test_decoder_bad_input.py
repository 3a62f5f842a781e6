"""Bad input is data: counted, told, skipped; and trades that were seen before."""

from ssmd.model import Trade
from ssmd.protocols.decoder import Reject
from ssmd.records import Disconnected
from tests.protocols.recorded import VenueBook, Wire, config, frame, kraken_wire, trade

EVERY_UPDATE = config("BTC/USD", "ETH/USD", interval_ms=0)


def test_decoder_error_keeps_going():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    wire.frame(venue.snapshot())
    for garbage in ("", "x", '{"channel":"new"}', "[1]", '{"channel":"trade"}'):
        assert len(wire.frame(garbage).rejects) == 1
    assert len(wire.frames([venue.update({"100.0": "7.00000000"}), frame("trade", "update", trade())])) == 2
    assert sum(wire.decoder.counts.rejected.values()) == 5


def test_text_that_is_not_one_line_of_json_is_a_reject():
    wire = kraken_wire(EVERY_UPDATE)
    assert wire.text('{"a":\n1}').rejects == (Reject("c1", 2, "not_one_line", '{"a":\n1}'),)


def test_an_unknown_symbol_is_one_reject_per_frame():
    wire = kraken_wire(EVERY_UPDATE)
    decoded = wire.frame(frame("trade", "update", trade(1, "SOL/USD"), trade(1), trade(2, "SOL/USD")))
    assert decoded.rejects == (Reject("c1", 2, "unknown_symbol", "SOL/USD"),)
    assert len(decoded.events) == 1
    assert wire.decoder.counts.unknown_symbols == 2


def test_an_unreadable_book_frame_leaves_its_books_invalid_rather_than_wrong():
    wire, btc, eth = kraken_wire(EVERY_UPDATE), VenueBook(), VenueBook("ETH/USD")
    wire.frames([btc.snapshot(), eth.snapshot()])
    lost = btc.update({"92.0": "5.00000000"}).replace('"checksum":', '"crc":')
    decoded = wire.frame(lost)
    assert [desync.reason for desync in decoded.desyncs] == ["bad_shape"]
    assert len(decoded.rejects) == 1
    assert wire.frames([btc.update({"100.0": "7.00000000"})]) == []
    assert len(wire.frames([eth.update({"100.0": "7.00000000"})])) == 1


def test_one_bad_entry_of_several_costs_its_own_book_only():
    wire, btc, eth = kraken_wire(EVERY_UPDATE), VenueBook(), VenueBook("ETH/USD")
    wire.frames([btc.snapshot(), eth.snapshot()])
    btc.update({"100.0": "7.00000000"})
    eth.update({"100.0": "7.00000000"})
    changed = {"100.0": "7.00000000"}
    decoded = wire.frame(frame("book", "update", btc.entry(changed, {}, checksum=1), eth.entry(changed, {})))
    assert [desync.symbol for desync in decoded.desyncs] == ["BTCUSD"]
    assert [event.symbol for event in decoded.events] == ["ETHUSD"]


def test_two_entries_of_one_book_are_applied_in_order_and_a_bad_first_one_stops_the_second():
    wire, venue = kraken_wire(EVERY_UPDATE), VenueBook()
    wire.frame(venue.snapshot())
    entries = []
    for size in ("7.00000000", "8.00000000"):
        venue.update({"100.0": size})
        entries.append(venue.entry({"100.0": size}, {}))
    assert len(wire.frame(frame("book", "update", *entries)).events) == 2
    venue.update({"100.0": "9.00000000"})
    good = venue.entry({"100.0": "9.00000000"}, {})
    decoded = wire.frame(frame("book", "update", venue.entry({}, {}, checksum=1), good))
    assert (decoded.events, len(decoded.desyncs)) == ((), 1)


# Trade ids


def test_a_trade_seen_before_is_dropped_and_counted_across_connections():
    wire = kraken_wire(EVERY_UPDATE)
    wire.frames([frame("trade", "update", trade(1), trade(2))])
    wire.note(Disconnected("closed"))
    again = Wire(wire.decoder, EVERY_UPDATE, conn="c2", after="c1")
    decoded = again.frame(frame("trade", "update", trade(2), trade(3), trade(3)))
    assert [(event.n, event.trade_id) for event in decoded.events if isinstance(event, Trade)] == [(0, "3")]
    assert wire.decoder.counts.duplicates == 2


def test_the_same_id_of_another_symbol_is_another_trade():
    wire = kraken_wire(EVERY_UPDATE)
    assert len(wire.frames([frame("trade", "update", trade(1), trade(1, "ETH/USD"))])) == 2


def test_integer_trade_id_of_any_type_is_published_and_a_new_type_rejected_loudly():
    wire = kraken_wire(EVERY_UPDATE)
    assert len(wire.frames([frame("trade", "update", trade(1)), frame("trade", "update", trade('"2"'))])) == 2
    assert [reject.reason for reject in wire.frame(frame("trade", "update", trade(3.5))).rejects] == ["bad_shape"]
    assert wire.decoder.counts.rejected == {"bad_shape": 1}


def test_trade_ids_that_jump_are_counted():
    wire = kraken_wire(EVERY_UPDATE)
    wire.frames([frame("trade", "update", trade(1), trade(2), trade(9))])
    assert wire.decoder.counts.trade_id_gaps == 1
