"""What comes of a reprocess: per minute, and of the whole range. All of it is stored as JSON beside the objects."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from ssmd.model import EventType
from ssmd.protocols.coverage import Gap
from ssmd.protocols.quality import Figures, Source

MAX_PROBLEMS: Final = 1000
"""Named one by one; more are counted only."""

NOBODY: Final = Source("", "")


class Problem(Struct, frozen=True, order=True):
    """What is wrong with something stored. `kind` has few values: see docs/reprocess.md."""

    key: str
    kind: str
    detail: str = ""

    def line(self) -> str:
        return f"{self.key}: {self.kind}" + (f": {self.detail}" if self.detail else "")


class RawUsed(Struct, frozen=True):
    """A raw object as its manifest describes it; no hash where there is no manifest."""

    key: str
    sha256: str | None


class Stored(Struct, frozen=True):
    """One normalized object of a minute."""

    key: str
    type: EventType
    symbol: str
    events: int
    sha256: str


class MinuteRecord(Struct, frozen=True):
    """One minute is done: every object of it is stored. Written last, so a half-done minute has none."""

    version: str
    feed: str
    minute_ns: int
    source: Source
    raw: tuple[RawUsed, ...]
    objects: tuple[Stored, ...]
    notes: int
    figures: Figures
    problems: tuple[Problem, ...]


class RangeManifest(Struct, frozen=True):
    """A range of one version is complete. objects_sha256: over all objects' keys and hashes; equal for equal archives."""

    version: str
    feed: str
    start_ns: int
    end_ns: int
    source: Source
    minutes: int
    objects: int
    objects_sha256: str
    counts: Mapping[str, Mapping[str, int]]
    notes: int
    figures: Figures
    raw: tuple[RawUsed, ...]
    gaps: tuple[Gap, ...]
    not_captured: tuple[tuple[int, int], ...]
    """Spans without any raw object, in nanoseconds."""
    problems: tuple[Problem, ...]
    problem_count: int


def encode(record: MinuteRecord | RangeManifest) -> bytes:
    return msgspec.json.encode(record, order="deterministic") + b"\n"


def same_apart_from_source(one: bytes, two: bytes, kind: type[MinuteRecord] | type[RangeManifest]) -> bool:
    """Tell whether two stored records say the same; who made them may differ."""
    try:
        first, second = (
            msgspec.structs.replace(msgspec.json.decode(text, type=kind), source=NOBODY) for text in (one, two)
        )
    except msgspec.DecodeError:
        return False
    return first == second
