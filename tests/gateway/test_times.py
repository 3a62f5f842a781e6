"""Times as people write them, to the nanosecond."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmd.gateway.times import MAX_NS, parse_time, rfc3339

NOW = 1_765_029_600_123_456_789


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2025-12-06T14:00:00.123456789Z", NOW),
        ("2025-12-06T14:00:00.1Z", 1_765_029_600_100_000_000),
        ("2025-12-06T14:00Z", 1_765_029_600_000_000_000),
        ("2025-12-06T14:00:00", 1_765_029_600_000_000_000),
        ("2025-12-06T15:30:00+01:30", 1_765_029_600_000_000_000),
        ("2025-12-06T15:30:00 01:30", 1_765_029_600_000_000_000),
        ("2025-12-06 12:00:00-02:00", 1_765_029_600_000_000_000),
        ("2025-12-06", 1_764_979_200_000_000_000),
        (str(NOW), NOW),
        ("now", NOW),
        ("-15m", NOW - 900 * 10**9),
        ("-2d", NOW - 2 * 86_400 * 10**9),
    ],
)
def test_each_way_to_write_a_time(text, meant):
    assert parse_time(text, NOW) == meant


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2025", "2025-13-01", "2025-12-06T25:00Z", "15m", "-15", "-9999999w", "1e18", "2025-12-06T14:00:00.1234567890Z", "٢٠٢٥-12-06", "9999-01-01"]
)  # fmt: skip
def test_anything_else_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"."):
        parse_time(text, NOW)


@given(st.integers(0, MAX_NS - 1))
def test_a_time_comes_back_to_the_nanosecond(at_ns):
    text = rfc3339(at_ns)
    assert parse_time(text, NOW) == at_ns
    assert len(text) == len("2025-12-06T14:00:00.123456789Z")
    assert text[:19] == datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")


@given(st.text())
def test_no_text_breaks_it(text):
    with suppress(ValueError):
        assert 0 <= parse_time(text, NOW) < MAX_NS
