"""How fast a child comes back, and when it has come back too often: pure arithmetic, no clock."""

from collections import deque
from random import Random

from msgspec import Struct

from ssmd.errors import Outage

MAX_EXPONENT = 64
"""Far past any cap, far below a float's end: 2.0 ** 1024 raises OverflowError."""

MAX_FACTOR = 1000.0


class Backoff(Struct, frozen=True):
    """Wait `first_s`, then `factor` times as long after each crash, never longer than `cap_s`.

    Jitter only shortens (by up to that share), so children that crashed together also spread out at the cap.
    A child that was up for `forgive_after_s` begins again at `first_s`.
    """

    first_s: float = 0.1
    factor: float = 2.0
    cap_s: float = 30.0
    jitter: float = 0.2
    forgive_after_s: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.factor <= MAX_FACTOR:
            raise ValueError(f"factor is {self.factor}; allowed is 1 to {MAX_FACTOR:g}")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter is {self.jitter}; allowed is 0 to 1")

    def delay_s(self, failures: int, random: Random) -> float:
        """Return the pause after so many crashes in a row, the first being 1."""
        grown_s = self.first_s * self.factor ** min(failures - 1, MAX_EXPONENT)
        return min(self.cap_s, grown_s) * (1 - self.jitter * random.random())


class Intensity(Struct, frozen=True):
    """Allow so many crashes of all children together within the period; one more climbs to the parent.

    Backoff slows a lone child down: with the defaults of both it crashes at most 10 times a minute and never
    climbs. Choose `Intensity(5, 60)` where one broken child shall climb.
    """

    restarts: int = 10
    within_s: float = 60.0


class CrashLog:
    """The recent crashes of one supervisor's children."""

    def __init__(self, intensity: Intensity) -> None:
        self._intensity = intensity
        self._times_s: deque[float] = deque()

    def add(self, now_s: float) -> bool:
        """Note a crash; return whether it is one too many."""
        self._times_s.append(now_s)
        while now_s - self._times_s[0] >= self._intensity.within_s:
            self._times_s.popleft()
        return len(self._times_s) > self._intensity.restarts


def is_outage(error: Exception) -> bool:
    """Tell whether only the world outside is to blame: a group is an outage only if every leaf is one."""
    if isinstance(error, ExceptionGroup):
        return error.split(Outage)[1] is None
    return isinstance(error, Outage)


def brief(error: BaseException) -> str:
    """Return an error as one line; of a group only its leaves."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(brief(leaf) for leaf in error.exceptions)
    return repr(error)
