"""What a verification found, per minute and as a whole."""

from typing import Final

from msgspec import Struct, field

MAX_FINDINGS: Final = 1000
"""Named one by one; more are counted only."""


class Finding(Struct, frozen=True):
    """One thing that is not as it should be. `check` has few values: see docs/quality.md."""

    check: str
    object: str
    detail: str
    minute: int | None = None
    """Start of the minute, nanoseconds UTC; None where it is about no minute."""


class MinuteResult(Struct):
    """One minute. compared: whether it was normalized again, so that archive and ledger were compared too."""

    minute: int
    objects: int = 0
    frames: int = 0
    notes: int = 0
    events: int = 0
    compared: bool = False
    findings: int = 0


class Report(Struct):
    """The whole range; `ok` is the answer. ledger: false where this version has no ledger, so nothing to compare."""

    feed: str
    version: str
    start: int
    end: int
    minutes: int = 0
    minutes_compared: int = 0
    minutes_wrong: int = 0
    objects: int = 0
    frames: int = 0
    notes: int = 0
    events_compared: int = 0
    ledger_records: int = 0
    ledger: bool = True
    writers: dict[str, int] = field(default_factory=dict)
    """Manifests by the chain that they belong to."""
    unprovable: list[str] = field(default_factory=list)
    """Connections that began before the raw data that retention left: their events are not compared."""
    finding_count: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.finding_count == 0

    def find(self, finding: Finding) -> None:
        self.finding_count += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(finding)

    def add(self, result: MinuteResult) -> None:
        self.minutes += 1
        self.minutes_compared += result.compared
        self.minutes_wrong += result.findings > 0
        self.objects += result.objects
        self.frames += result.frames
        self.notes += result.notes
        self.events_compared += result.events
