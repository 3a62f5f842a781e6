"""What the codec makes of the text of numbers."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmd.codec import numbers

texts = st.decimals(allow_nan=False, allow_infinity=False, places=8).map(str)
levels = st.lists(st.tuples(texts, texts), max_size=2 * numbers._SHALLOW_LEVELS)


@given(levels)
def test_levels_are_packed_alike_whether_they_were_seen_before_or_not(side):
    """Mutant: the batch of a deep side and the single levels of a shallow one are rounded in two ways."""
    wanted = b"".join(struct.pack("<2d", float(price), float(size)) for price, size in side)
    assert numbers.packed_levels(side) == numbers.packed_levels(side) == wanted


def test_no_more_levels_are_kept_than_said():
    kept = numbers._PackedLevels()
    for count in range(numbers._KEPT_LEVELS + 5):
        assert kept[str(count), "1"] == struct.pack("<2d", count, 1)
    assert len(kept) == 5


@pytest.mark.parametrize("level", [("1,2", "3"), ("", ""), ("1", "NaN"), ("1", "1e999"), ("1_000", "2")])
def test_what_is_no_number_is_never_kept(level):
    for _ in range(2):
        with pytest.raises((ValueError, struct.error)):
            numbers.packed_levels([level])
