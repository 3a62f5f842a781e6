"""`ssmd config …`."""

from typing import Annotated

from cyclopts import App, Parameter

from ssmd.cli.options import Config, Output

app = App(
    name="config",
    version_flags=[],
    help="The settings in force, and where each comes from.",
    help_epilogue="Example: ssmd config show --origin",
)


@app.command(help_epilogue="")
def show(
    *,
    origin: Annotated[bool, Parameter(negative="", help="Also where each value comes from.")] = False,
    output: Output = "table",
    config: Config = None,
) -> int:
    """Show every setting; secrets as ***.

    Example: ssmd config show --origin
    """
    from ssmd.cli.configuration import show_settings

    return show_settings(output, config, origin=origin)


@app.command(help_epilogue="")
def path(*, config: Config = None) -> int:
    """Print the settings file that is used; exit code 1 when there is none.

    Example: ssmd config path
    """
    from ssmd.cli.configuration import print_path

    return print_path(config)
