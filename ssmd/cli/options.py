"""Options that several commands share, and how their texts become values."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from ssmd.errors import ConfigError

DEFAULT_DATA_DIR: Final = Path("ssmd-data")
DEFAULT_ENV: Final = "dev"

Format = Literal["table", "json", "yaml", "ndjson", "csv", "name"]

Env = Annotated[str, Parameter(name=["--env", "-e"], env_var="SSMD_ENV", help="Environment: a name, or a YAML file.")]
DataDir = Annotated[Path, Parameter(name="--data-dir", help="Where everything is kept.")]
Config = Annotated[Path | None, Parameter(name="--config", help="Settings file; else ./ssmd.toml if there is one.")]
Output = Annotated[Format, Parameter(name=["--output", "-o"], help="How to print it.")]
Feed = Annotated[str, Parameter(help="The feed, such as kraken; may be left out where there is only one.")]


# cyclopts flattens dataclasses into options; nothing else in ssmd uses them
@Parameter(name="*")
@dataclass(frozen=True)
class Asking:
    """How a command that changes something asks first."""

    dry_run: Annotated[bool, Parameter(negative="", help="Show what would change as a diff; write nothing.")] = False
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Do not ask.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Where the running system is."""

    data_dir: DataDir = DEFAULT_DATA_DIR
    config: Config = None


@Parameter(name="*")
@dataclass(frozen=True)
class Going(Where):
    """Whether a change goes live at once."""

    no_live: Annotated[bool, Parameter(negative="", help="Change the file only, not what runs.")] = False
    wait: Annotated[bool, Parameter(negative="", help="Return when every connector of the feed runs it.")] = False
    timeout: Annotated[str, Parameter(help="How long --wait waits.")] = "30s"


@Parameter(name="*")
@dataclass(frozen=True)
class Reach:
    """How to reach a gateway; left out, it is the one that runs in the data directory."""

    gateway: Annotated[
        str, Parameter(env_var="SSMD_GATEWAY", help="URL of a gateway; else the one that runs here.")
    ] = ""
    api_key_file: Annotated[
        Path | None,
        Parameter(env_var="SSMD_API_KEY_FILE", help="File with a key; else the administrator's of the data directory."),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """Which gateway is read, and with which key."""

    gateway: Annotated[
        str, Parameter(env_var="SSMD_GATEWAY", help="URL of a gateway; else the one that runs here.")
    ] = ""
    api_key_file: Annotated[
        Path | None,
        Parameter(
            env_var="SSMD_API_KEY_FILE",
            allow_leading_hyphen=True,
            help="File with a key, - for stdin; else demo.header of the data directory.",
        ),
    ] = None
    data_dir: DataDir = DEFAULT_DATA_DIR


Symbol = Annotated[str, Parameter(name="SYMBOL", help="Symbols, such as BTCUSD, or the exchange's names for them.")]
RangeStart = Annotated[
    str,
    Parameter(
        allow_leading_hyphen=True,
        help="A date, a time such as 2025-12-06T14:00Z (UTC), nanoseconds, or -15m; by the time of receiving.",
    ),
]
RangeEnd = Annotated[str, Parameter(allow_leading_hyphen=True, help="Up to this time, itself not included; else now.")]
Feeds = Annotated[str, Parameter(help="One feed; else all that the key may read.")]
Version = Annotated[str, Parameter(name="--version", help="Of the normalizer; else the one that is served.")]


@Parameter(name="*")
@dataclass(frozen=True)
class Recording:
    """What of the two places a change of clients is made in."""

    no_live: Annotated[bool, Parameter(negative="", help="Change the file only, not the gateway.")] = False
    no_file: Annotated[bool, Parameter(negative="", help="Change the gateway only, not the file.")] = False


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
