"""The `ssmd` command: its tree, and how an error becomes one line with a fix and an exit code."""

import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

import trio
from cyclopts import App
from rich.console import Console

from ssmd import __version__
from ssmd.cli.cat import cat
from ssmd.cli.run import run
from ssmd.cli.simulate import simulate
from ssmd.cli.sub import sub
from ssmd.cli.up import up
from ssmd.errors import ConfigError, Outage, RestartIntensityExceeded, SsmdError

_CODES: Final = {ConfigError: 2, Outage: 5, RestartIntensityExceeded: 70, SsmdError: 1}

_app = App(
    name="ssmd",
    version=__version__,
    help="Stupid Simple Market Data: capture, keep, normalize, stream and archive live crypto market data.",
    help_epilogue="Example: ssmd up --demo --duration 30s",
    backend="trio",
    error_console=Console(stderr=True),
)
_app.command(up, help_epilogue="")
_app.command(run, help_epilogue="")
_app.command(simulate, help_flags=[], version_flags=[])  # --help is for the simulator's own parser
_app.command(sub, help_epilogue="")
_app.command(cat, help_epilogue="")


def app(tokens: "list[str] | None" = None) -> NoReturn:
    """Run one command and exit with its code."""
    sys.exit(_exit_code(lambda: _app(tokens, exit_on_error=True, print_error=True, result_action="return_value")))


def _exit_code(command: Callable[[], object]) -> int:
    try:
        result = command()
    except (SsmdError, BrokenPipeError, ExceptionGroup) as error:
        return _say(error)
    except (KeyboardInterrupt, trio.Cancelled):
        return 130
    return result if isinstance(result, int) else 0


def _say(error: Exception) -> int:
    """Print what went wrong in one line and return the exit code. What is no error of ours is a bug: raise it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, BrokenPipeError):
        # `ssmd sub | head`: nobody reads on. Without this, Python complains again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            sys.stderr.write(f"error: {error}\n")
            return code
    raise error
