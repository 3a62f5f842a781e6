"""How long work goes on: a bar with rate and time left on a terminal, else some JSON lines; always on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from ssmd.cli.output import console
from ssmd.reprocess.run import Plan

TENTHS: Final = 10
MINUTES: Final = ("minutes", "frames")
OBJECTS: Final = ("objects", "bytes")


class Progress:
    """A watcher of a reprocess or a diff. Lines are what costs time, so they make the share that is done.

    units: what is counted, and what the rate is of.
    """

    def __init__(self, what: str, units: tuple[str, str] = MINUTES) -> None:
        self.what = what
        self.unit, self.rate_unit = units
        self.stopped_by = 0
        """The signal that asked to end."""
        self.minutes = self.frames = self._done_lines = 0
        self._plan = Plan(0, 0, 0, 0)
        self._began_s = time.monotonic()

    @property
    def stops(self) -> bool:
        return bool(self.stopped_by)

    @property
    def rate_per_s(self) -> int:
        return int(self.frames / max(time.monotonic() - self._began_s, 0.001))

    @property
    def share(self) -> float:
        return min(1.0, self._done_lines / self._plan.lines) if self._plan.lines else 1.0

    def planned(self, plan: Plan) -> None:
        self._plan = plan
        self._began_s = time.monotonic()
        self.minutes = plan.done
        self.show()

    def advanced(self, minutes: int, lines: int, frames: int) -> None:
        self.minutes += minutes
        self._done_lines += lines
        self.frames += frames
        self.show()

    @property
    def total_minutes(self) -> int:
        return self._plan.minutes

    @property
    def left_s(self) -> float:
        """How long it goes on if it goes on as before."""
        spent_s = time.monotonic() - self._began_s
        return spent_s / self.share - spent_s if self.share else 0.0

    def show(self) -> None: ...

    def close(self) -> None: ...


class Bar(Progress):
    def __init__(self, what: str, units: tuple[str, str] = MINUTES) -> None:
        super().__init__(what, units)
        self._rich = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[minutes]}  {task.fields[rate]:,} " + f"{self.rate_unit}/s"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console(to_stderr=True),
            transient=True,
        )
        self._task = self._rich.add_task(what, total=1.0, minutes="", rate=0)
        self._rich.start()

    def show(self) -> None:
        minutes = f"{self.minutes}/{self.total_minutes} {self.unit}"
        self._rich.update(self._task, completed=self.share, minutes=minutes, rate=self.rate_per_s)

    def close(self) -> None:
        self._rich.stop()


class Lines(Progress):
    """One line when it begins, one per tenth, one at the end."""

    def __init__(self, what: str, units: tuple[str, str] = MINUTES) -> None:
        super().__init__(what, units)
        self._said = -1

    def show(self) -> None:
        tenth = int(self.share * TENTHS)
        if tenth > self._said and tenth < TENTHS:
            self._said = tenth
            self._say("progress" if tenth else "start")

    def close(self) -> None:
        if self._said >= 0:
            self._say("stopped" if self.stops else "end")

    def _say(self, state: str) -> None:
        line = {
            "what": self.what,
            "state": state,
            "percent": round(self.share * 100),
            self.unit: self.minutes,
            f"of_{self.unit}": self.total_minutes,
            f"{self.rate_unit}_per_s": self.rate_per_s,
            "left_s": round(self.left_s, 1),
        }
        sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
        sys.stderr.flush()


@contextmanager
def progress(what: str, units: tuple[str, str] = MINUTES) -> Iterator[Progress]:
    """Give what shows the progress of the block."""
    shown: Progress = Bar(what, units) if sys.stderr.isatty() else Lines(what, units)
    try:
        yield shown
    finally:
        shown.close()
