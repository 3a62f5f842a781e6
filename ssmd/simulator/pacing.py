"""Absolute schedules: what is due is computed from the start, so small delays never add up."""

from typing import Final

FORGIVEN_LAG_S: Final = 1.0
"""A machine that slept or cannot keep up does not answer with an endless burst: older debt is written off."""


class Pace:
    """Tell how many frames are due at a rate; unit k is due at `start + k / rate`."""

    def __init__(self, rate_per_s: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._start_s = now_s
        self._done = 0

    def due(self, now_s: float) -> int:
        """Return how many frames should go out now; forgets debt older than a second."""
        due = int((now_s - self._start_s) * self._rate_per_s) - self._done
        forgiven = due - int(self._rate_per_s * FORGIVEN_LAG_S) - 1
        if forgiven > 0:
            self._done += forgiven
            due -= forgiven
        return due

    def done(self, frames: int) -> None:
        self._done += frames

    def next_s(self) -> float:
        """Return when the next frame is due."""
        # The small excess keeps rounding from calling the frame due a hair too early, which would spin once.
        return self._start_s + (self._done + 1) / self._rate_per_s + 1e-9
