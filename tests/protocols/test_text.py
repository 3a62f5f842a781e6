import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmd.errors import BadFrame
from ssmd.protocols.text import PLAIN_NUMBER, rfc3339_ns, shorten

LAST_NS = 9_214_646_400_000_000_000  # 2262-01-01


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("2026-07-07T23:00:03.977459Z", 1_783_465_203_977_459_000),
        ("2026-07-07T23:00:03.977459566Z", 1_783_465_203_977_459_566),
        ("2026-07-07T23:00:03.000000001Z", 1_783_465_203_000_000_001),
        ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999_999_999),
    ],
)
def test_a_time_is_read_to_the_nanosecond(text, nanoseconds):
    assert rfc3339_ns(text) == nanoseconds


@given(st.integers(0, LAST_NS - 1), st.integers(0, 9))
def test_every_time_survives_the_trip_at_every_precision(nanoseconds, digits):
    nanoseconds -= nanoseconds % 10 ** (9 - digits)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=nanoseconds // 10**9)
    fraction = f".{nanoseconds % 10**9:09}"[: digits + 1] if digits else ""
    assert rfc3339_ns(f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z") == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        "", "Z", "now", "2026-07-07T23:00:03", "2026-07-07T23:00:03.Z", "2026-07-07T23:00:03.1234567890Z",
        "2026-07-07T23:00:03.-12Z", "2026-07-07T23:00:03.1_2Z", "2026-07-07T23:00:03+00:00", "2026-07-07 23:00:03Z",
        "2026-13-07T23:00:03Z", "2026-02-30T23:00:03Z", "2026-07-07T23:00:60Z", "2026-W28-2T23:00:03Z", "0001-01-01T00:00:00Z",
        "9999-01-01T00:00:00Z", "٢٠٢٦-07-07T23:00:03Z", "2026-07-07T23:00:03.٣Z", "2026-07-07T23:00:03Z\n",
    ],
)  # fmt: skip
def test_what_is_no_utc_time_is_a_bad_frame(text):
    with pytest.raises(BadFrame) as bad:
        rfc3339_ns(text)
    assert bad.value.reason == "bad_time"


@given(st.text())
def test_no_text_makes_the_clock_reader_raise_anything_else(text):
    with contextlib.suppress(BadFrame):
        assert 0 <= rfc3339_ns(text) < LAST_NS


@pytest.mark.parametrize("text", ["0", "0.0", "63501.6", "886110000000.00", "0.00000001"])
def test_digits_with_one_point_are_a_plain_number(text):
    assert PLAIN_NUMBER.fullmatch(text)


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".5", "-1", "+1", "1e-8", "NaN", "1_0", " 1", "1\n", '"1"', "\u0661", "1.2.3", "9" * 21]
)
def test_anything_else_is_not(text):
    assert PLAIN_NUMBER.fullmatch(text) is None


def test_foreign_text_is_shown_shortened():
    assert shorten("a" * 1000) == "a" * 160 + "…"
    assert shorten("abc") == "abc"
