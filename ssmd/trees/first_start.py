"""What a new gateway takes over from its environment's file."""

from collections.abc import Iterator

from ssmd.environment.spec import EntitlementEntry, Environment, by_client
from ssmd.gateway.access import Grant
from ssmd.gateway.reconcile import Wanted
from ssmd.gateway.routes.bodies import moment_ns


def wanted_clients(environment: Environment) -> list[Wanted]:
    """Return who may read what by the file, as the gateway takes it."""
    return [
        Wanted(
            client.client_id,
            client.type or "display",
            client.name,
            client.max_devices,
            tuple(grant for entry in entries for grant in _grants(entry)),
        )
        for client, entries in by_client(environment.spec.entitlements)
    ]


def _grants(entry: EntitlementEntry) -> Iterator[Grant]:
    end_ns = None if entry.expires_at is None else moment_ns(entry.expires_at)
    for feed in entry.feeds:
        if entry.symbols:
            yield Grant(feed, tuple(dict.fromkeys(entry.symbols)), entry.data_types, end_ns)
