"""How often an exchange may be called: its limit on connections, and its wish to be left alone for a while."""

from collections import deque

import trio


class ConnectBudget:
    """At most `count` connections within any `window_s`. Owned by the tree: restarts do not refill it."""

    def __init__(self, count: int, window_s: float) -> None:
        self._count = count
        self._window_s = window_s
        self._taken_s: deque[float] = deque()
        self._not_before_s = 0.0

    def hold(self, for_s: float) -> None:
        """Allow no connection for this long, for example while the exchange is under maintenance."""
        self._not_before_s = max(self._not_before_s, trio.current_time() + for_s)

    async def take(self) -> None:
        """Wait until one more connection is allowed, and count it."""
        # Others wait for the same place, and a hold may come meanwhile: after the sleep, look again.
        while (at_s := max(self._not_before_s, self._free_at_s())) > trio.current_time():  # noqa: ASYNC110 (time passes)
            await trio.sleep_until(at_s)
        self._taken_s.append(trio.current_time())

    def _free_at_s(self) -> float:
        while self._taken_s and self._taken_s[0] <= trio.current_time() - self._window_s:
            self._taken_s.popleft()
        if len(self._taken_s) < self._count:
            return 0.0
        return self._taken_s[0] + self._window_s
