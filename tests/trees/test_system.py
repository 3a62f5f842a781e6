"""Which processes `ssmd up` consists of."""

from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from ssmd.environment.spec import Environment
from ssmd.errors import ConfigError, ExchangeDown
from ssmd.settings import GatewaySettings, Settings
from ssmd.supervisor import ChildSpec, ProcessFailed, Strategy, Supervisor
from ssmd.trees import System, UpSpec
from ssmd.trees.system import GIVE_UP, PROCESS_BACKOFF, _Aside
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


def test_a_restarted_gateway_listens_where_its_clients_look_for_it(tmp_path):
    listening_everywhere = Settings(gateway=GatewaySettings(listen="0.0.0.0:0"))
    system = System(UpSpec(environment(["BTC/USD"]), listening_everywhere, tmp_path))
    assert system._settings("").gateway.listen == "0.0.0.0:0"
    system.gateway_url = "http://127.0.0.1:4711"
    assert system._settings("").gateway.listen == "0.0.0.0:4711"
    assert system.endpoints().gateway == "http://127.0.0.1:4711"


async def test_a_gateway_that_cannot_live_never_makes_the_system_give_up(autojump_clock):
    """Mutant: a plain ChildProcess, whose eleventh end within a minute ends capture too."""
    starts = []

    class Dying:
        async def run(self, *, task_status=trio.TASK_STATUS_IGNORED):  # noqa: ARG002
            starts.append(trio.current_time())
            await trio.lowlevel.checkpoint()
            raise ProcessFailed("gateway", "exited with status 5", 5)

        def drain(self):
            pass

    spec = ChildSpec("gateway", lambda: _Aside(Dying()), PROCESS_BACKOFF)
    tree = Supervisor("up", Strategy.ONE_FOR_ONE, [spec], intensity=GIVE_UP)
    with trio.move_on_after(300):
        await tree.run()
    assert len(starts) > 50
