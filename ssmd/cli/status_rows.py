"""One line of `ssmd env status`."""

from typing import Literal

from msgspec import Struct

State = Literal["ok", "drift", "unknown"]


class StatusRow(Struct, frozen=True):
    """One place where the environment is. unknown: there is nothing to compare with, which is no drift."""

    state: State
    part: str
    detail: str
    fix: str = ""
