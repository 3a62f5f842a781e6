from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssmd.actors.report import ConnectorReport, digest_of, instance_name, refused_symbol
from ssmd.environment.check import MAX_SYMBOLS
from ssmd.model import is_token
from ssmd.records import FeedConfig
from tests.actors.fakes import BTC, ETH


@pytest.mark.parametrize(
    ("hostname", "expected"),
    [
        ("mybox", "mybox-"),
        ("connector-kraken-0", "connector-kraken-0-"),
        ("ssmd-connector-kraken-7d9f8b6c5d-x2x4q", "ssmd-connect_8b6c5d-x2x4q"),
        ("my.box_1", "my-box-1-"),
        ("", "host-"),
    ],
)
def test_the_machine_or_pod_is_recognisable(hostname, expected):
    assert expected in instance_name(hostname, Path("/data"))


@given(st.text(), st.text(st.characters(categories=["L", "N"]), min_size=1))
def test_every_hostname_gives_a_token(hostname, folder):
    assert is_token(instance_name(hostname, Path("/") / folder))


def test_it_is_the_same_at_each_start_and_another_in_another_folder_or_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = instance_name("mybox", Path("data"))
    assert name == instance_name("mybox", tmp_path / "data")
    assert name != instance_name("mybox", tmp_path / "other")
    long = "ssmd-connect-{}-6c5d-x2x4q-x2x4q-x2x4q"
    assert instance_name(long.format("a"), Path("/data")) != instance_name(long.format("b"), Path("/data"))


def test_the_digest_names_what_is_said_whatever_the_revision():
    one = FeedConfig((BTC, ETH), revision=1)
    assert digest_of(one) == digest_of(FeedConfig((BTC, ETH), revision=57))
    assert digest_of(one) != digest_of(FeedConfig((ETH, BTC), revision=1))
    assert digest_of(one) != digest_of(FeedConfig((BTC, ETH), revision=1, enabled=False))


def test_a_report_of_the_most_symbols_with_the_worst_refusals_fits_into_one_message():
    refused = tuple(refused_symbol(f"{i:032}", '\U0001f600"\\\n' * 100) for i in range(MAX_SYMBOLS))
    report = ConnectorReport("f" * 32, "i" * 32, 1, 1, "1", 1, 1, "d", refused=refused)
    assert len(msgspec.json.encode(report)) < 1_000_000


def test_a_report_is_silent_after_fifteen_seconds():
    report = ConnectorReport("kraken", "i", 1, 1, "1", reported_ns=10**9, revision=1, digest="")
    assert not report.is_silent(16 * 10**9)
    assert report.is_silent(16 * 10**9 + 1)
