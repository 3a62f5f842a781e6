"""`ssmd client …`."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from ssmd.cli.options import DEFAULT_ENV, Asking, Env, Output, Reach, Recording, Where

app = App(
    name="client", version_flags=[], help="Who may read what.", help_epilogue="Example: ssmd client list --env prod"
)

ClientId = Annotated[str, Parameter(name="ID", help="The client: letters, digits, _ and -.")]
KeyFile = Annotated[Path | None, Parameter(help="Write the key into this new file (0600) instead of showing it.")]


@app.command(help_epilogue="")
async def add(  # noqa: PLR0913  # a command's options are its parameters
    client_id: ClientId,
    /,
    *,
    type: Annotated[Literal["display", "non-display", "trading"], Parameter(help="How the data are used.")],  # noqa: A002
    name: Annotated[str, Parameter(help="For people.")] = "",
    devices: Annotated[int | None, Parameter(help="Connections at the same time.")] = None,
    key_file: KeyFile = None,
    env: Env = DEFAULT_ENV,
    output: Output = "table",
    asking: Asking = Asking(),  # noqa: B008  # frozen
    recording: Recording = Recording(),  # noqa: B008  # frozen
    reach: Reach = Reach(),  # noqa: B008  # frozen
    where: Where = Where(),  # noqa: B008  # frozen
) -> int:
    """Add a client to the gateway and to the environment's file, and show its key once.

    `ssmd client entitle` then lets it read something. Without a running gateway only the file is changed, and
    `ssmd client rotate` makes a key later.

    Example: ssmd client add research-bot --type non-display --env demo
    """
    from ssmd.cli.clients import At, add_client_to
    from ssmd.cli.new_keys import KeyPlace
    from ssmd.environment.clients import Client

    client = Client(client_id, type, name, devices)
    return await add_client_to(At(env, where, reach, recording), client, KeyPlace(key_file, output), asking)


@app.command(help_epilogue="")
async def entitle(  # noqa: PLR0913  # a command's options are its parameters
    client_id: ClientId,
    /,
    *,
    feed: Annotated[str, Parameter(help="The feed.")],
    symbols: Annotated[str, Parameter(help='Symbols or globs, separated by commas, such as "BTC*,ETHUSD".')],
    types: Annotated[str, Parameter(help="trade, quote, book; all when left out.")] = "",
    expires: Annotated[str | None, Parameter(help="After a time such as 90d, or at a date such as 2027-01-31.")] = None,
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    recording: Recording = Recording(),  # noqa: B008  # frozen
    reach: Reach = Reach(),  # noqa: B008  # frozen
    where: Where = Where(),  # noqa: B008  # frozen
) -> int:
    """Let a client read symbols of a feed, also those that were revoked before.

    Example: ssmd client entitle research-bot --feed kraken --symbols "BTC*" --env demo
    """
    from ssmd.cli.clients import At, entitle_client

    return await entitle_client(At(env, where, reach, recording), client_id, (feed, symbols, types, expires), asking)


@app.command(help_epilogue="")
async def revoke(  # noqa: PLR0913  # a command's options are its parameters
    client_id: ClientId,
    /,
    *,
    feed: Annotated[str, Parameter(help="The feed.")],
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    recording: Recording = Recording(),  # noqa: B008  # frozen
    reach: Reach = Reach(),  # noqa: B008  # frozen
    where: Where = Where(),  # noqa: B008  # frozen
) -> int:
    """Let a client read nothing more of a feed: live connections feel it within a second.

    It leaves a mark in the gateway: an older file cannot bring the grant back, only `ssmd client entitle` can.

    Example: ssmd client revoke research-bot --feed kraken --env demo --yes
    """
    from ssmd.cli.clients import At, revoke_client

    return await revoke_client(At(env, where, reach, recording), client_id, feed, asking)


@app.command(help_epilogue="")
async def remove(  # noqa: PLR0913  # a command's options are its parameters
    client_id: ClientId,
    /,
    *,
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    recording: Recording = Recording(),  # noqa: B008  # frozen
    reach: Reach = Reach(),  # noqa: B008  # frozen
    where: Where = Where(),  # noqa: B008  # frozen
) -> int:
    """Take a client, its keys and everything it may read away.

    Example: ssmd client remove research-bot --env demo --yes
    """
    from ssmd.cli.clients import At, remove_client_from

    return await remove_client_from(At(env, where, reach, recording), client_id, asking)


@app.command(name="list", help_epilogue="")
async def list_(
    *,
    env: Env = DEFAULT_ENV,
    no_live: Annotated[bool, Parameter(negative="", help="List what the file says, not the gateway.")] = False,
    output: Output = "table",
    reach: Reach = Reach(),  # noqa: B008  # frozen
    where: Where = Where(),  # noqa: B008  # frozen
) -> int:
    """List the clients of an environment, a line for each grant: the gateway's, or the file's where none runs.

    Example: ssmd client list --env prod
    """
    from ssmd.cli.clients import At
    from ssmd.cli.clients_live import list_clients

    return await list_clients(At(env, where, reach, Recording(no_live=no_live)), output)


@app.command(help_epilogue="")
async def show(
    client_id: ClientId,
    /,
    *,
    output: Output = "table",
    reach: Reach = Reach(),  # noqa: B008  # frozen
    where: Where = Where(),  # noqa: B008  # frozen
) -> int:
    """Show what the gateway knows of a client: grants, limits, keys (never the secret), revokes.

    Example: ssmd client show research-bot
    """
    from ssmd.cli.clients import At
    from ssmd.cli.clients_live import show_client

    return await show_client(At("", where, reach), client_id, output)


@app.command(help_epilogue="")
async def rotate(  # noqa: PLR0913  # a command's options are its parameters
    client_id: ClientId,
    /,
    *,
    grace: Annotated[str, Parameter(help="How long the key before goes on to count; 0s ends it at once.")] = "24h",
    expires: Annotated[str | None, Parameter(help="How long the new key counts, such as 90d; else for ever.")] = None,
    key_file: KeyFile = None,
    output: Output = "table",
    reach: Reach = Reach(),  # noqa: B008  # frozen
    where: Where = Where(),  # noqa: B008  # frozen
) -> int:
    """Make a client a new key and show it once. At most two keys count at a time.

    Example: ssmd client rotate research-bot --grace 24h
    """
    from ssmd.cli.clients import At
    from ssmd.cli.clients_live import rotate_key
    from ssmd.cli.new_keys import KeyPlace

    return await rotate_key(At("", where, reach), client_id, (grace, expires), KeyPlace(key_file, output))


@app.command(help_epilogue="")
async def sessions(*, output: Output = "table", reach: Reach = Reach(), where: Where = Where()) -> int:  # noqa: B008
    """List who is connected now.

    Example: ssmd client sessions
    """
    from ssmd.cli.clients import At
    from ssmd.cli.clients_live import list_sessions

    return await list_sessions(At("", where, reach), output)


@app.command(help_epilogue="")
async def kick(
    session: Annotated[str, Parameter(name="SESSION", help="A session as `ssmd client sessions` lists it.")],
    /,
    *,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    reach: Reach = Reach(),  # noqa: B008  # frozen
    where: Where = Where(),  # noqa: B008  # frozen
) -> int:
    """End a live connection. Its client may connect again.

    Example: ssmd client kick s-91c0ffee --yes
    """
    from ssmd.cli.clients import At
    from ssmd.cli.clients_live import kick_session

    return await kick_session(At("", where, reach), session, asking)


@app.command(help_epilogue="")
async def usage(
    client_id: ClientId,
    /,
    *,
    month: Annotated[str, Parameter(help="Such as 2025-12; else this one, UTC.")] = "",
    output: Output = "table",
    reach: Reach = Reach(),  # noqa: B008  # frozen
    where: Where = Where(),  # noqa: B008  # frozen
) -> int:
    """Show how many messages a client got in a month, by symbol and type.

    Example: ssmd client usage research-bot --month 2025-12
    """
    from ssmd.cli.clients import At
    from ssmd.cli.clients_live import show_usage

    return await show_usage(At("", where, reach), client_id, month, output)
