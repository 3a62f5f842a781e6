"""What a check of `ssmd doctor` finds out."""

from typing import Literal

from msgspec import Struct

State = Literal["ok", "warn", "fail"]


class Finding(Struct, frozen=True):
    """A fact, and where it is not well what to do about it."""

    state: State
    check: str
    fact: str
    fix: str = ""
