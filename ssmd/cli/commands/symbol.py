"""`ssmd symbol …`."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from ssmd.cli.options import DEFAULT_ENV, Asking, Config, Env, Feed, Going, Output

app = App(
    name="symbol",
    version_flags=[],
    help="What the exchange's names are called here.",
    help_epilogue="Example: ssmd symbol list --env dev",
)


@app.command(name="map", help_epilogue="")
async def map_(  # noqa: PLR0913  # a command's options are its parameters
    name: Annotated[str, Parameter(name="NAME", help="What the exchange calls it, such as BTC/USD.")],
    symbol: Annotated[str, Parameter(name="SYMBOL", help="What we call it, such as BTCUSD.")],
    /,
    *,
    feed: Feed = "",
    depth: Annotated[
        Literal["l1", "l2"] | None, Parameter(help="l1 (of a new symbol): trades and quotes; l2: books too.")
    ] = None,
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    going: Going = Going(),  # noqa: B008  # frozen
) -> int:
    """Capture a name under a symbol of ours, or rename one. Where a system runs, its connectors follow: no restart.

    Example: ssmd symbol map "DOT/USD" DOTUSD --feed kraken --env demo --wait
    """
    from ssmd.cli.feeds import Symbols, only_feed, put

    return await put(env, only_feed(env, feed), Symbols((name,), symbol, depth), (asking, going))


@app.command(help_epilogue="")
async def unmap(
    name: Annotated[str, Parameter(name="NAME", help="The exchange's name, or our symbol.")],
    /,
    *,
    feed: Feed = "",
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    going: Going = Going(),  # noqa: B008  # frozen
) -> int:
    """Take a mapping away: the symbol is captured no longer; what was captured stays.

    Example: ssmd symbol unmap DOTUSD --feed kraken --env demo --yes
    """
    from ssmd.cli.feeds import only_feed, take_away

    return await take_away(env, only_feed(env, feed), (name,), asking, going)


@app.command(name="list", help_epilogue="")
def list_(*, env: Env = DEFAULT_ENV, feed: Feed = "", output: Output = "table") -> int:
    """List the mappings of an environment.

    Example: ssmd symbol list --env dev --output json
    """
    from ssmd.cli.feeds import list_symbols

    return list_symbols(env, feed, output)


@app.command(help_epilogue="")
async def validate(
    *,
    env: Env = DEFAULT_ENV,
    online: Annotated[bool, Parameter(negative="", help="Ask the exchanges for their instrument lists.")] = False,
    output: Output = "table",
    config: Config = None,
) -> int:
    """Check that every mapping leads to something the exchange offers. Exit code 1 when one does not.

    Example: ssmd symbol validate --env dev
    """
    from ssmd.cli.feeds import validate_symbols

    return await validate_symbols(env, config, output, online=online)


@app.command(help_epilogue="")
def search(
    text: Annotated[str, Parameter(name="TEXT", help="A part of the name, such as SOL.")],
    /,
    *,
    feed: Feed = "",
    env: Env = DEFAULT_ENV,
    output: Output = "table",
) -> int:
    """Search what the exchanges offer.

    Example: ssmd symbol search SOL --feed kraken
    """
    from ssmd.cli.feeds import search_symbols

    return search_symbols(text, feed, env, output)
