import math

import pytest

from ssmd.errors import ConfigError
from ssmd.simulator import FAULTS, Fault, describe_faults, parse_fault, parse_speed
from ssmd.simulator.faults import parse_injection


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("drop@5", Fault("drop", 5.0)),
        ("stall@12.5:3", Fault("stall", 12.5, None, (3.0,))),
        ("checksum@7:BTC/USD", Fault("checksum", 7.0, "BTC/USD")),
        ("silence@0:BTC/USD:5", Fault("silence", 0.0, "BTC/USD", (5.0,))),
        ("silence@0:5:BTC/USD", Fault("silence", 0.0, "BTC/USD", (5.0,))),
        ("refuse_connects@1:20:503", Fault("refuse_connects", 1.0, None, (20.0, 503.0))),
    ],
)
def test_a_fault_is_a_name_a_time_and_arguments(text, fault):
    assert parse_fault(text) == fault


def test_an_injection_has_no_time():
    assert parse_injection("silence:ETH/USD:2") == Fault("silence", 0.0, "ETH/USD", (2.0,))


@pytest.mark.parametrize("text", ["drop", "drop@", "drop@soon", "drop@-1", "drop@nan", "drop@inf", "@5", ""])
def test_a_fault_without_a_time_is_refused_with_the_form(text):
    with pytest.raises(ConfigError, match=r"NAME@SECONDS\[:ARGUMENT\]|legal names"):
        parse_fault(text)


def test_an_unknown_fault_is_refused_with_every_legal_name():
    with pytest.raises(ConfigError) as refused:
        parse_fault("explode@5")
    assert all(name in str(refused.value) for name in FAULTS)


@pytest.mark.parametrize(
    "text",
    [
        "drop@1:3",
        "stall@1:2:3",
        "stall@1:x",
        "checksum@1:A/B:C/D",
        "stall@1:-2",
        "stall@1:inf",
        "close@1:70000",
        "burst@1:0",
    ],
)
def test_arguments_that_a_fault_does_not_take_are_refused(text):
    with pytest.raises(ConfigError, match="does not understand"):
        parse_fault(text)


def test_a_number_that_is_not_given_is_the_one_in_the_table():
    assert parse_fault("refuse_connects@1:20").number() == 20
    assert parse_fault("refuse_connects@1:20").number(1) == 429
    assert parse_fault("silence@1").number() == math.inf


def test_the_table_for_people_names_every_fault_and_what_is_seen():
    assert all(name in describe_faults() and kind.client_sees in describe_faults() for name, kind in FAULTS.items())


def test_speed_is_a_factor_or_max():
    assert [parse_speed(text) for text in ("1x", "10x", "0.5", "max")] == [1, 10, 0.5, math.inf]


@pytest.mark.parametrize("text", ["", "fast", "0", "-1x", "nan"])
def test_a_speed_that_is_no_positive_factor_is_refused(text):
    with pytest.raises(ConfigError, match="positive factor"):
        parse_speed(text)
