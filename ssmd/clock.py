"""The one source of wall-clock time, so that simulations can replace it."""

import time
from collections.abc import Callable

NowNs = Callable[[], int]
"""Return the wall-clock time in integer nanoseconds, UTC."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_MINUTE = 60 * NS_PER_S


def now_ns() -> int:
    return time.time_ns()


def minute_of(recv_ns: int) -> int:
    """Return the start of the UTC minute that a receive time falls into, in nanoseconds."""
    return recv_ns - recv_ns % NS_PER_MINUTE
