"""The `ssmd` command: its tree, and how an error becomes a line with a fix and an exit code."""

import os
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from cyclopts import App, CycloptsError

from ssmd import __version__, log
from ssmd.cli.commands import backup, client, completion, config, env, feed, reprocess, symbol
from ssmd.cli.commands.cat import cat
from ssmd.cli.commands.doctor import doctor
from ssmd.cli.commands.export import export
from ssmd.cli.commands.get import get
from ssmd.cli.commands.run import run
from ssmd.cli.commands.simulate import simulate
from ssmd.cli.commands.sub import sub
from ssmd.cli.commands.tail import tail
from ssmd.cli.commands.up import up
from ssmd.cli.commands.verify import verify
from ssmd.cli.output import help_console
from ssmd.cli.process import EXIT_INTERRUPTED
from ssmd.errors import ConfigError, Conflict, NotAllowed, Outage, RestartIntensityExceeded, SsmdError
from ssmd.settings import without_passwords

EXIT_USAGE: Final = 2
EXIT_NOT_ALLOWED: Final = 4
_CODES: Final = {
    ConfigError: EXIT_USAGE,
    NotAllowed: EXIT_NOT_ALLOWED,
    Outage: 5,
    Conflict: 1,
    RestartIntensityExceeded: 70,
    SsmdError: 1,
}
_EXPECTED: Final = (*_CODES, OSError)


def application() -> App:
    tree = App(
        name="ssmd",
        version=__version__,
        help="Stupid Simple Market Data: capture, keep, normalize, stream and archive live crypto market data.",
        help_epilogue="Example: ssmd up --demo --duration 30s",
        help_formatter="default" if sys.stdout.isatty() else "plain",
        backend="trio",
        console=help_console(),
    )
    for noun in (env.app, feed.app, symbol.app, client.app, reprocess.app, backup.app, config.app, completion.app):
        tree.command(noun)
    for verb in (up, run, sub, cat, doctor):
        tree.command(verb, help_epilogue="", version_flags=[])
    tree.command(backup.restore, help_epilogue="", version_flags=[])
    for reader in (get, tail, export, verify):
        tree.command(reader, help_epilogue="", version_flags=[])  # --version is the normalizer's
    tree.command(simulate, help_flags=[], version_flags=[])  # --help is for the simulator's own parser
    return tree


def app(tokens: "list[str] | None" = None) -> NoReturn:
    """Run one command and exit with its code."""
    log.configure("warning", to=sys.stderr)
    tree = application()
    sys.exit(_exit_code(lambda: tree(tokens, exit_on_error=False, print_error=False, result_action="return_value")))


def _exit_code(command: Callable[[], object]) -> int:
    try:
        result = command()
    except CycloptsError as error:
        words = " ".join(("ssmd", *(error.command_chain or ())))
        sys.stderr.write(f"error: {error}\nhint: {words} --help\n")
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BaseExceptionGroup as group:
        return _say_first(group)
    except (SsmdError, OSError) as error:
        return _say(error)
    return result if isinstance(result, int) else 0


def _say_first(group: BaseExceptionGroup) -> int:
    """Print the first error of several. What is no error of ours is a bug: raise it."""
    if group.subgroup(KeyboardInterrupt) is not None:
        return EXIT_INTERRUPTED
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if group.split(_EXPECTED)[1] is None and isinstance(error, (SsmdError, OSError)):
        return _say(error)
    raise group


def _say(error: SsmdError | OSError) -> int:
    """Print what went wrong in one line and return the exit code."""
    if isinstance(error, BrokenPipeError):
        # `ssmd sub | head`: nobody reads on. Without this, Python complains again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    said = str(error) if isinstance(error, SsmdError) else _os_error(error)
    sys.stderr.write(f"error: {without_passwords(said)}\n")
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), EXIT_USAGE)


def _os_error(error: OSError) -> str:
    """Return what the operating system refuses: a folder that may not be written, a full disk."""
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}"
