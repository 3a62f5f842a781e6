import math

import pytest

from ssmd.cli.options import parse_duration_s, parse_names
from ssmd.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1.5h", 5400), ("250ms", 0.25), ("7", 7), ("2d", 172_800), (None, math.inf)],
)
def test_a_duration_has_a_unit_or_means_seconds(text, seconds):
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5s", "5 weeks", "1e3s", "inf", "nan"])
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ConfigError, match="for example 30s"):
        parse_duration_s(text)


def test_names_are_parted_by_commas():
    assert parse_names(" BTC/USD,ETH/USD ,, ") == ("BTC/USD", "ETH/USD")
