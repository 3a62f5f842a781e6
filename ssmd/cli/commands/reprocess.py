"""`ssmd reprocess …`."""

from typing import Annotated

from cyclopts import App, Parameter

from ssmd.cli.options import DEFAULT_ENV, Asking, Env, Going, Output, Where

app = App(
    name="reprocess",
    help="Rebuild normalized data from raw data, compare versions of it, choose one, delete one.",
    help_epilogue="Example: ssmd reprocess run --feed kraken --start 2025-12-01 --end 2025-12-01 --version v2",
    version_flags=[],  # --version is the normalizer's
)

Feed = Annotated[str, Parameter(help="The feed, such as kraken.")]
Version = Annotated[str, Parameter(name="--version", help="The version of the normalizer, such as v2.")]
Start = Annotated[str, Parameter(help="A date, or a time such as 2025-12-01T14:00Z, UTC.")]
End = Annotated[str, Parameter(help="A date: that day too. Or a time: up to it.")]


@app.default
@app.command(help_epilogue="", version_flags=[])
async def run(  # noqa: PLR0913  # a command's options are its parameters
    *,
    feed: Feed,
    start: Start,
    end: End,
    version: Version,
    parallel: Annotated[int, Parameter(help="How many processes share the work.")] = 1,
    dry_run: Annotated[bool, Parameter(negative="", help="Do everything but write.")] = False,
    env: Env = DEFAULT_ENV,
    where: Where = Where(),  # noqa: B008  # frozen
    output: Output = "table",
) -> int:
    """Rebuild a time of one feed with one version of the normalizer. Stopped or killed, the same command goes on.

    Example: ssmd reprocess run --feed kraken --start 2025-12-01 --end 2025-12-01 --version v2 --parallel 2
    """
    from ssmd.cli.reprocessing import Asked, rebuild

    return await rebuild(Asked(feed, start, end, env, where), (version, parallel, dry_run), output)


@app.command(help_epilogue="", version_flags=[])
async def diff(  # noqa: PLR0913  # a command's options are its parameters
    *,
    feed: Feed,
    from_: Annotated[str, Parameter(name="--from", help="The one version, such as v1.")],
    to: Annotated[str, Parameter(help="The other version, such as v2.")],
    start: Start,
    end: End,
    symbols: Annotated[str, Parameter(help='Which symbols, such as "BTC*".')] = "*",
    sample: Annotated[int, Parameter(help="How many differing events to show of each kind.")] = 5,
    parallel: Annotated[int, Parameter(help="How many processes share the work.")] = 1,
    env: Env = DEFAULT_ENV,
    where: Where = Where(),  # noqa: B008  # frozen
    output: Output = "table",
) -> int:
    """Compare two versions event by event; 0: equal, 1: different.

    Example: ssmd reprocess diff --feed kraken --from v1 --to v2 --start 2025-12-01 --end 2025-12-01 --symbols BTCUSD
    """
    from ssmd.cli.reprocessing import Asked, compare

    return await compare(Asked(feed, start, end, env, where), (from_, to), (symbols, sample, parallel), output)


@app.command(help_epilogue="", version_flags=[])
async def prune(  # noqa: PLR0913  # a command's options are its parameters
    *,
    version: Version,
    feed: Annotated[str, Parameter(help="Only of this feed; else of every feed of the environment.")] = "",
    force: Annotated[
        bool, Parameter(negative="", help="Although no other version covers the same time, or a reprocess was killed.")
    ] = False,
    env: Env = DEFAULT_ENV,
    where: Where = Where(),  # noqa: B008  # frozen
    asking: Asking = Asking(),  # noqa: B008  # frozen
) -> int:
    """Delete everything that a version holds, its quality ledger too. Raw data stays, so it can be rebuilt.

    Example: ssmd reprocess prune --version v1 --env prod
    """
    from ssmd.cli.versions import prune_version

    return await prune_version((version, feed), (env, where), asking, force=force)


@app.command(help_epilogue="", version_flags=[])
async def promote(
    *,
    version: Version,
    feed: Annotated[str, Parameter(help="The feed; may be left out where there is only one.")] = "",
    env: Env = DEFAULT_ENV,
    asking: Asking = Asking(),  # noqa: B008  # frozen
    going: Going = Going(),  # noqa: B008  # frozen
) -> int:
    """Let readers use this version from now on; what connectors make does not change.

    Example: ssmd reprocess promote --version v2 --env prod
    """
    from ssmd.cli.versions import promote_version

    return await promote_version(version, feed, env, (asking, going))
