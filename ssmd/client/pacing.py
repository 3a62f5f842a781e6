"""How long to wait before the next try."""

import random
from typing import Final

from msgspec import Struct

_RANDOM: Final = random.SystemRandom()


class Patience(Struct, frozen=True):
    """tries: of one request. Waits double from first_s up to cap_s, each between half of that and all of it.

    longest_s: more than that is not waited for, even when the gateway asks for it: the error is raised instead.
    """

    tries: int = 5
    first_s: float = 0.2
    cap_s: float = 10.0
    longest_s: float = 30.0

    def wait_s(self, failures: int, asked_s: float | None = None) -> float:
        """Return how long to wait after so many failures in a row; at least what the gateway asks for."""
        doubled_s = self.first_s * 2.0 ** min(failures - 1, 30)
        return max(asked_s or 0.0, min(self.cap_s, doubled_s) * _RANDOM.uniform(0.5, 1.0))
