"""What `ssmd client list|show|rotate|sessions|kick|usage` do: they ask a running gateway."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from msgspec import Struct

from ssmd import settings
from ssmd.cli.asking import confirm_name
from ssmd.cli.clients import At, path_part
from ssmd.cli.gateway import (
    ADMIN,
    Clients,
    ClientView,
    GatewayLink,
    KnownClient,
    NewKey,
    Nothing,
    Sessions,
    Usage,
    gateway_link,
)
from ssmd.cli.new_keys import KeyPlace
from ssmd.cli.options import Asking, Format, parse_duration_s
from ssmd.cli.output import say, show_record, show_rows
from ssmd.cli.running import find_gateway
from ssmd.environment.load import called, load
from ssmd.environment.spec import EntitlementEntry
from ssmd.errors import GatewayDown


class ClientRow(Struct, frozen=True):
    """One grant of a client, or a client without any."""

    client: str
    type: str
    feeds: tuple[str, ...]
    symbols: tuple[str, ...]
    data_types: tuple[str, ...]
    expires_at: str
    name: str


@asynccontextmanager
async def running_gateway(at: At) -> AsyncIterator[GatewayLink]:
    """Open a way to the gateway. Raises GatewayDown when none runs."""
    gateway = find_gateway(settings.load(at.where.config), at.where.data_dir, at.reach)
    if isinstance(gateway, str):
        raise GatewayDown(f"{gateway}; start one with `ssmd up`, or give --gateway URL")
    async with gateway_link(gateway) as link:
        yield link


async def list_clients(at: At, output: Format) -> int:
    """List the clients as the environment's gateway has them, or without one as the file has them."""
    gateway = find_gateway(settings.load(at.where.config), at.where.data_dir, at.reach, called(at.env))
    if isinstance(gateway, str) or at.recording.no_live:
        entries = load(at.env).spec.entitlements
        types = {entry.client_id: entry.type for entry in entries if entry.type}
        rows = [_entry_row(entry, types.get(entry.client_id, "")) for entry in entries]
    else:
        async with gateway_link(gateway) as link:
            found = await link.ask("GET", f"{ADMIN}/clients", Clients)
        rows = [row for client in found.clients for row in _client_rows(client)]
        say(f"note: as the gateway at {gateway.url} has them; --no-live lists the file's")
    show_rows(rows, output, f"no client in {at.env}; `ssmd client add ID --type non-display` adds one")
    return 0


def _entry_row(entry: EntitlementEntry, type_: str) -> ClientRow:
    return ClientRow(
        entry.client_id, type_, entry.feeds, entry.symbols, entry.data_types, entry.expires_at or "", entry.name
    )


def _client_rows(client: ClientView) -> Iterator[ClientRow]:
    if not client.grants:
        yield ClientRow(client.client_id, client.type, (), (), (), "", client.name)
    for grant in client.grants:
        yield ClientRow(
            client.client_id,
            client.type,
            (grant.feed,),
            grant.symbols,
            grant.data_types,
            grant.expires_at or "",
            client.name,
        )


async def show_client(at: At, client_id: str, output: Format) -> int:
    async with running_gateway(at) as link:
        found = await link.ask("GET", f"{ADMIN}/clients/{path_part(client_id, 'ID')}", KnownClient)
    show_record(found, output)
    return 0


async def rotate_key(at: At, client_id: str, terms: tuple[str, str | None], place: KeyPlace) -> int:
    """Make a new key; the one before goes on to count for its grace."""
    grace, expires = terms
    place.check()
    body = {"grace_s": parse_duration_s(grace), "key_expires_s": None if expires is None else parse_duration_s(expires)}
    async with running_gateway(at) as link:
        key = await link.ask("POST", f"{ADMIN}/clients/{path_part(client_id, 'ID')}/keys", NewKey, body)
    place.take(key)
    place.show(key)
    say(f"note: the key before goes on to count for {grace}")
    return 0


async def list_sessions(at: At, output: Format) -> int:
    async with running_gateway(at) as link:
        found = await link.ask("GET", f"{ADMIN}/sessions", Sessions)
    show_rows(found.sessions, output, "nobody is connected")
    return 0


async def kick_session(at: At, session_id: str, asking: Asking) -> int:
    path = f"{ADMIN}/sessions/{path_part(session_id, 'SESSION')}"
    if asking.dry_run:
        say(f"would end session {session_id}")
        return 0
    confirm_name(f"session {session_id} will be ended", session_id, asking)
    async with running_gateway(at) as link:
        await link.ask("DELETE", path, Nothing)
    say(f"session/{session_id} ended; its client may connect again: `ssmd client revoke` keeps it out")
    return 0


async def show_usage(at: At, client_id: str, month: str, output: Format) -> int:
    query = f"client={path_part(client_id, 'ID')}" + (f"&month={path_part(month, '--month')}" if month else "")
    async with running_gateway(at) as link:
        found = await link.ask("GET", f"/api/v1/audit/usage?{query}", Usage)
    show_rows(found.rows, output, f"{client_id} got nothing in {found.month}")
    return 0
