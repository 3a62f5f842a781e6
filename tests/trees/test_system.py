"""Which processes `ssmd up` consists of."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from ssmd.environment.spec import Environment
from ssmd.errors import ConfigError, ExchangeDown
from ssmd.settings import Settings
from ssmd.trees import System, UpSpec
from tests.integration.rig import environment


def children(described: Environment, folder: Path) -> set[str]:
    return {child.name for child in System(UpSpec(described, Settings(), folder))._children()}


def with_unknown_exchange(described: Environment, **fields: object) -> Environment:
    feeds = described.spec.feeds
    more = {**feeds, "nyse": replace(feeds["kraken"], **fields)}
    return replace(described, spec=replace(described.spec, feeds=more))


def test_a_disabled_feed_has_its_connector_too_so_that_it_can_be_enabled_hot(tmp_path):
    assert "connector:kraken" in children(environment(["BTC/USD"], enabled=False), tmp_path)


def test_a_disabled_feed_of_an_exchange_that_nobody_knows_is_left_alone(tmp_path):
    described = environment(["BTC/USD"])
    names = children(with_unknown_exchange(described, enabled=False), tmp_path)
    assert {name for name in names if name.startswith("connector")} == {"connector:kraken"}
    with pytest.raises(ConfigError):
        children(with_unknown_exchange(described), tmp_path)


def test_a_demo_without_its_simulator_never_connects_to_the_real_exchange(tmp_path):
    """Mutant: an empty address, which means the exchange's own; real data would lie in a folder marked as simulated."""
    system = System(UpSpec(environment(["BTC/USD"]), Settings(), tmp_path, simulator=("kraken",)))
    with pytest.raises(ExchangeDown, match="the simulated exchange is not up yet"):
        system._settings("kraken")
    system.exchange_url = "ws://127.0.0.1:1"
    assert system._settings("kraken").kraken.ws_url == "ws://127.0.0.1:1"
