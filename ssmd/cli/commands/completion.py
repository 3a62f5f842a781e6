"""`ssmd completion …`."""

import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

app = App(
    name="completion",
    version_flags=[],
    help="Completion of commands and options for bash, zsh and fish.",
    help_epilogue="Example: ssmd completion show bash",
)

Shell = Annotated[Literal["bash", "zsh", "fish"], Parameter(name="SHELL", help="The shell.")]


@app.command(help_epilogue="")
def show(shell: Shell, /) -> int:
    """Print the completion script; put `source <(ssmd completion show bash)` into ~/.bashrc to have it at once.

    Example: ssmd completion show zsh
    """
    from ssmd.cli.app import application

    sys.stdout.write(application().generate_completion(shell=shell))
    return 0


@app.command(help_epilogue="")
def install(
    shell: Shell,
    /,
    *,
    startup: Annotated[bool, Parameter(help="Also name it in the shell's startup file, where that is needed.")] = True,
) -> int:
    """Write the completion script where the shell looks for it.

    Example: ssmd completion install fish
    """
    from ssmd.cli.app import application

    path = application().install_completion(shell=shell, add_to_startup=startup)
    sys.stdout.write(f"completion for {shell} installed in {path}; it works in new shells\n")
    return 0
