"""`ssmd doctor`."""

from typing import Annotated

from cyclopts import Parameter

from ssmd.cli.options import DEFAULT_ENV, Env, Output, Reach, Where


async def doctor(
    *,
    env: Env = DEFAULT_ENV,
    only: Annotated[str, Parameter(help="Some checks only, separated by commas, such as nats,store.")] = "",
    output: Output = "table",
    where: Where = Where(),  # noqa: B008  # frozen
    reach: Reach = Reach(),  # noqa: B008  # frozen
) -> int:
    """Check this machine, the settings and everything that ssmd is connected to; each line with a fix. Exit code 1 on fail.

    Checks: settings, python, environment, disk, store, nats, exchange, gateway.

    Example: ssmd doctor --env demo --only python,disk,nats
    """
    from ssmd.cli.diagnosis import diagnose

    return await diagnose(env, only, output, where, reach)
