import shutil
import struct
import subprocess

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmd.codec import marketdata
from ssmd.errors import BadRecord
from ssmd.model import Book, Quote, Trade, type_of

IDENTITY = {
    "feed": "kraken",
    "symbol": "BTCUSD",
    "recv_ns": 1765029600123456789,
    "conn": "0abcdef1",
    "seq": 7,
    "n": 2,
    "timestamp_ns": 1765029600000000001,
}
TRADE = Trade(**IDENTITY, price="60000.1", size="0.001", side="sell", trade_id="81234567")
QUOTE = Quote(**IDENTITY, bid_price="60000.1", bid_size="1.0", ask_price="60000.2", ask_size="1e-08")
BOOK = Book(**IDENTITY, bids=(("60000.1", "1.5"), ("60000.0", "2.0")), asks=(("60000.2", "0.25"),))
EVENTS = [TRADE, QUOTE, BOOK]
each_event = pytest.mark.parametrize("event", EVENTS, ids=type_of)

# Golden: what is deployed somewhere can never be renumbered. Append here when a field is appended to the schema.
ORDINALS = {
    "Timestamp": ["epochNanos"],
    "Quote": [
        "symbol",
        "bidPrice",
        "bidSize",
        "askPrice",
        "askSize",
        "timestamp",
        "exchange",
        "recvNs",
        "conn",
        "seq",
        "n",
    ],
    "Trade": ["symbol", "price", "size", "side", "timestamp", "tradeId", "exchange", "recvNs", "conn", "seq", "n"],
    "OrderBookLevel": ["price", "size"],
    "OrderBookSnapshot": ["symbol", "bids", "asks", "timestamp", "exchange", "recvNs", "conn", "seq", "n"],
}
SLOTS = {
    "Timestamp": "uint64",
    "Quote": "text float64 float64 float64 float64 Timestamp text uint64 text uint64 uint32",
    "Trade": "text float64 float64 Side Timestamp text text uint64 text uint64 uint32",
    "OrderBookLevel": "float64 float64",
    "OrderBookSnapshot": "text list list Timestamp text uint64 text uint64 uint32",
}

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
numbers = st.floats(allow_nan=False, allow_infinity=False).map(repr)
identities = st.fixed_dictionaries(
    {
        "feed": st.text(max_size=20),
        "symbol": st.from_regex(r"[A-Z0-9_-]{1,32}", fullmatch=True),
        "recv_ns": u64,
        "conn": st.text(max_size=32),
        "seq": u64,
        "n": u32,
        "timestamp_ns": u64,
    }
)
levels = st.lists(st.tuples(numbers, numbers), max_size=8).map(tuple)
events = (
    st.builds(
        lambda i, p, s, side, t: Trade(**i, price=p, size=s, side=side, trade_id=t),
        identities, numbers, numbers, st.sampled_from(["buy", "sell"]), st.text(),
    )
    | st.builds(
        lambda i, a, b, c, d: Quote(**i, bid_price=a, bid_size=b, ask_price=c, ask_size=d),
        identities, numbers, numbers, numbers, numbers,
    )
    | st.builds(lambda i, b, a: Book(**i, bids=b, asks=a), identities, levels, levels)
)  # fmt: skip


def slot_name(field) -> str:
    kind = field.proto.slot.type.which()
    if kind in {"struct", "enum"}:
        return field.schema.node.displayName.split(":")[-1]
    return str(kind)


@pytest.mark.parametrize("name", ORDINALS)
def test_ordinals_and_types_of_the_schema_never_change(name):
    fields = getattr(marketdata.SCHEMA, name).schema.fields_list
    by_ordinal = sorted(fields, key=lambda field: field.proto.ordinal.explicit)
    assert [field.proto.ordinal.explicit for field in by_ordinal] == list(range(len(by_ordinal)))
    assert [field.proto.name for field in by_ordinal] == ORDINALS[name]
    assert [slot_name(field) for field in by_ordinal] == SLOTS[name].split()


def test_the_file_id_and_the_sides_never_change():
    assert "@0xabcdef1234567890;" in marketdata.schema_path().read_text()
    assert marketdata.SCHEMA.Side.schema.enumerants == {"buy": 0, "sell": 1}


@given(events)
def test_a_template_gives_the_bytes_of_capnprotos_own_writer(event):
    """Mutant: a field taken for its neighbour, a level too few, a text of another length."""
    again = msgspec.structs.replace(event, recv_ns=event.recv_ns ^ 5, seq=event.seq ^ 3, n=event.n ^ 1)
    for each in (event, again):
        assert marketdata.encode(each) == marketdata._WRITERS[type(each)](each)


@given(events)
def test_any_event_comes_back_and_encodes_to_the_same_bytes_again(event):
    payload = marketdata.encode(event)
    again = marketdata.decode(type_of(event), payload)
    assert again == event or "-0" in str(event)  # minus zero is zero
    assert marketdata.encode(again) == marketdata.encode(event) == payload
    head = marketdata.header(type_of(event), payload)
    assert head == marketdata.Header(event.symbol, event.recv_ns, event.conn, event.seq, event.n)


@given(numbers | st.decimals(allow_nan=False, allow_infinity=False, places=12).map(str))
def test_numbers_are_rounded_as_float_does(text):
    trade = marketdata.decode(
        "trade", marketdata.encode(Trade(**IDENTITY, price=text, size="1", side="buy", trade_id=""))
    )
    assert float(trade.price) == float(text)


def test_trailing_zeros_live_in_the_raw_data_only():
    trade = Trade(**IDENTITY, price="60000.10", size="0.00100000", side="buy", trade_id="1")
    found = marketdata.decode("trade", marketdata.encode(trade))
    assert (found.price, found.size) == ("60000.1", "0.001")


@each_event
def test_a_message_is_one_segment_of_whole_words(event):
    payload = marketdata.encode(event)
    segments_minus_one, words = struct.unpack_from("<II", payload)
    assert (segments_minus_one, 8 + 8 * words) == (0, len(payload))


@pytest.mark.parametrize(
    "bad", ["nan", "NaN", "inf", "-Infinity", "1e999", "", " ", "1,2", "1_000", "0x10", "abc", "\uff11"]
)
def test_a_number_that_is_none_is_refused_before_anything_is_published(bad):
    for event in (
        Trade(**IDENTITY, price=bad, size="1", side="buy", trade_id="1"),
        Trade(**IDENTITY, price="1", size=bad, side="buy", trade_id="1"),
        Quote(**IDENTITY, bid_price="1", bid_size="1", ask_price="1", ask_size=bad),
        Book(**IDENTITY, bids=(("1", "1"), ("1", bad)), asks=()),
        Book(**IDENTITY, bids=(), asks=((bad, "1"),)),
    ):
        with pytest.raises(BadRecord, match="0abcdef1/7/2"):
            marketdata.encode(event)


def test_what_does_not_fit_the_schema_is_a_bad_record():
    for wrong in ({"seq": -1}, {"seq": 2**64}, {"n": 2**32}, {"recv_ns": -1}, {"conn": "\ud800"}):
        with pytest.raises(BadRecord):
            marketdata.encode(Trade(**(IDENTITY | wrong), price="1", size="1", side="buy", trade_id="1"))


@each_event
def test_every_cut_of_a_message_is_a_bad_record(event):
    payload = marketdata.encode(event)
    for length in range(len(payload)):
        for read in (marketdata.decode, marketdata.header):
            with pytest.raises(BadRecord):
                read(type_of(event), payload[:length])


@each_event
def test_an_archive_object_gives_the_good_ones_and_then_the_error(event):
    payload = marketdata.encode(event)
    kind = type_of(event)
    assert list(marketdata.decode_many(kind, payload * 3)) == [event] * 3
    assert list(marketdata.decode_many(kind, b"")) == []
    for rest in (payload[:-1], payload[:9], b"abc", b"\0" * 8, b"\xff" * 64):
        good = []
        with pytest.raises(BadRecord, match="after 2 good ones"):
            good.extend(marketdata.decode_many(kind, payload * 2 + rest))
        assert good == [event] * 2


def test_events_stay_what_they_are_after_the_message_is_gone():
    first, *_ = marketdata.decode_many("book", marketdata.encode(BOOK) * 1000)
    assert first == BOOK


@given(st.sampled_from(EVENTS), st.data())
def test_a_flipped_bit_never_gives_anything_but_an_event_or_a_bad_record(event, data):
    payload = bytearray(marketdata.encode(event))
    for at in data.draw(st.lists(st.integers(0, 8 * len(payload) - 1), min_size=1, max_size=6)):
        payload[at // 8] ^= 1 << at % 8
    for kind in ("trade", "quote", "book"):
        for read in (marketdata.decode, marketdata.header):
            try:
                read(kind, bytes(payload))
            except BadRecord:
                continue


@given(st.binary(max_size=400))
def test_s14_garbage_never_gives_anything_but_an_event_or_a_bad_record(payload):
    for kind in ("trade", "quote", "book"):
        for read in (marketdata.decode, marketdata.header):
            try:
                read(kind, payload)
            except BadRecord:
                continue
        try:
            list(marketdata.decode_many(kind, payload))
        except BadRecord:
            continue


def amplifier(levels: int) -> bytes:
    """A short book whose bids claim any number of levels of no size."""
    empty = marketdata.encode(Book(**IDENTITY, bids=(), asks=()))
    root_data_words, root_pointers = struct.unpack_from("<HH", empty, 8 + 4)
    bids_at = 8 + 8 + 8 * (root_data_words + 1)  # pointers: symbol, bids, asks, …
    assert root_pointers >= 3
    payload = bytearray(empty + bytes(8))
    struct.pack_into("<I", payload, 4, (len(payload) - 8) // 8)
    tag_at = len(empty)
    offset = (tag_at - bids_at - 8) // 8
    struct.pack_into("<II", payload, bids_at, (offset << 2) | 1, 7)  # composite list of 0 words
    struct.pack_into("<IHH", payload, tag_at, levels << 2, 0, 0)
    return bytes(payload)


def test_s14_a_message_that_claims_millions_of_levels_is_refused_at_once():
    assert len(marketdata.decode("book", amplifier(20)).bids) == 20  # so the form is right
    for levels in (10_000, (1 << 29) - 1):
        with pytest.raises(BadRecord, match=r"[Ll]imit"):
            marketdata.decode("book", amplifier(levels))
        with pytest.raises(BadRecord, match=r"[Ll]imit"):
            list(marketdata.decode_many("book", amplifier(levels)))


def test_a_symbol_that_could_leave_its_folder_is_refused():
    for symbol in ("../x", "", "btc", "A" * 33, "A.B", "A/B", "A*"):
        payload = marketdata.encode(
            Trade(**(IDENTITY | {"symbol": symbol}), price="1", size="1", side="buy", trade_id="1")
        )
        with pytest.raises(BadRecord, match="symbol"):
            marketdata.header("trade", payload)


def test_a_side_we_do_not_know_is_a_bad_record():
    payload = bytearray(marketdata.encode(TRADE))
    known = [at for at in range(16, len(payload)) if marketdata.encode(TRADE)[at] == 1]
    changed = []
    for at in known:
        copy = bytearray(payload)
        copy[at] = 9
        try:
            marketdata.decode("trade", bytes(copy))
        except BadRecord as bad:
            changed.append(str(bad))
    assert any("side is 9" in text for text in changed)


def test_the_schema_is_found_in_an_installed_wheel_too(monkeypatch, tmp_path):
    installed = tmp_path / "share" / "ssmd" / "schemas" / "marketdata.capnp"
    monkeypatch.setattr(marketdata, "__file__", str(tmp_path / "lib" / "ssmd" / "codec" / "marketdata.py"))
    monkeypatch.setattr(marketdata.sys, "prefix", str(tmp_path))
    assert marketdata.schema_path() == installed


@pytest.mark.skipif(shutil.which("capnp") is None, reason="THE capnp TOOL IS NOT INSTALLED HERE")
def test_the_capnp_tool_reads_our_objects():
    done = subprocess.run(
        ["capnp", "decode", str(marketdata.schema_path()), "Trade"],
        input=marketdata.encode(TRADE) * 2, capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout.count(b"tradeId") == 2


def test_a_trade_id_is_never_cut_by_the_template_of_another_one():
    """Mutant: count characters for the template and bytes for its key."""
    for trade_id in ("é1", "abc", "💥", "abcd", "a\0b"):
        event = msgspec.structs.replace(TRADE, symbol="CUTUSD", trade_id=trade_id)
        assert marketdata.decode("trade", marketdata.encode(event)).trade_id == trade_id
