"""`ssmd feed …`."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from ssmd.cli.options import DEFAULT_ENV, Asking, Env, Going, Output, Where

app = App(
    name="feed",
    version_flags=[],
    help="The exchanges of an environment and what is captured from them.",
    help_epilogue="Example: ssmd feed list --env dev",
)

FeedName = Annotated[str, Parameter(name="FEED", help="The exchange, such as kraken.")]
Names = Annotated[
    list[str], Parameter(name="NAME", help="What the exchange calls it, such as AVAX/USD; one or several.")
]


@app.command(name="list", help_epilogue="")
def list_(*, env: Env = DEFAULT_ENV, output: Output = "table") -> int:
    """List the feeds of an environment.

    Example: ssmd feed list --env dev
    """
    from ssmd.cli.feeds import list_feeds

    return list_feeds(env, output)


@app.command(help_epilogue="")
async def add(  # noqa: PLR0913  # a command's options are its parameters
    feed: FeedName,
    names: Names,
    /,
    *,
    depth: Annotated[
        Literal["l1", "l2"] | None, Parameter(help="l1 (of a new symbol): trades and quotes; l2: books too.")
    ] = None,
    internal: Annotated[str | None, Parameter(help="What we call it; else its letters and digits, AVAXUSD.")] = None,
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    going: Going = Going(),  # noqa: B008  # frozen
) -> int:
    """Capture symbols. The environment's file is changed and, where a system runs, its connectors: no restart.

    Example: ssmd feed add kraken AVAX/USD --depth l1 --env demo --wait
    """
    from ssmd.cli.feeds import Symbols, put

    return await put(env, feed, Symbols(tuple(names), internal, depth), (asking, going))


@app.command(help_epilogue="")
async def remove(
    feed: FeedName,
    names: Names,
    /,
    *,
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    going: Going = Going(),  # noqa: B008  # frozen
) -> int:
    """Capture symbols no longer; what was captured stays.

    Example: ssmd feed remove kraken AVAX/USD --env demo --yes
    """
    from ssmd.cli.feeds import take_away

    return await take_away(env, feed, names, asking, going)


@app.command(help_epilogue="")
async def enable(
    feed: FeedName,
    /,
    *,
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    going: Going = Going(),  # noqa: B008  # frozen
) -> int:
    """Begin to capture a feed again.

    Example: ssmd feed enable kraken --env demo
    """
    from ssmd.cli.feeds import switch

    return await switch(env, feed, asking, going, enabled=True)


@app.command(help_epilogue="")
async def disable(
    feed: FeedName,
    /,
    *,
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    going: Going = Going(),  # noqa: B008  # frozen
) -> int:
    """Stop to capture a feed; its definition stays.

    Example: ssmd feed disable kraken --env demo --yes
    """
    from ssmd.cli.feeds import switch

    return await switch(env, feed, asking, going, enabled=False)


@app.command(help_epilogue="")
async def gaps(  # noqa: PLR0913  # a command's options are its parameters
    feed: FeedName,
    /,
    *,
    last: Annotated[str, Parameter(help="How far back, such as 24h; up to --end, or up to now.")] = "24h",
    start: Annotated[str, Parameter(help="Instead: from when, a date or a time such as 2025-12-01T14:00Z.")] = "",
    end: Annotated[str, Parameter(help="A date: that day too. Or a time: up to it. Else up to now.")] = "",
    env: Env = DEFAULT_ENV,
    where: Where = Where(),  # noqa: B008  # frozen
    output: Output = "table",
) -> int:
    """List when frames may be missing, and why; exit code 1 while a gap is open.

    Example: ssmd feed gaps kraken --last 1h --env demo
    """
    from ssmd.cli.ledger import Times, show_gaps

    return await show_gaps(feed, Times(last, start, end), env, where, output)


@app.command(help_epilogue="")
async def status(
    feed: Annotated[str, Parameter(name="FEED", help="The exchange; else every one of the environment.")] = "",
    /,
    *,
    env: Env = DEFAULT_ENV,
    where: Where = Where(),  # noqa: B008  # frozen
    output: Output = "table",
) -> int:
    """Show each symbol: what is captured now, what is archived, what was missing within a day. 1 while a gap is open.

    Example: ssmd feed status kraken --env demo
    """
    from ssmd.cli.ledger import show_feed_status

    return await show_feed_status(feed, env, where, output)
