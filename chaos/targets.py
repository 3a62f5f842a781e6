"""The numbers that chaos rows must hold, from targets.toml. A row whose numbers are missing or unknown does not load."""

import tomllib
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

FILE = Path(__file__).with_name("targets.toml")

T = TypeVar("T", bound=Struct)


class Recovery(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when something dies again and again under load."""

    rate_per_s: int
    for_s: float
    back_within_s: float
    archive_duplicates: int
    frames_unaccounted: int


class Crashes(Recovery, frozen=True, forbid_unknown_fields=True):
    """The same for single actors. clock_speed: how fast the system's clock runs, for more minutes in less time."""

    clock_speed: int


class Restart(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when the whole system ends and is started again."""

    rate_per_s: int
    runs_s: tuple[float, ...]
    gone_within_s: float
    back_within_s: float
    archive_duplicates: int
    frames_unaccounted: int


class Faults(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when the exchange misbehaves."""

    rate_per_s: int
    for_s: float
    on_frames: int
    disconnects: int
    resyncs_at_least: int
    rejects_at_least: int
    archive_duplicates: int
    frames_unaccounted: int


class Lost(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when the stream loses messages. stream: how much it keeps. frozen_s: so long nobody archives.

    first_s: after the turn of a minute, when that begins. told_within_s: from the archiver's return to the verdict.
    """

    rate_per_s: int
    stream: str
    first_s: float
    frozen_s: float
    told_within_s: float
    archive_duplicates: int
    frames_unaccounted: int


class BusAway(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when the bus is away. received_at_least: meanwhile, as a part of the rate that is sent.

    catch_up_at_least: as a multiple of the live rate.
    """

    rate_per_s: int
    live_s: float
    away_s: float
    received_at_least: float
    catch_up_at_least: float
    connector_peak_mb: float
    archive_duplicates: int
    frames_unaccounted: int


class HotChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when the symbols change while everything runs.

    Each change adds and removes so many, out of a pool of so many names. effective_within_s: from putting the change
    until the connector says that it runs, and until each new symbol's first frame. gaps: because of changes.
    """

    rate_per_s: int
    changes: int
    add: int
    remove: int
    pool: int
    most_symbols: int
    pauses_s: tuple[float, float]
    effective_within_s: float
    gaps: int
    archive_duplicates: int
    frames_unaccounted: int


class BadCandidates(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold while candidate normalizers of these versions (chaos/planted) run, each for so long.

    primary_lag_s: the highest that the normalizer beside them shows. gone_within_s: after none is named any more.
    """

    rate_per_s: int
    versions: tuple[str, ...]
    each_for_s: float
    started_within_s: float
    gone_within_s: float
    primary_lag_s: float
    archive_duplicates: int
    frames_unaccounted: int


class StoreAway(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when the object store misbehaves. away_s: how long each fault lasts; disk_mb: the store's volume.

    back_within_s: until everything that is over is stored; a server that was full may look for room once a minute only.
    grows_mb: above what the process used before the first fault.
    """

    rate_per_s: int
    away_s: float
    received_at_least: float
    back_within_s: float
    full_back_within_s: float
    connector_grows_mb: float
    archiver_grows_mb: float
    disk_mb: int
    archive_duplicates: int
    frames_unaccounted: int


class Archivers(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when archivers die in the middle of storing, or are two. for_s: how long the row goes on."""

    rate_per_s: int
    for_s: float
    back_within_s: float
    disk_mb: int
    archive_duplicates: int
    frames_unaccounted: int


class StoreKilled(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when the object store dies for some minutes of a clock that runs so much faster."""

    rate_per_s: int
    clock_speed: int
    away_s: float
    back_within_s: float
    archive_duplicates: int
    frames_unaccounted: int


class Audit(Struct, frozen=True, forbid_unknown_fields=True):
    """A gateway that is killed under clients. That nothing is lost, repeated or counted too much is no matter of numbers."""

    rate_per_s: int
    clients: int
    for_s: float


class Crowd(Struct, frozen=True, forbid_unknown_fields=True):
    """What a client that keeps up may notice of others. clients: how many of each kind of chaos/rabble.py.

    p99_change: of its latency, as a part of it; more only as far as quiet windows differ among themselves.
    gateway_mb: with the idle ones there, each of which costs so much.
    """

    rate_per_s: int
    rounds: int
    window_s: float
    clients: dict[str, int]
    p99_change: float
    gateway_mb: float
    idle_kb_each: float


class Described(Struct, frozen=True, forbid_unknown_fields=True):
    """How many examples a tool makes of each documented operation; none of them may find a fault."""

    rate_per_s: int
    examples: int


class Revoking(Struct, frozen=True, forbid_unknown_fields=True):
    """What must hold when rights are taken from clients with live sockets. told_within_s: behind the command's answer."""

    rate_per_s: int
    ways: tuple[str, ...]
    sockets: int
    told_within_s: float


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text())


def load(row: str, kind: type[T]) -> T:
    """Return a row's numbers. Raises LookupError or msgspec.ValidationError, so that its test cannot even load."""
    table = _tables().get(row)
    if table is None:
        raise LookupError(f"{FILE.name} has no [{row}]: a chaos row without a target proves nothing")
    return msgspec.convert(table, kind)
