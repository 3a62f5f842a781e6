"""What `ssmd client …` do: they edit the environment's entitlements."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct

from ssmd.cli.asking import confirm_name
from ssmd.cli.changing import Edit, change
from ssmd.cli.options import Asking, Format, Going, parse_duration_s, parse_names
from ssmd.cli.output import show_rows
from ssmd.environment.clients import Client, Grant, add_client, entitle, remove_client, revoke
from ssmd.environment.load import load
from ssmd.environment.spec import PATTERNS, TIME
from ssmd.errors import ConfigError
from ssmd.model import EVENT_TYPES

FILE_ONLY: Final = Going(no_live=True)
"""Entitlements are read by the gateway; nothing that a connector runs depends on them."""


class ClientRow(Struct, frozen=True):
    client: str
    type: str
    feeds: tuple[str, ...]
    symbols: tuple[str, ...]
    data_types: tuple[str, ...]
    expires_at: str
    name: str


def list_clients(env: str, output: Format) -> int:
    entries = load(env).spec.entitlements
    types = {entry.client_id: entry.type for entry in entries if entry.type}
    rows = [
        ClientRow(
            entry.client_id,
            types.get(entry.client_id, ""),
            entry.feeds,
            entry.symbols,
            entry.data_types,
            entry.expires_at or "",
            entry.name,
        )
        for entry in entries
    ]
    show_rows(rows, output, f"no client in {env}; `ssmd client add ID --type non-display` adds one")
    return 0


async def add_client_to(env: str, client: tuple[str, str, str, int | None], asking: Asking) -> int:
    return await _change(env, lambda draft, _before: (add_client(draft, Client(*client)),), asking)


async def entitle_client(env: str, client_id: str, grant: tuple[str, str, str, str | None], asking: Asking) -> int:
    feed, symbols, types, expires = grant
    wanted = Grant(feed, parse_names(symbols), _types(types), None if expires is None else _moment(expires))
    if not wanted.symbols:
        raise ConfigError('--symbols is empty; name at least one, or "*" for every symbol')
    return await _change(env, lambda draft, _before: (entitle(draft, client_id, wanted),), asking)


async def revoke_client(env: str, client_id: str, feed: str, asking: Asking) -> int:
    confirm_name(f"{client_id} will read nothing more of {feed}", client_id, asking)
    return await _change(env, lambda draft, _before: (revoke(draft, client_id, feed),), asking)


async def remove_client_from(env: str, client_id: str, asking: Asking) -> int:
    confirm_name(f"{client_id} will be removed", client_id, asking)
    return await _change(env, lambda draft, _before: (remove_client(draft, client_id),), asking)


async def _change(env: str, edit: Edit, asking: Asking) -> int:
    return await change(env, edit, asking, FILE_ONLY)


def _types(text: str) -> tuple[str, ...]:
    types = parse_names(text)
    if wrong := [name for name in types if name not in EVENT_TYPES]:
        raise ConfigError(f"--types has {wrong[0]!r}; allowed are {', '.join(EVENT_TYPES)}")
    return types


def _moment(text: str) -> str:
    """Return a date or time as the file holds it; `90d` counts from now."""
    if re.fullmatch(TIME, text):
        if text < datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")[: len(text)]:
            raise ConfigError(f"--expires is {text!r}, which is over; `ssmd client revoke` takes away what is granted")
        return text
    try:
        after_s = parse_duration_s(text)
        return (datetime.now(UTC) + timedelta(seconds=after_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ConfigError, OverflowError) as error:
        raise ConfigError(f"--expires is {text!r}; write {PATTERNS[TIME]}, or a time from now such as 90d") from error
