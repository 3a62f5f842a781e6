"""`ssmd client …`."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from ssmd.cli.options import DEFAULT_ENV, Asking, Env, Output

app = App(
    name="client", version_flags=[], help="Who may read what.", help_epilogue="Example: ssmd client list --env prod"
)

ClientId = Annotated[str, Parameter(name="ID", help="The client: letters, digits, _ and -.")]


@app.command(help_epilogue="")
async def add(  # noqa: PLR0913  # a command's options are its parameters
    client_id: ClientId,
    /,
    *,
    type: Annotated[Literal["display", "non-display", "trading"], Parameter(help="How the data are used.")],  # noqa: A002
    name: Annotated[str, Parameter(help="For people.")] = "",
    devices: Annotated[int | None, Parameter(help="Connections at the same time.")] = None,
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
) -> int:
    """Define a client in the environment's file; `ssmd client entitle` then lets it read something.

    Example: ssmd client add research-bot --type non-display --env demo
    """
    from ssmd.cli.clients import add_client_to

    return await add_client_to(env, (client_id, type, name, devices), asking)


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
) -> int:
    """Let a client read symbols of a feed.

    Example: ssmd client entitle research-bot --feed kraken --symbols "BTC*" --env demo
    """
    from ssmd.cli.clients import entitle_client

    return await entitle_client(env, client_id, (feed, symbols, types, expires), asking)


@app.command(help_epilogue="")
async def revoke(
    client_id: ClientId,
    /,
    *,
    feed: Annotated[str, Parameter(help="The feed.")],
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
) -> int:
    """Let a client read nothing more of a feed.

    Example: ssmd client revoke research-bot --feed kraken --env demo --yes
    """
    from ssmd.cli.clients import revoke_client

    return await revoke_client(env, client_id, feed, asking)


@app.command(help_epilogue="")
async def remove(client_id: ClientId, /, *, env: Env = DEFAULT_ENV, asking: Asking = Asking()) -> int:  # noqa: B008
    """Take a client and everything it may read out of the file.

    Example: ssmd client remove research-bot --env demo --yes
    """
    from ssmd.cli.clients import remove_client_from

    return await remove_client_from(env, client_id, asking)


@app.command(name="list", help_epilogue="")
def list_(*, env: Env = DEFAULT_ENV, output: Output = "table") -> int:
    """List the clients of an environment, a line for each grant.

    Example: ssmd client list --env prod
    """
    from ssmd.cli.clients import list_clients

    return list_clients(env, output)
