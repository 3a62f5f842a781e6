"""When a book goes out: driven by receive times of its own connection's frames, never by a clock."""

from ssmd.model import Book, Trade
from ssmd.records import Configured, Live, Record, Resync
from tests.protocols.recorded import (
    HEARTBEAT,
    MS,
    START_NS,
    VenueBook,
    Wire,
    config,
    frame,
    kraken_wire,
    trade,
)

SETTINGS = config("BTC/USD", "ETH/USD", interval_ms=100)


def size_of(event):
    assert isinstance(event, Book)
    return event.bids[0][1]


def opened():
    """Return a connection whose snapshots are published already, at 200 ms."""
    wire, btc, eth = kraken_wire(SETTINGS), VenueBook(), VenueBook("ETH/USD")
    wire.frame(btc.snapshot(), at_ms=0)
    wire.frame(eth.snapshot(), at_ms=1)
    wire.frame(HEARTBEAT, at_ms=200)
    return wire, btc, eth


def test_a_book_goes_out_once_per_interval_with_the_first_frame_after_it():
    wire, btc, _ = opened()
    for i in range(5):
        assert wire.frame(btc.update({"100.0": f"{i}.50000000"}), at_ms=210 + 20 * i).events == ()
    assert wire.frame(HEARTBEAT, at_ms=299).events == ()
    decoded = wire.frame(HEARTBEAT, at_ms=300)
    assert [size_of(event) for event in decoded.events] == ["4.50000000"]
    assert wire.frame(HEARTBEAT, at_ms=400).events == ()


def test_it_goes_out_before_the_triggering_frame_is_applied_and_under_its_identity():
    wire, btc, _ = opened()
    wire.frame(btc.update({"100.0": "7.00000000"}, time="2026-07-07T23:00:03.211Z"), at_ms=210)
    decoded = wire.frame(btc.update({"100.0": "8.00000000"}), at_ms=350)
    (event,) = decoded.events
    assert size_of(event) == "7.00000000"
    assert (event.recv_ns, event.seq, event.n) == (START_NS + 350 * MS, wire.seq - 1, 0)
    assert event.timestamp_ns == START_NS + 211 * MS
    assert [size_of(event) for event in wire.frame(HEARTBEAT, at_ms=400).events] == ["8.00000000"]


def test_without_an_exchange_time_a_book_has_the_receive_time_of_its_last_update():
    wire, btc, _ = opened()
    wire.frame(btc.update({"100.0": "7.00000000"}), at_ms=210)
    assert wire.frame(HEARTBEAT, at_ms=300).events[0].timestamp_ns == START_NS + 210 * MS


def test_due_books_come_first_in_the_order_of_their_first_change():
    wire, btc, eth = opened()
    wire.frame(eth.update({"100.0": "7.00000000"}), at_ms=210)
    wire.frame(btc.update({"100.0": "7.00000000"}), at_ms=220)
    wire.frame(eth.update({"100.0": "8.00000000"}), at_ms=230)
    decoded = wire.frame(frame("trade", "update", trade()), at_ms=300)
    assert [(event.n, event.symbol, type(event)) for event in decoded.events] == [
        (0, "ETHUSD", Book),
        (1, "BTCUSD", Book),
        (2, "BTCUSD", Trade),
    ]


def test_garbage_and_unreadable_text_are_frames_too():
    for garbage in ("x", '{"channel":"new"}'):
        wire, btc, _ = opened()
        wire.frame(btc.update({"100.0": "7.00000000"}), at_ms=210)
        decoded = wire.frame(garbage, at_ms=300)
        assert (len(decoded.events), len(decoded.rejects)) == (1, 1)
    wire, btc, _ = opened()
    wire.frame(btc.update({"100.0": "7.00000000"}), at_ms=210)
    wire.recv_ns = START_NS + 300 * MS
    assert len(wire.text("two\nlines").events) == 1


def test_notes_and_other_connections_publish_nothing():
    wire, btc, _ = opened()
    wire.frame(btc.update({"100.0": "7.00000000"}), at_ms=210)
    other = Wire(wire.decoder, SETTINGS, conn="other")
    assert other.frame(HEARTBEAT, at_ms=500).events == ()
    note = Record(START_NS + 500 * MS, "c1", wire.seq, note=Live(("BTCUSD",)))
    assert wire.decoder.feed(note).events == ()
    assert len(wire.frame(HEARTBEAT, at_ms=501).events) == 1


def test_a_book_that_loses_its_proof_within_the_interval_is_not_published():
    wire, btc, eth = opened()
    wire.frame(btc.update({"100.0": "7.00000000"}), at_ms=210)
    wire.frame(eth.update({"100.0": "7.00000000"}), at_ms=211)
    wire.frame(btc.update({"100.0": "8.00000000"}, checksum=1), at_ms=220)
    assert [event.symbol for event in wire.frame(HEARTBEAT, at_ms=300).events] == ["ETHUSD"]


def test_a_resync_drops_what_waits():
    wire, btc, _ = opened()
    wire.frame(btc.update({"100.0": "7.00000000"}), at_ms=210)
    wire.note(Resync("BTCUSD", "asked", START_NS))
    assert wire.frame(HEARTBEAT, at_ms=300).events == ()


def test_a_new_snapshot_within_the_interval_takes_the_place_of_what_waits():
    wire, btc, _ = opened()
    wire.frame(btc.update({"100.0": "7.00000000"}), at_ms=210)
    wire.frame(btc.update({"100.0": "8.00000000"}, checksum=1), at_ms=220)
    wire.frame(btc.snapshot(), at_ms=230)
    assert [size_of(event) for event in wire.frame(HEARTBEAT, at_ms=300).events] == ["8.00000000"]


def test_an_interval_of_zero_publishes_every_verified_change_at_once():
    wire, venue = kraken_wire(config("BTC/USD", interval_ms=0)), VenueBook()
    wire.frame(venue.snapshot(), at_ms=0)
    for i in range(1, 4):
        (event,) = wire.frame(venue.update({"100.0": f"{i}.50000000"}), at_ms=0).events
        assert (size_of(event), event.n, event.seq) == (f"{i}.50000000", 0, wire.seq - 1)


def test_a_changed_interval_sends_what_waits_with_the_next_frame():
    wire, btc, _ = opened()
    wire.frame(btc.update({"100.0": "7.00000000"}), at_ms=210)
    wire.note(Configured(config("BTC/USD", "ETH/USD", interval_ms=0)))
    decoded = wire.frame(btc.update({"100.0": "8.00000000"}), at_ms=211)
    assert [size_of(event) for event in decoded.events] == ["7.00000000", "8.00000000"]
