"""Who may connect: the venue's limit of connects per window, and refusals on purpose."""

from collections import deque

from msgspec import Struct


class Refusal(Struct, frozen=True):
    status: int
    retry_after_s: float


class Gate:
    """Refuse handshakes above the limit per address; one that passes it is banned for a whole window."""

    def __init__(self, connects: int, window_s: float) -> None:
        self._connects = connects
        self._window_s = window_s
        self._seen_s: dict[str, deque[float]] = {}
        self._banned_until_s: dict[str, float] = {}
        self._closed = Refusal(503, 0)
        self._closed_until_s = -1.0
        self.limit_broken = 0
        """Handshakes beyond the limit: a well-behaved client keeps this at 0."""

    def close(self, now_s: float, seconds: float, status: int) -> None:
        """Refuse everybody for a while."""
        self._closed_until_s = now_s + seconds
        self._closed = Refusal(status, seconds)

    def knock(self, address: str, now_s: float) -> Refusal | None:
        """Return why this handshake is refused, None when it may go on. Refused ones count too."""
        seen = self._seen_s.setdefault(address, deque())
        seen.append(now_s)
        while seen[0] <= now_s - self._window_s:
            seen.popleft()
        if len(seen) > self._connects:
            seen.clear()
            self._banned_until_s[address] = now_s + self._window_s
        banned_s = self._banned_until_s.get(address, now_s) - now_s
        if banned_s > 0:
            self.limit_broken += 1
            return Refusal(429, banned_s)
        closed_s = self._closed_until_s - now_s
        return Refusal(self._closed.status, closed_s) if closed_s > 0 else None
