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
    startup: Annotated[bool, Parameter(help="Also name it in the shell's startup file, such as ~/.bashrc.")] = True,
    dry_run: Annotated[bool, Parameter(negative="", help="Say what would be written; write nothing.")] = False,
) -> int:
    """Write the completion script where the shell looks for it, and by default name it in the shell's startup file.

    Example: ssmd completion install fish
    """
    from ssmd.cli.app import application

    also = " and named in the shell's startup file" if startup and shell != "fish" else ""
    if dry_run:
        from cyclopts.completion.install import get_default_completion_path

        sys.stdout.write(f"would be written to {get_default_completion_path(shell, 'ssmd')}{also}\n")
        return 0
    path = application().install_completion(shell=shell, add_to_startup=startup)
    sys.stdout.write(f"completion for {shell} written to {path}{also}; it works in new shells\n")
    return 0
