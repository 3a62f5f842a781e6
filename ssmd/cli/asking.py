"""Ask before something is lost. No terminal and no --yes: say so at once, never hang."""

import sys

from ssmd.cli.options import Asking
from ssmd.errors import ConfigError


def confirm_name(what: str, name: str, asking: Asking) -> None:
    """Have the name typed. Raises ConfigError when it is not, or when there is nobody to ask."""
    if asking.yes or asking.dry_run:
        return
    _need_terminal(what)
    if _ask(f"{what}: type {name} to confirm: ") != name:
        raise ConfigError("not confirmed; nothing was changed")


def confirm(what: str, asking: Asking) -> None:
    if asking.yes or asking.dry_run:
        return
    _need_terminal(what)
    if _ask(f"{what}? [y/N] ").lower() not in {"y", "yes"}:
        raise ConfigError("not confirmed; nothing was changed")


def _need_terminal(what: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{what}: there is no terminal to ask on; --yes goes on without asking, --dry-run shows the change"
        )


def _ask(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()
