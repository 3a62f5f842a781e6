"""Tickets for browsers, which cannot set headers on a WebSocket: short-lived, for one use, fit for a URL."""

from collections.abc import Callable
from secrets import token_urlsafe
from typing import Final

from ssmd.gateway.access import Principal
from ssmd.gateway.problems import Problem

VALID_S: Final = 30.0
MAX_TICKETS: Final = 10_000


class Tickets:
    def __init__(self, current_time: Callable[[], float]) -> None:
        self._current_time = current_time
        self._issued: dict[str, tuple[float, Principal]] = {}

    def issue(self, principal: Principal) -> str:
        """Return a new ticket. Raises Problem rate_limited when too many are open."""
        self._forget_old()
        if len(self._issued) >= MAX_TICKETS:
            raise Problem("rate_limited", "too many tickets are open", "try again in some seconds")
        ticket = token_urlsafe(24)
        self._issued[ticket] = (self._current_time() + VALID_S, principal)
        return ticket

    def redeem(self, ticket: str) -> Principal:
        """Return whose ticket this is; it is worth nothing afterwards. Raises Problem invalid_key."""
        self._forget_old()
        found = self._issued.pop(ticket, None)
        if found is None:
            raise Problem("invalid_key", "this ticket is unknown, used or too old", "POST /api/v1/ws-ticket gives one")
        return found[1]

    def _forget_old(self) -> None:
        now_s = self._current_time()
        while self._issued:
            oldest = next(iter(self._issued))
            if self._issued[oldest][0] > now_s:
                return
            del self._issued[oldest]
