"""One row: what was done, what it took, whether it held. Each is one line of JSON."""

from typing import Any

import msgspec
import trio
from msgspec import Struct, field

from chaos.check import Verdict


class Row(Struct):
    """A result. `missed` lists what did not hold; empty means passed."""

    row: str
    seed: int
    duration_s: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "failed" if self.missed else "passed"

    def note(self, **figures: object) -> None:
        self.figures |= {name: round(v, 3) if isinstance(v, float) else v for name, v in figures.items()}

    def at_most(self, name: str, value: float, limit: float) -> None:
        self.note(**{name: value})
        if value > limit:
            self.missed.append(f"{name} is {value:g}, at most {limit:g}")

    def at_least(self, name: str, value: float, limit: float) -> None:
        self.note(**{name: value})
        if value < limit:
            self.missed.append(f"{name} is {value:g}, at least {limit:g}")

    def judge(self, verdict: Verdict, duplicates: int, unaccounted: int) -> None:
        """Take over what the checker found."""
        self.note(sent=verdict.sent, kept=verdict.kept, in_gaps=verdict.in_gaps, gaps=verdict.gaps)
        self.note(longest_gap_s=verdict.longest_gap_s, objects=verdict.objects, archived=verdict.archived)
        self.at_most("archive_duplicates", verdict.duplicates, duplicates)
        self.at_most("frames_unaccounted", verdict.unaccounted, unaccounted)
        self.missed += verdict.problems[:10]

    def line(self) -> str:
        return msgspec.json.encode(
            {
                "row": self.row,
                "seed": self.seed,
                "duration_s": round(self.duration_s, 1),
                "figures": self.figures,
                "verdict": self.verdict,
                "missed": self.missed,
            }
        ).decode()


class Stopwatch:
    def __init__(self) -> None:
        self._began_s = trio.current_time()

    @property
    def elapsed_s(self) -> float:
        return trio.current_time() - self._began_s
