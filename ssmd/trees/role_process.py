"""How a role becomes a process: its arguments, its variables, and the file that it is told by."""

import sys
from pathlib import Path

import msgspec

from ssmd.settings import environment_variables
from ssmd.trees.role_spec import RoleSpec


def role_environment() -> dict[str, str]:
    """Return the variables of a child: this process's, and an allocator that gives memory back.

    glibc keeps an arena for each thread and what was freed in it; with one arena a connector stays 5 MB smaller.
    """
    return {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "131072", **environment_variables()}


def role_argv(spec_file: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "ssmd.cli.role", str(spec_file))


def write_role_spec(directory: Path, spec: RoleSpec) -> Path:
    """Write what the role process will read, and return where."""
    path = directory / f"{spec.title.replace(':', '-')}.spec.json"
    path.unlink(missing_ok=True)
    path.touch(0o600)  # it holds the store's secret: nobody else may read it, not for a moment
    path.write_bytes(msgspec.json.encode(spec))
    return path
