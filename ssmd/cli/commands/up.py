"""`ssmd up`."""

from typing import Annotated

from cyclopts import Parameter

from ssmd.cli.options import DEFAULT_DATA_DIR, DEFAULT_ENV, Config, DataDir, Env


async def up(  # noqa: PLR0913  # a command's options are its parameters
    *,
    env: Env = DEFAULT_ENV,
    demo: Annotated[bool, Parameter(negative="", help="Use the built-in simulated exchange.")] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    duration: Annotated[str | None, Parameter(help="Stop by itself after this time, such as 30s.")] = None,
    nats_port: Annotated[int, Parameter(help="Port of the embedded NATS server; 0 takes any free one.")] = 0,
    gateway_port: Annotated[
        int | None,
        Parameter(help="Port of the gateway, instead of the one in `[gateway] listen`; 0 takes any free one."),
    ] = None,
    simulate: Annotated[str, Parameter(help="Further words for the simulator: --simulate='--rate 500'.")] = "",
    config: Config = None,
) -> int:
    """Run the whole system: NATS, capture, archive, gateway, each a supervised process, until Ctrl-C.

    Example: ssmd up --demo --duration 30s
    """
    from ssmd.cli.system import UpRequest, run_up

    return await run_up(UpRequest(env, demo, data_dir, duration, nats_port, simulate, config, gateway_port))
