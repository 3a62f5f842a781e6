"""Bring who may read what from an environment's file to its gateway, and tell where the two differ."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from msgspec import Struct

from ssmd.cli.gateway import ADMIN, GatewayLink, GrantView, Reconciled, gateway_link
from ssmd.cli.options import Reach, Where
from ssmd.cli.output import say
from ssmd.cli.running import find_gateway
from ssmd.environment.spec import EntitlementEntry, Environment, by_client
from ssmd.settings import Settings


class WantedClient(Struct, frozen=True):
    """A client as the file has it, all of its entries together."""

    client_id: str
    type: str
    name: str
    max_devices: int | None
    grants: tuple[GrantView, ...]


class WantedEnvironment(Struct, frozen=True):
    environment: str
    clients: tuple[WantedClient, ...]


def wanted(environment: Environment) -> WantedEnvironment:
    """Return who may read what as the gateway takes it."""
    clients = tuple(
        WantedClient(
            client.client_id,
            str(client.type),
            client.name,
            client.max_devices,
            tuple(grant for entry in entries for grant in _grants(entry)),
        )
        for client, entries in by_client(environment.spec.entitlements)
    )
    return WantedEnvironment(environment.name, clients)


def _grants(entry: EntitlementEntry) -> Iterator[GrantView]:
    for feed in entry.feeds:
        if entry.symbols:
            yield GrantView(feed, entry.symbols, entry.data_types, entry.expires_at)


@asynccontextmanager
async def gateway_or_none(
    environment: Environment, values: Settings, where: Where, reach: Reach
) -> AsyncIterator[GatewayLink | None]:
    """Open a way to the environment's gateway. None: none runs; said on stderr where somebody may read something."""
    gateway = find_gateway(values, where.data_dir, reach, environment.name)
    if isinstance(gateway, str):
        if environment.spec.entitlements:
            say(f"note: {gateway}: who may read what is not brought to one")
        yield None
        return
    async with gateway_link(gateway) as link:
        yield link


async def reconcile(link: GatewayLink, environment: Environment, *, dry_run: bool) -> Reconciled:
    """Bring the gateway to what the file says; with dry_run only tell what that would change. Raises Conflict."""
    path = f"{ADMIN}/entitlements?dry_run={str(dry_run).lower()}"
    return await link.ask("PUT", path, Reconciled, wanted(environment))


def change_lines(done: Reconciled) -> Iterator[str]:
    """Give a line for each client that was changed."""
    words = {"add": "added", "change": "changed", "remove": "taken away"}
    for change in done.changes:
        yield f"gateway client/{change.client_id} {words.get(change.action, change.action)}: {change.detail}"


def refusal_lines(done: Reconciled) -> Iterator[str]:
    """Give a line for each grant that stays revoked."""
    for each in done.refused:
        what = f"{each.feed}: {' '.join(each.symbols)}" if each.symbols else "everything"
        yield f"! gateway client/{each.client_id} does not get {what}: {each.detail}"
