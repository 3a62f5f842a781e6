"""Options that several commands share, and how their texts become values."""

import math
import re
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from ssmd.errors import ConfigError

Env = Annotated[str, Parameter(name=["--env", "-e"], help="Environment: a name, or a YAML file.")]
DataDir = Annotated[Path, Parameter(name="--data-dir", help="Where everything is kept.")]
Config = Annotated[Path | None, Parameter(name="--config", help="Settings file; else ./ssmd.toml if there is one.")]
DEFAULT_DATA_DIR: Final = Path("ssmd-data")

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_UNIT_S: Final = {"ms": 0.001, "s": 1, None: 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration_s(text: str | None) -> float:
    """Return the seconds of `30s`, `5m`, `1.5h`; None means without end."""
    if text is None:
        return math.inf
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"duration is {text!r}; write a number with ms, s, m, h or d, for example 30s")
    return float(match[1]) * _UNIT_S[match[2]]


def parse_names(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
