"""What `ssmd client add|entitle|revoke|remove` do: change the gateway at once, and the environment's file, the record.

The edit of the file is made in memory and checked first, then the gateway is asked, then the file is written: what one of
them refuses is done by neither. Taking something away does not wait for a file that says otherwise.
"""

import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

from ssmd import settings
from ssmd.cli.asking import confirm_name
from ssmd.cli.changing import Change, Edit, editable, prepare, refuse
from ssmd.cli.files import locked, replace_text
from ssmd.cli.gateway import ADMIN, ClientAnswer, GatewayLink, GrantView, NewKey, Nothing, NotThere, gateway_link
from ssmd.cli.new_keys import KeyPlace
from ssmd.cli.options import Asking, Reach, Recording, Where, parse_duration_s, parse_names
from ssmd.cli.output import say
from ssmd.cli.running import find_gateway
from ssmd.environment.catalog import Catalog
from ssmd.environment.clients import Client, Grant, add_client, entitle, remove_client, revoke
from ssmd.environment.load import called
from ssmd.environment.spec import PATTERNS, TIME
from ssmd.errors import ConfigError
from ssmd.model import EVENT_TYPES
from ssmd.settings import Settings
from ssmd.trees.catalog import catalog

Call = Callable[[GatewayLink], Awaitable[object]]


class At(NamedTuple):
    """Where clients are changed, as the options say it."""

    env: str
    where: Where = Where()
    reach: Reach = Reach()
    recording: Recording = Recording()


class Both(NamedTuple):
    """One change in both places. takes_away: a file that already says so, or otherwise, is no reason to leave it."""

    edit: Edit
    call: Call
    line: str
    takes_away: bool = False


async def add_client_to(at: At, client: Client, place: KeyPlace, asking: Asking) -> int:
    place.check()
    body = {
        "client_id": client.client_id,
        "type": client.type,
        "name": client.name,
        "limits": {"devices": client.max_devices},
        "is_in_file": not at.recording.no_file,
    }
    made: list[NewKey] = []

    async def call(link: GatewayLink) -> None:
        made.append(await link.ask("POST", f"{ADMIN}/clients", NewKey, body))
        place.take(made[0])

    line = f"client/{client.client_id} added as {client.type}"
    code = await change_clients(at, Both(lambda draft, _: (add_client(draft, client),), call, line), asking)
    for key in made:
        place.show(key)
    return code


async def entitle_client(at: At, client_id: str, grant: tuple[str, str, str, str | None], asking: Asking) -> int:
    feed, symbols, types, expires = grant
    wanted = Grant(feed, parse_names(symbols), _types(types), None if expires is None else _moment(expires))
    if not wanted.symbols:
        raise ConfigError('--symbols is empty; name at least one, or "*" for every symbol')
    body = GrantView(wanted.feed, wanted.symbols, wanted.data_types, wanted.expires_at)

    async def call(link: GatewayLink) -> object:
        return await link.ask("POST", f"{_client(client_id)}/entitlements", ClientAnswer, body)

    line = f"client/{client_id} may read {', '.join(wanted.symbols)} on {feed}"
    return await change_clients(at, Both(lambda draft, _: (entitle(draft, client_id, wanted),), call, line), asking)


async def revoke_client(at: At, client_id: str, feed: str, asking: Asking) -> int:
    confirm_name(f"{client_id} will read nothing more of {feed}", client_id, asking)

    async def call(link: GatewayLink) -> object:
        return await link.ask("DELETE", f"{_client(client_id)}/entitlements/{path_part(feed, '--feed')}", ClientAnswer)

    line = f"client/{client_id} may no longer read {feed}"
    both = Both(lambda draft, _: (revoke(draft, client_id, feed),), call, line, takes_away=True)
    return await change_clients(at, both, asking)


async def remove_client_from(at: At, client_id: str, asking: Asking) -> int:
    confirm_name(f"{client_id} will be removed", client_id, asking)

    async def call(link: GatewayLink) -> object:
        return await link.ask("DELETE", _client(client_id), Nothing)

    line = f"client/{client_id} removed"
    both = Both(lambda draft, _: (remove_client(draft, client_id),), call, line, takes_away=True)
    return await change_clients(at, both, asking)


# both places -------------------------------------------------------------------------------------------------


async def change_clients(at: At, both: Both, asking: Asking) -> int:
    """Make a change in the gateway and in the file, or in the one that there is. Return the exit code."""
    values = settings.load(at.where.config)
    async with AsyncExitStack() as stack:
        link = await _link_or_none(at, values, stack)
        path = _file_or_none(at, link)
        if path is None:
            return await _gateway_only(link, both, asking)
        async with locked(path.parent):
            made = _prepared(path, both, catalog(values), link)
            if made is not None and made.after.environment is None:
                return refuse(made)
            if asking.dry_run:
                sys.stdout.write("" if made is None else made.diff())
                return 0
            if link is not None:
                await _ask(link, both)
            if made is not None and not made.is_empty:
                replace_text(made.path, made.before.source.text.encode(), made.after.source.text)
            _tell(made.lines if made is not None else (both.line,))
    return 0


async def _link_or_none(at: At, values: Settings, stack: AsyncExitStack) -> GatewayLink | None:
    """Open a way to the gateway. None: it is not wanted, or, said on stderr, none runs."""
    if at.recording.no_live:
        if at.recording.no_file:
            raise ConfigError("--no-live and --no-file together change nothing; leave one of them out")
        return None
    gateway = find_gateway(values, at.where.data_dir, at.reach, called(at.env))
    if isinstance(gateway, str):
        if at.recording.no_file:
            raise ConfigError(f"--no-file: {gateway}; start one, or give --gateway URL")
        say(f"note: {gateway}: only the file is changed; `ssmd env apply {at.env}` brings it to one")
        return None
    return await stack.enter_async_context(gateway_link(gateway))


def _file_or_none(at: At, link: GatewayLink | None) -> Path | None:
    """Return the environment's file. None: it is not wanted, or, said on stderr, there is none but a gateway."""
    if at.recording.no_file:
        return None
    try:
        return editable(at.env)
    except ConfigError as error:
        if link is None:
            raise
        say(f"note: {error}: only the gateway is changed")
        return None


async def _gateway_only(link: GatewayLink | None, both: Both, asking: Asking) -> int:
    if link is None:
        raise ConfigError("there is neither a gateway nor a file to change")
    if asking.dry_run:
        say(f"would ask the gateway at {link.url}: {both.line}")
        return 0
    await both.call(link)
    _tell((both.line,))
    return 0


def _prepared(path: Path, both: Both, facts: Catalog, link: GatewayLink | None) -> Change | None:
    """Return the edit. None: the file has nothing to take away, which does not hold up the gateway."""
    try:
        return prepare(path, both.edit, facts)
    except ConfigError as error:
        if not both.takes_away or link is None:
            raise
        say(f"note: {path}: {error}")
        return None


async def _ask(link: GatewayLink, both: Both) -> None:
    """Ask the gateway. One that does not know whom something is taken from has nothing to do."""
    try:
        await both.call(link)
    except NotThere as error:
        if not both.takes_away:
            raise
        say(f"note: {error}")


def _tell(lines: tuple[str, ...]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


# words -------------------------------------------------------------------------------------------------------


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


PATH_SAFE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _client(client_id: str) -> str:
    return f"{ADMIN}/clients/{path_part(client_id, 'ID')}"


def path_part(text: str, what: str) -> str:
    """Return what may become a part of a URL's path. Raises ConfigError."""
    if PATH_SAFE.fullmatch(text) is None:
        raise ConfigError(f"{what} is {text!r}; allowed are letters, digits, _ and -")
    return text
