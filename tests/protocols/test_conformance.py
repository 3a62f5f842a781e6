"""What every exchange module must do. A new one needs an entry in EXCHANGES and a specimen here, nothing else.

A made-up exchange of another kind (counted frames, no checksums) passes too, so the seam does not fit one venue only.
"""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmd.errors import BadFrame, ConfigError
from ssmd.model import Book, Quote, Trade, is_token
from ssmd.protocols import EXCHANGES, exchange
from ssmd.protocols.base import Accepted, Rejected, Subscription, offered_depth
from ssmd.protocols.decoder import FeedDecoder
from ssmd.records import FeedConfig, SymbolSpec
from tests.protocols.counted import COUNTED, beat, book
from tests.protocols.recorded import MS, Wire
from tests.protocols.specimen import KRAKEN
from tests.protocols.test_decoder_state import check_every_position, records

SPECIMENS = {specimen.exchange.name: specimen for specimen in (KRAKEN, COUNTED)}
every_exchange = pytest.mark.parametrize("specimen", SPECIMENS.values(), ids=SPECIMENS.keys())


def config(specimen, depth="l2", **more):
    symbols = tuple(SymbolSpec(name, f"S{i}", depth) for i, name in enumerate(specimen.names))
    return FeedConfig(symbols, book_interval_ms=0, **more)


# The registry


def test_every_exchange_has_a_specimen():
    assert EXCHANGES.keys() <= SPECIMENS.keys()


def test_an_exchange_is_found_by_its_own_name():
    for name, module in EXCHANGES.items():
        assert exchange(name) is module
        assert module.name == name


def test_an_unknown_exchange_is_a_config_error_that_says_what_is_known():
    with pytest.raises(ConfigError, match=r"exchange is 'nowhere'; known are .*kraken"):
        exchange("nowhere")


@pytest.mark.parametrize(("offered", "wanted", "depth"), [
    ((10, 25), 1, 10), ((10, 25), 10, 10), ((25, 10), 11, 25), ((10, 25), 99, 25), ((), 10, None),
])  # fmt: skip
def test_the_offered_depth_is_the_smallest_that_holds_the_wanted(offered, wanted, depth):
    assert offered_depth(offered, wanted) == depth


# What it knows


@every_exchange
def test_names_can_become_part_of_subjects_and_keys(specimen):
    assert is_token(specimen.exchange.name)
    assert specimen.exchange.ws_url.startswith("wss://")


@every_exchange
def test_limits_are_sane(specimen):
    limits = specimen.exchange.limits
    assert 1 << 20 <= limits.max_frame_bytes <= 64 << 20
    assert limits.connects_per_window >= 1
    assert limits.symbols_per_request >= 1
    assert 0 < limits.reconnect_first_s <= limits.reconnect_cap_s <= 60
    assert 0 < limits.idle_timeout_s <= 30
    assert 0 < limits.ack_timeout_s <= 30
    for seconds in (limits.connect_window_s, limits.ping_interval_s, limits.requests_per_s, limits.stable_after_s):
        assert seconds > 0
    assert limits.after_maintenance_s >= limits.reconnect_first_s
    # even with a connect at every moment the limit allows, the cap keeps to the window
    assert limits.connect_window_s / limits.reconnect_cap_s <= limits.connects_per_window


@every_exchange
def test_offered_depths_are_rising(specimen):
    depths = specimen.exchange.book_depths
    assert list(depths) == sorted({depth for depth in depths if depth > 0})


@every_exchange
def test_only_enabled_symbols_are_subscribed_and_books_only_for_l2(specimen):
    venue = specimen.exchange
    l1, l2 = venue.subscriptions(config(specimen, "l1")), venue.subscriptions(config(specimen))
    assert venue.subscriptions(config(specimen, enabled=False)) == frozenset()
    assert venue.subscriptions(FeedConfig(())) == frozenset()
    assert {subscription.name for subscription in l1} == set(specimen.names)
    assert l2 - l1 == {Subscription(venue.book_channel, name) for name in specimen.names}
    assert l1 < l2


# Requests and answers


@every_exchange
@pytest.mark.parametrize("operation", ["subscribe", "unsubscribe"])
def test_requests_ask_for_everything_once_within_the_limits(specimen, operation):
    venue, wanted = specimen.exchange, specimen.exchange.subscriptions(config(specimen))
    requests = venue.requests(operation, wanted, config(specimen), 41)
    asked = [subscription for request in requests for subscription in request.subscriptions]
    assert sorted(asked) == sorted(wanted)
    assert [request.req_id for request in requests] == list(range(41, 41 + len(requests)))
    for request in requests:
        assert len(request.subscriptions) <= venue.limits.symbols_per_request
        assert "\n" not in request.text
        json.loads(request.text)


@every_exchange
def test_requests_do_not_depend_on_the_order_of_what_is_asked(specimen):
    venue, wanted = specimen.exchange, sorted(specimen.exchange.subscriptions(config(specimen)))
    assert venue.requests("subscribe", wanted, config(specimen), 1) == venue.requests(
        "subscribe", wanted[::-1], config(specimen), 1
    )
    assert list(venue.requests("subscribe", [], config(specimen), 1)) == []


@every_exchange
@pytest.mark.parametrize("operation", ["subscribe", "unsubscribe"])
def test_what_is_asked_is_what_the_answers_acknowledge(specimen, operation):
    venue, wanted = specimen.exchange, specimen.exchange.subscriptions(config(specimen))
    accepted = set()
    for request in venue.requests(operation, wanted, config(specimen), 1):
        for text in specimen.answers(request.text):
            answer = venue.control(text)
            assert isinstance(answer, Accepted)
            assert answer.operation == operation
            assert answer.req_id in {None, request.req_id}
            accepted.add(answer.subscription)
            assert [each for each in venue.parser().parse(text) if not hasattr(each, "expected")] == []
    assert accepted == wanted


@every_exchange
def test_a_refusal_names_something_to_match_it_by(specimen):
    answer = specimen.exchange.control(specimen.refusal)
    assert isinstance(answer, Rejected)
    assert answer.reason
    assert answer.name is not None or answer.req_id is not None


@every_exchange
def test_market_data_says_nothing_to_the_session(specimen):
    assert [specimen.exchange.control(text) for text in specimen.session] == [None] * len(specimen.session)


@every_exchange
def test_a_ping_is_one_line_of_json(specimen):
    text = specimen.exchange.ping(3)
    assert text is None or ("\n" not in text and json.loads(text))


# Frames


def decoder(specimen, state=None):
    return FeedDecoder(specimen.exchange.name, specimen.exchange, state)


@every_exchange
def test_a_session_gives_trades_quotes_and_two_sided_books_of_every_symbol(specimen):
    wire = Wire(decoder(specimen), config(specimen))
    events = wire.frames(specimen.session)
    for i in range(len(specimen.names)):
        kinds = {type(event) for event in events if event.symbol == f"S{i}"}
        assert kinds == {Trade, Quote, Book}
    assert all(event.bids and event.asks for event in events if isinstance(event, Book))
    assert all(decoded.rejects == decoded.desyncs == () for decoded in wire.all)


@every_exchange
def test_a_session_can_be_cut_anywhere(specimen):
    journal = records(specimen.session, config(specimen))
    check_every_position(decoder(specimen), lambda state: decoder(specimen, state), journal)


@every_exchange
@pytest.mark.parametrize("text", ["", "x", "[]", "null", "{}", "5", '{"channel":[]}', "[" * 100_000, "\ud800", "\x00"])
def test_nonsense_is_a_bad_frame_or_nothing_and_never_a_control_frame(specimen, text):
    assert specimen.exchange.control(text) is None
    with pytest.raises(BadFrame):
        specimen.exchange.parser().parse(text)


@every_exchange
@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_frame_raises_nothing_but_bad_frame_and_the_parser_stays_usable(specimen, data):
    text = data.draw(st.sampled_from([*specimen.session, specimen.refusal]))
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.text(max_size=4)) + text[at + data.draw(st.integers(0, 9)) :]
    parser = specimen.exchange.parser()
    specimen.exchange.control(text)
    try:
        list(parser.parse(text))
    except BadFrame as bad:
        assert is_token(bad.reason)  # noqa: PT017 - some damage leaves a good frame
    assert parser.parse(specimen.session[1])


# What it offers, and its clock


@every_exchange
def test_rest_addresses_lie_under_the_given_root(specimen):
    venue = specimen.exchange
    assert venue.rest_url.startswith("https://")
    assert not venue.rest_url.endswith("/")
    for url in (venue.instruments_url("http://here:1"), venue.clock_url("http://here:1")):
        assert url.startswith("http://here:1/")


@every_exchange
def test_what_is_listed_is_spelled_as_subscriptions_name_it(specimen):
    listed = specimen.exchange.instruments(specimen.instruments)
    assert listed > set(specimen.names)
    assert {specimen.exchange.spelling(name) for name in listed} == listed


@every_exchange
@given(name=st.text(max_size=20) | st.sampled_from(["btc/usd", "BTC-USD", "XXBTZUSD", "eth_eur", " sol/usd "]))
def test_a_spelling_is_stable_and_never_fails(specimen, name):
    spelled = specimen.exchange.spelling(name)
    assert specimen.exchange.spelling(spelled) == spelled


@every_exchange
def test_the_clock_is_read_as_utc_nanoseconds(specimen):
    assert specimen.exchange.clock_ns(specimen.clock) == 1_700_000_000_000_000_000
    assert 0 < specimen.exchange.clock_resolution_s <= 1


@every_exchange
@pytest.mark.parametrize("answer", [b"", b"{}", b"null", b"<html>", b"[" * 100_000, b"\xff\x00"])
def test_any_other_rest_answer_is_a_bad_frame(specimen, answer):
    for read in (specimen.exchange.instruments, specimen.exchange.clock_ns):
        with pytest.raises(BadFrame) as caught:
            read(answer)
        assert is_token(caught.value.reason)


# Sequence numbers, on the made-up exchange


def counted_wire():
    wire = Wire(decoder(COUNTED), config(COUNTED))
    wire.frames(COUNTED.session)
    return wire


def test_sequence_hole_marks_whole_connection():
    wire = counted_wire()
    verified_ns = wire.recv_ns
    decoded = wire.frame(beat(11))  # 10 is missing, whatever it was
    assert [(desync.name, desync.reason) for desync in decoded.desyncs] == [
        ("BTC-USD", "sequence"),
        ("ETH-USD", "sequence"),
    ]
    assert all(desync.from_ns < verified_ns for desync in decoded.desyncs)
    assert wire.frames([book(12, "BTC-USD", ("bid", "98.00", "1"))]) == []
    published = wire.frames([book(13, "BTC-USD", ("bid", "98.00", "1"), ("offer", "99.00", "1"), snapshot=True)])
    assert [event.symbol for event in published] == ["S0"]
    assert wire.frames([book(14, "ETH-USD", ("bid", "98.00", "1"))]) == []


def test_heartbeats_are_counted_so_that_there_are_no_phantom_gaps():
    wire = counted_wire()
    assert len(wire.frames([beat(10), beat(11), book(12, "BTC-USD", ("bid", "98.00", "1"))])) == 1
    assert wire.decoder.counts.desyncs == 0


def test_the_snapshot_that_shows_the_hole_repairs_its_own_book():
    wire = counted_wire()
    decoded = wire.frame(book(12, "BTC-USD", ("bid", "98.00", "1"), ("offer", "99.00", "1"), snapshot=True))
    assert len(decoded.desyncs) == 2
    assert [event.symbol for event in decoded.events] == ["S0"]


def test_a_frame_that_is_rejected_counts_as_lost():
    wire = counted_wire()
    bad = json.dumps({"n": 11, "kind": "trade", "name": "BTC-USD", "price": "-1", "size": "1", "id": 7})
    assert [reject.reason for reject in wire.frame(bad).rejects] == ["bad_number"]
    assert len(wire.frame(beat(12)).desyncs) == 2


def test_the_counter_goes_on_from_a_checkpoint():
    wire = counted_wire()
    wire.decoder = decoder(COUNTED, wire.decoder.state())
    assert len(wire.frames([book(10, "BTC-USD", ("bid", "98.00", "1"))])) == 1
    wire.decoder = decoder(COUNTED, wire.decoder.state())
    assert len(wire.frame(beat(12)).desyncs) == 2


def test_a_new_connection_counts_from_its_own_beginning():
    wire = counted_wire()
    again = Wire(wire.decoder, config(COUNTED), conn="c2", after="c1")
    again.recv_ns += 500 * MS
    assert len(again.frames(COUNTED.session)) > 0
    assert wire.decoder.counts.desyncs == 0


def test_the_side_of_a_trade_is_the_taker_where_the_venue_gives_the_maker():
    sides = {event.side for event in counted_wire().events if isinstance(event, Trade)}
    assert sides == {"buy"}  # the maker sold
