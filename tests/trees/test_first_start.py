"""A new gateway begins with what its file says, once; afterwards only people and `env apply` change it."""

import msgspec
import pytest
from msgspec.structs import replace

from ssmd.blocking import inline
from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.cli.reconciling import wanted
from ssmd.clock import NS_PER_S
from ssmd.environment.spec import EntitlementEntry, Environment
from ssmd.gateway.access import Grant
from ssmd.gateway.clients import Policy
from ssmd.gateway.entitlements import Place, open_entitlements
from ssmd.gateway.reconcile import Plan
from ssmd.gateway.routes.bodies import EnvironmentBody
from ssmd.store.memory import MemoryStore
from ssmd.trees import World
from ssmd.trees.first_start import wanted_clients
from ssmd.trees.gateway import gateway_role
from tests.gateway.opened import ME
from tests.trees.test_gateway import spec_in

BOT = EntitlementEntry("bot", ("kraken",), ("BTC*", "BTC*"), "A bot", "trading", ("trade",), "2100-01-31", 3)
MORE = EntitlementEntry("bot", ("kraken", "other"), ("ETHUSD",))
NOTHING = EntitlementEntry("idle", ("kraken",), (), type="display")


def described(*entries: EntitlementEntry) -> Environment:
    environment = spec_in(__file__).environment
    return replace(environment, spec=replace(environment.spec, entitlements=entries))


async def after_start(folder, *entries: EntitlementEntry) -> Policy:
    """Start and stop a gateway; return who may read what afterwards."""
    world = World(MemoryDialer(MemoryBroker()), MemoryStore())
    spec = replace(spec_in(folder), environment=described(*entries))
    async with gateway_role(spec, world, lambda _what, _url: None):
        pass
    return await policy_in(folder)


async def policy_in(folder) -> Policy:
    service = await open_entitlements(Place(folder / "gateway.db", "test"), blocking=inline)
    try:
        return await service.administration.policy()
    finally:
        await service.close()


async def test_a_new_gateway_takes_over_the_clients_of_its_file_and_gives_nobody_a_key(tmp_path):
    policy = await after_start(tmp_path, BOT, NOTHING, MORE)
    bot, idle = policy.clients
    assert (bot.client_id, bot.type, bot.name, bot.limits.devices, bot.origin) == ("bot", "trading", "A bot", 3, "file")
    assert [grant.feed for grant in bot.grants] == ["kraken", "kraken", "other"]
    assert idle.grants == ()
    assert policy.keys == ()


async def test_what_is_in_a_later_file_waits_for_env_apply(tmp_path):
    assert (await after_start(tmp_path)).clients == ()
    assert (await after_start(tmp_path, BOT)).clients == ()


@pytest.mark.parametrize("change", ["revoke", "remove", "reconcile"])
async def test_no_start_undoes_what_was_taken_away(tmp_path, change):
    await after_start(tmp_path, BOT)
    service = await open_entitlements(Place(tmp_path / "gateway.db", "test"), blocking=inline)
    if change == "revoke":
        await service.administration.revoke(ME, "bot", "kraken")
    elif change == "remove":
        await service.administration.remove(ME, "bot")
    else:
        await service.administration.reconcile(ME, "test", [], dry_run=False)
    await service.close()
    changed = await policy_in(tmp_path)
    assert await after_start(tmp_path, BOT, MORE) == changed
    assert [grant for client in changed.clients for grant in client.grants] == []


async def test_a_gateway_that_somebody_has_changed_takes_nothing_over(tmp_path):
    service = await open_entitlements(Place(tmp_path / "gateway.db", "test"), blocking=inline)
    await service.administration.reconcile(ME, "test", wanted_clients(described(BOT)), dry_run=False)
    await service.administration.revoke(ME, "bot", "kraken")
    assert await service.administration.take_over(wanted_clients(described(BOT))) == Plan()
    await service.close()


async def test_s20_the_take_over_is_on_record(tmp_path):
    await after_start(tmp_path, BOT)
    service = await open_entitlements(Place(tmp_path / "gateway.db", "test"), blocking=inline)
    record = await service.administration.record(10)
    await service.close()
    assert record.broken_at is None
    assert [(row.actor, row.action, row.subject) for row in record.changes] == [
        ("first start", "take over", "test"),
        ("first start", "take over", "bot"),
    ]


def test_the_gateway_takes_the_file_as_env_apply_brings_it():
    environment = described(BOT, NOTHING, MORE)
    brought = msgspec.convert(msgspec.to_builtins(wanted(environment)), EnvironmentBody)
    assert [client.wanted() for client in brought.clients] == wanted_clients(environment)
    end_ns = 4_105_036_800 * NS_PER_S  # 2100-01-31
    assert wanted_clients(environment)[0].grants[0] == Grant("kraken", ("BTC*",), ("trade",), end_ns)
