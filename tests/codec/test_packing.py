import pytest

from ssmd.codec import blocks, marketdata
from ssmd.codec.packing import Item, message_ends, messages, once, pack, unpack
from ssmd.errors import BadRecord
from ssmd.model import Book, Trade


def trade(seq: int) -> Trade:
    return Trade("kraken", "BTCUSD", 10 + seq, "c-0-1", seq, 0, 5, "1.5", "2.5", "sell", str(seq) * 5)


def book(levels: int) -> Book:
    side = tuple((f"{at}.5", "1.5") for at in range(levels))
    return Book("kraken", "BTCUSD", 1, "c-0-1", levels, 0, 5, side, side)


def items(*events) -> list[Item]:
    return [Item(e.recv_ns, e.conn, e.seq, e.n, marketdata.encode(e)) for e in events]


def test_what_was_packed_comes_back():
    assert unpack("trade", pack(items(trade(1), trade(2)))) == [trade(1), trade(2)]


def test_a_repeated_identity_is_dropped_and_a_neighbour_is_not():
    one, two = items(trade(1), trade(2))
    assert once([one, one, two, two, two]) == [one, two]
    assert once([]) == []


@pytest.mark.parametrize("levels", [0, 1, 10, 100, 1000, 3000])
def test_messages_are_cut_apart_whatever_their_size(levels):
    """Large ones have several segments."""
    made = [marketdata.encode(each) for each in (book(levels), book(2), book(levels))]
    assert messages(b"".join(made)) == made


@pytest.mark.parametrize("cut", [1, 7, 8, 40])
def test_a_message_that_is_cut_off_is_said(cut):
    data = b"".join(marketdata.encode(trade(seq)) for seq in range(3))
    with pytest.raises(BadRecord, match=r"message [23] of an object is cut off"):
        message_ends(data[:-cut])


def test_a_table_that_claims_more_segments_than_there_are_bytes_is_refused():
    with pytest.raises(BadRecord):
        message_ends(b"\xff\xff\xff\x7f" + bytes(60))


def test_a_damaged_object_is_refused():
    with pytest.raises(BadRecord):
        unpack("trade", blocks.compress(b"\x00" * 24)[:-3])
