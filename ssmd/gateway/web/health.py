"""What /health and /health/ready answer."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct


class ChildState(Struct, frozen=True):
    path: str
    state: str
    restarts: int


class Alive(Struct, frozen=True):
    """The process lives. What went wrong in a child is for the role's own ops page and the log, not for everybody."""

    status: str
    role: str
    version: str
    children: tuple[ChildState, ...]


class Ready(Struct, frozen=True):
    """Each dependency, ok or down."""

    status: Literal["ready", "not ready"]
    checks: Mapping[str, Literal["ok", "down"]]
