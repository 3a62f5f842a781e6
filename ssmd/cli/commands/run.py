"""`ssmd run`."""

from typing import Annotated, Literal

from cyclopts import Parameter

from ssmd.cli.options import DEFAULT_DATA_DIR, DEFAULT_ENV, Config, DataDir, Env

Role = Literal["connector", "archiver", "gateway", "bootstrap"]


def run(
    role: Annotated[Role, Parameter(help="bootstrap makes stream, live configuration and buckets, then ends.")],
    /,
    *,
    env: Env = DEFAULT_ENV,
    feed: Annotated[str, Parameter(help="The feed; needed when the environment has several.")] = "",
    data_dir: DataDir = DEFAULT_DATA_DIR,
    config: Config = None,
) -> None:
    """Run one role against a NATS server that exists (`[nats] url`, SSMD_NATS_URL), until SIGTERM or Ctrl-C.

    Example: SSMD_NATS_URL=nats://127.0.0.1:4222 ssmd run connector --env dev --feed kraken
    """
    from ssmd.cli.role_start import start_role

    start_role(role, env, feed, data_dir, config)
