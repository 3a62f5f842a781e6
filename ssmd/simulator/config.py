"""What a simulated exchange is asked to be; every field has a default that suits a first try."""

import math
from pathlib import Path

from msgspec import Struct

from ssmd.errors import ConfigError
from ssmd.simulator.faults import CONNECTION_FAULTS, Fault


class SimulatorConfig(Struct, frozen=True):
    """`rate_per_s` counts data frames of the whole feed that one client sees, over all its symbols together.

    Symbols outside the built-in table become legal by naming them here.
    """

    port: int = 0
    host: str = "127.0.0.1"
    symbols: tuple[str, ...] = ("BTC/USD", "ETH/USD")
    rate_per_s: float = 50.0
    seed: int = 1
    replay: tuple[Path, ...] = ()
    """Recordings, one frame per line (.jsonl or .jsonl.gz); when given, nothing synthetic is sent."""
    speed: float = 1.0
    """Of a replay: 1 is as recorded, `inf` as fast as the client reads."""
    faults: tuple[Fault, ...] = ()
    ledger: Path | None = None
    heartbeat_interval_s: float = 1.0
    trade_share: float = 0.1
    """The part of the market's steps that are trades."""
    book_levels: int = 600
    """Levels that the books are kept at, per side: below 1000 on purpose, a depth of 1000 shows a thin end."""
    first_trade_id: int | None = None
    """None: from the start time, so that ids stay unique over restarts."""
    queue_bytes: int = 64_000_000
    """What is queued for one slow reader; beyond it the connection is cut."""
    connects_per_window: int = 150
    connect_window_s: float = 600.0
    """More handshakes than this from one address are answered with 429, for one window."""
    requests_per_s: float = 100.0
    request_burst: int = 200
    """Client messages beyond this bucket are lost and answered with the venue's rate error."""
    head_timeout_s: float = 5.0
    """A request head or handshake must be complete within this time."""


class Endpoints(Struct, frozen=True):
    ws_url: str
    rest_url: str


def parse_speed(text: str) -> float:
    """Return the factor of `1x`, `10x`, `0.5` or `max` (infinity). Raises ConfigError."""
    if text == "max":
        return math.inf
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise ConfigError(f"speed is {text!r}; it must be a positive factor such as 1x or 10x, or max")
    return speed


def check_config(config: SimulatorConfig) -> None:
    """Raise ConfigError with everything that cannot work, in one message."""
    wrong = [
        f"{name} is {value}; it must be {allowed}"
        for name, value, fits, allowed in (
            ("rate_per_s", config.rate_per_s, 0 < config.rate_per_s < math.inf, "positive and finite"),
            ("speed", config.speed, config.speed > 0, "positive"),
            ("trade_share", config.trade_share, 0 <= config.trade_share <= 1, "between 0 and 1"),
            ("book_levels", config.book_levels, config.book_levels >= 20, "at least 20"),
            ("heartbeat_interval_s", config.heartbeat_interval_s, config.heartbeat_interval_s > 0, "positive"),
        )
        if not fits
    ]
    wrong += [] if config.symbols else ["symbols is empty; name at least one, such as BTC/USD"]
    wrong += [f"replay file {path} does not exist" for path in config.replay if not path.is_file()]
    if config.replay:
        wrong += [
            f"fault {fault.name} needs the synthetic feed: a replay is sent as it was recorded"
            for fault in config.faults
            if fault.name not in CONNECTION_FAULTS
        ]
    if wrong:
        raise ConfigError("; ".join(wrong))
