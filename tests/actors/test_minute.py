from hypothesis import given
from hypothesis import strategies as st

from ssmd.actors.minute import NEVER_NS, Item, Minute, Series, once
from ssmd.codec.marketdata import Header

ITEMS = st.builds(
    lambda recv_ns, seq, n: Item(recv_ns, "c-0-1", seq, n, f"{seq}/{n}".encode()),
    st.integers(0, 5),
    st.integers(0, 3),
    st.integers(0, 1),
)


def header(recv_ns: int, seq: int) -> Header:
    return Header("BTCUSD", recv_ns, "c-0-1", seq, 0)


@given(st.lists(ITEMS))
def test_each_identity_is_kept_once_in_order(items):
    stamped = list({item.identity: item for item in items}.values())  # an identity has one receive time
    kept = once(sorted(stamped * 2))
    assert kept == sorted(stamped)


def test_series_come_in_a_fixed_order_each_sorted_by_receive_time():
    minute = Minute(first_stream_seq=7)
    assert minute.oldest_ns == NEVER_NS
    for series, recv_ns, seq in (("trade", 9, 2), ("book", 5, 1), ("trade", 3, 0), ("trade", 9, 2)):
        minute.add(Series(series, "BTCUSD"), header(recv_ns, seq), b"")
    found = [(series.type, [item.seq for item in items]) for series, items in minute.series()]
    assert found == [("book", [1]), ("trade", [0, 2])]
    assert (minute.oldest_ns, minute.first_stream_seq) == (3, 7)
