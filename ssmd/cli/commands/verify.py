"""`ssmd verify`."""

from typing import Annotated

from cyclopts import Parameter

from ssmd.cli.options import DEFAULT_ENV, Env, Output, Where


async def verify(  # noqa: PLR0913  # a command's options are its parameters
    *,
    feed: Annotated[str, Parameter(help="The feed, such as kraken.")],
    start: Annotated[str, Parameter(help="A date, or a time such as 2025-12-01T14:00Z, UTC.")],
    end: Annotated[str, Parameter(help="A date: that day too. Or a time: up to it.")],
    sample: Annotated[
        int | None,
        Parameter(help="Normalize only so many minutes again, evenly spread; raw data is read all the same."),
    ] = None,
    version: Annotated[str, Parameter(name="--version", help="The version; else the environment's.")] = "",
    env: Env = DEFAULT_ENV,
    where: Where = Where(),  # noqa: B008  # frozen
    output: Output = "table",
) -> int:
    """Prove a time of the archive from its raw data: hashes, manifests, order, gaps, quality ledger, events. 1: not as it was.

    Example: ssmd verify --feed kraken --start 2025-12-06 --end 2025-12-06 --env demo
    """
    from ssmd.cli.reprocessing import Asked
    from ssmd.cli.verifying import prove

    return await prove(Asked(feed, start, end, env, where), version, sample, output)
