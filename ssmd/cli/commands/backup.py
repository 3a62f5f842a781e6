"""`ssmd backup …` and `ssmd restore`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ssmd.cli.options import DEFAULT_DATA_DIR, DEFAULT_ENV, Config, Env, Output, Where

app = App(
    name="backup",
    help="Copy everything that a system is rebuilt from to another place, again and again; only what is new is copied.",
    help_epilogue="Example: ssmd backup --to /mnt/backup/demo --env demo",
    version_flags=[],
)

PLACE = "A directory, file:///directory or s3://bucket/prefix; [backup] in the settings says endpoint and keys."


@app.default
@app.command(help_epilogue="", version_flags=[])
async def run(  # noqa: PLR0913  # a command's options are its parameters
    *,
    to: Annotated[str, Parameter(help=PLACE)],
    feed: Annotated[list[str] | None, Parameter(negative="", help="Only this feed; may be given again.")] = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Look what would be copied; write nothing.")] = False,
    env: Env = DEFAULT_ENV,
    where: Where = Where(),  # noqa: B008  # frozen
    output: Output = "table",
) -> int:
    """Back up a system, running or not. Stopped or killed, the same command goes on. 1: something could not be backed up.

    Example: ssmd backup run --to s3://backups/ssmd/prod --env prod
    """
    from ssmd.cli.backing_up import Asked, back_up_system

    return await back_up_system(Asked(to, env, where, tuple(feed or ()), dry_run), output)


@app.command(name="list", help_epilogue="", version_flags=[])
async def list_(
    *,
    from_: Annotated[str, Parameter(name=["--from", "--to"], help=PLACE)],
    config: Config = None,
    output: Output = "table",
) -> int:
    """List the backups that a place holds, oldest first.

    Example: ssmd backup list --from /mnt/backup/demo
    """
    from ssmd.cli.backups import list_backups

    return await list_backups(from_, config, output)


async def restore(  # noqa: PLR0913  # a command's options are its parameters
    *,
    from_: Annotated[str, Parameter(name="--from", help=PLACE)],
    at: Annotated[str, Parameter(help="Which backup, as `ssmd backup list` names it; else the newest.")] = "",
    dry_run: Annotated[bool, Parameter(negative="", help="Look what would be restored; write nothing.")] = False,
    env: Annotated[
        str, Parameter(name=["--env", "-e"], help="Use this environment, a name or a YAML file, not the backup's.")
    ] = "",
    data_dir: Annotated[
        Path, Parameter(name=["--data-dir", "--to-data-dir"], help="Where to restore to.")
    ] = DEFAULT_DATA_DIR,
    config: Config = None,
    output: Output = "table",
) -> int:
    """Bring a backup back: objects, environment file, archive. Creates what is missing, overwrites nothing. 1: not all of it.

    Example: ssmd restore --from /mnt/backup/demo --data-dir demo-again
    """
    from ssmd.cli.restoring import Wanted, restore_system

    return await restore_system(Wanted(from_, at, env, Where(data_dir, config), dry_run), output)
