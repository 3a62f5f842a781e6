import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmd.errors import BadFrame
from ssmd.protocols.base import BookChange
from ssmd.protocols.book import Book


def token(price, size):
    return f"{price}@{size}".encode()


def change(bids=(), asks=(), *, snapshot=False):
    return BookChange("X", snapshot, list(bids), list(asks), None, None)


def book(bids=(), asks=(), depth=10):
    made = Book(depth, token)
    made.apply(change(bids, asks, snapshot=True))
    return made


def test_the_best_level_comes_first_on_both_sides_and_keeps_its_text():
    made = book(bids=[("1.0", "3.00"), ("9.0", "1.10"), ("10.0", "2.00")], asks=[("12.0", "1.00"), ("11.0", "0.50")])
    assert made.bids.top(2) == (("10.0", "2.00"), ("9.0", "1.10"))
    assert made.asks.top(5) == (("11.0", "0.50"), ("12.0", "1.00"))
    assert made.asks.tokens == [b"11.0@0.50", b"12.0@1.00"]


@pytest.mark.parametrize("zero", ["0", "0.0", "0.00000000"])
def test_a_size_of_zero_in_any_spelling_deletes(zero):
    made = book(bids=[("10.0", "2.00")])
    assert made.apply(change([("10.0", zero)])) == 0
    assert made.bids.top(10) == ()


def test_deletes_of_unknown_levels_are_counted_not_errors():
    made = book(bids=[("10.0", "2.00")])
    assert made.apply(change([("9.0", "0.00"), ("8.0", "0.00")], [("11.0", "0")])) == 3
    assert made.bids.top(10) == (("10.0", "2.00"),)


def test_a_snapshot_replaces_everything():
    made = book(bids=[("10.0", "2.00")], asks=[("11.0", "1.00")])
    made.apply(change(bids=[("5.00", "1.00")], snapshot=True))
    assert made.bids.top(10) == (("5.00", "1.00"),)
    assert made.asks.top(10) == ()


def test_the_cut_comes_after_all_levels_of_the_message():
    made = book(asks=[("1.0", "1"), ("2.0", "1"), ("3.0", "1")], depth=3)
    made.apply(change(asks=[("4.0", "1"), ("1.0", "0")]))  # at once: 4.0 fills the place that 1.0 leaves
    assert [price for price, _ in made.asks.top(9)] == ["2.0", "3.0", "4.0"]
    made.apply(change(asks=[("0.5", "1"), ("0.4", "1")]))
    assert [price for price, _ in made.asks.top(9)] == ["0.4", "0.5", "2.0"]
    assert len(made.asks.tokens) == 3


def test_a_book_without_depth_is_never_cut():
    levels = [(f"{i}.0", "1") for i in range(1, 3000)]
    assert len(book(asks=levels, depth=None).asks.top(5000)) == 2999


def test_absurd_prices_are_exact():
    made = book(asks=[("886110000000.00", "1"), ("886110000000.01", "1"), ("99999999999999999999.99", "1")])
    made.apply(change(asks=[("886110000000.01", "0")]))
    assert [price for price, _ in made.asks.top(9)] == ["886110000000.00", "99999999999999999999.99"]


@pytest.mark.parametrize(
    "level",
    [
        ("10.00", "1"), ("10", "1"), ("1e1", "1"), ("-10.0", "1"), ("10.0", "-1"), ("NaN", "1"), ("10.0", "NaN"),
        ("10.0", "1e-8"), ("", "1"), ("10.0", ""), ('"10.0"', "1"), ("1_0.0", "1"), ("10.0", "٣"), ("²", "1"),
        ("9" * 5000 + ".0", "1"), ("10.0", "null"), (".0", "1"), ("10.0", "."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("snapshot", [True, False])
def test_a_level_that_does_not_fit_the_book_is_a_bad_frame(level, snapshot):
    made = book(bids=[("9.0", "1")])
    with pytest.raises(BadFrame) as bad:
        made.apply(change([("9.5", "1"), level], snapshot=snapshot))
    assert bad.value.reason == "bad_level"
    assert len(bad.value.detail) < 200


def test_decimals_are_learned_anew_from_each_snapshot():
    made = book(bids=[("9.0", "1")])
    made.apply(change([("9.123", "1")], snapshot=True))
    made.apply(change([("9.124", "1")]))
    with pytest.raises(BadFrame):
        made.apply(change([("9.1", "1")]))


def test_the_decimals_outlive_the_last_level_through_a_checkpoint():
    made = book(bids=[("9.0", "1")])
    made.apply(change([("9.0", "0")]))
    with pytest.raises(BadFrame):
        Book.restored(made.state(), token).apply(change([("9.00", "1")]))


PRICES = st.integers(1, 30).map(lambda tenths: f"{tenths / 10:.1f}")
SIZES = st.sampled_from(["0.00", "1.00", "2.50", "0.01"])
CHANGES = st.lists(st.tuples(st.lists(st.tuples(PRICES, SIZES)), st.lists(st.tuples(PRICES, SIZES))), max_size=12)


@settings(max_examples=25)
@given(CHANGES, st.sampled_from([1, 3, 10, None]))
def test_a_book_equals_a_naive_one_of_sorted_dicts(changes, depth):
    made, naive_bids, naive_asks = book(depth=depth), {}, {}
    for bids, asks in changes:
        made.apply(change(bids, asks))
        naive_bids = naive(naive_bids, bids, depth, reverse=True)
        naive_asks = naive(naive_asks, asks, depth, reverse=False)
        assert made.bids.top(99) == tuple(naive_bids.items())
        assert made.asks.top(99) == tuple(naive_asks.items())
        assert made.asks.tokens == [token(*level) for level in naive_asks.items()]


def naive(side, changes, depth, *, reverse):
    side = dict(side)
    for price, size in changes:
        side[price] = size
        if not float(size):
            del side[price]
    return dict(sorted(side.items(), key=lambda level: float(level[0]), reverse=reverse)[:depth])


@settings(max_examples=25)
@given(CHANGES)
def test_a_restored_book_is_the_same_book(changes):
    made = book(depth=3)
    for bids, asks in changes:
        made.apply(change(bids, asks))
        again = Book.restored(made.state(), token)
        assert again.state() == made.state()
        assert again.bids.tokens == made.bids.tokens
