"""One subscription on its way round: asked for, answered, asked again, given up. `subscriptions.py` holds the many.

An unanswered request is asked again with backoff, for ever, and by itself:

    (new) → TO_SUBSCRIBE → SUBSCRIBING → LIVE → TO_UNSUBSCRIBE → UNSUBSCRIBING → (gone, or new again)
                  ↑______________|↓
                               REFUSED
"""

import math
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from ssmd.protocols.base import Operation, Rejected, Subscription
from ssmd.records import FeedConfig

REFUSED_RETRY_S: Final = 600.0
"""A lasting refusal is asked again this rarely: a pair may be listed one day."""
RETRY_FIRST_S: Final = 1.0
RETRY_CAP_S: Final = 60.0
RESYNC_FIRST_S: Final = 5.0
RESYNC_CAP_S: Final = 300.0
RESYNC_FORGIVE_S: Final = 600.0
"""The resyncs of a subscription are counted anew after so long without one."""


class Phase(Enum):
    TO_SUBSCRIBE = auto()
    SUBSCRIBING = auto()
    LIVE = auto()
    REFUSED = auto()
    TO_UNSUBSCRIBE = auto()
    UNSUBSCRIBING = auto()


_UNANSWERED: Final = {Phase.SUBSCRIBING: Phase.TO_SUBSCRIBE, Phase.UNSUBSCRIBING: Phase.TO_UNSUBSCRIBE}
"""Phases that wait for an answer, and where a missing answer leads."""
_ASKS: Final[dict[Phase, Operation]] = {
    Phase.TO_SUBSCRIBE: "subscribe",
    Phase.REFUSED: "subscribe",
    Phase.TO_UNSUBSCRIBE: "unsubscribe",
}


class Entry(Struct, eq=False):
    """One subscription.

    at_s: when its phase must act: send, give up waiting, or try a refused one again.
    config: what it was asked with; an unsubscribe must say the same as the subscribe did.
    tries: requests sent since it last turned; since_req_id: the first of them, older answers are stale.
    group_size: with how many it may share a request.
    needs_snapshot: "already subscribed" is not enough, for that brings no new snapshot.
    """

    subscription: Subscription
    config: FeedConfig
    group_size: int
    at_s: float
    since_req_id: int
    phase: Phase = Phase.TO_SUBSCRIBE
    wanted: bool = True
    tries: int = 0
    req_id: int = -1
    reason: str = ""
    needs_snapshot: bool = False
    resyncs: int = 0
    resynced_at_s: float = -math.inf

    @property
    def asks(self) -> Operation | None:
        """Return what it has to ask for at `at_s`; None while it waits for an answer or for nothing."""
        return _ASKS.get(self.phase)

    @property
    def awaits(self) -> bool:
        return self.phase in _UNANSWERED

    @property
    def leaves(self) -> bool:
        return self.phase in {Phase.TO_UNSUBSCRIBE, Phase.UNSUBSCRIBING}

    @property
    def is_known(self) -> bool:
        """Tell whether the exchange may know of it, be the answer lost, late or a refusal."""
        return self.phase is not Phase.TO_SUBSCRIBE or self.tries > 0

    def leave(self, at_s: float, next_req_id: int) -> None:
        """Begin to unsubscribe; if it is to come back, only a new snapshot will do."""
        self.needs_snapshot = True
        self._turn(Phase.TO_UNSUBSCRIBE, at_s, next_req_id)

    def come_back(self, config: FeedConfig, now_s: float, next_req_id: int) -> None:
        """Begin to subscribe after having left."""
        self.config = config
        self._turn(Phase.TO_SUBSCRIBE, now_s, next_req_id)

    def _turn(self, phase: Phase, at_s: float, next_req_id: int) -> None:
        self.phase, self.at_s, self.tries, self.since_req_id = phase, at_s, 0, next_req_id

    def ask(self, req_id: int, answer_by_s: float) -> None:
        self.phase = Phase.UNSUBSCRIBING if self.leaves else Phase.SUBSCRIBING
        self.at_s, self.req_id = answer_by_s, req_id
        self.tries += 1

    def ask_later(self, now_s: float) -> None:
        """Ask again after a pause: no answer came, or the exchange said that requests got lost."""
        self.phase = _UNANSWERED[self.phase]
        self.at_s = now_s + backoff_s(RETRY_FIRST_S, RETRY_CAP_S, self.tries - 1)

    def settle(self) -> None:
        self.phase, self.at_s, self.tries = Phase.LIVE, math.inf, 0
        self.reason, self.needs_snapshot = "", False

    def refuse(self, rejected: Rejected, now_s: float) -> bool:
        """Wait long after a lasting refusal, else a while; return whether the reason is a new one."""
        is_new = self.reason != rejected.reason
        self.phase, self.reason = Phase.REFUSED, rejected.reason
        pause_s = REFUSED_RETRY_S if rejected.lasting else backoff_s(RETRY_FIRST_S, RETRY_CAP_S, self.tries)
        self.at_s = now_s + pause_s
        return is_new

    def begin_resync(self, now_s: float, next_req_id: int) -> None:
        """Leave in order to come back with a fresh snapshot; the more often within a while, the later."""
        self.forgive(now_s)
        pause_s = backoff_s(RESYNC_FIRST_S, RESYNC_CAP_S, self.resyncs - 1) if self.resyncs else 0.0
        self.resyncs += 1
        self.resynced_at_s = now_s
        self.leave(now_s + pause_s, next_req_id)

    def forgive(self, now_s: float) -> None:
        if now_s - self.resynced_at_s > RESYNC_FORGIVE_S:
            self.resyncs = 0

    def goes_with(self, other: "Entry") -> bool:
        """Tell whether the two can share a request."""
        return (
            self.asks == other.asks
            and self.config is other.config
            and self.subscription.channel == other.subscription.channel
            and self.group_size == other.group_size
        )

    def is_answered_by(self, req_id: int | None) -> bool:
        """Tell whether an answer belongs to what it asks for now; recordings carry no req_id."""
        return self.tries > 0 and (req_id is None or req_id >= self.since_req_id)

    def is_meant_by(self, rejected: Rejected) -> bool:
        """Tell whether a refusal is about this one, by whatever it says: name, channel, req_id."""
        if self.leaves != (rejected.operation == "unsubscribe"):
            return False
        if rejected.name is None or (rejected.channel is None and rejected.req_id is not None):
            fits = self.req_id == rejected.req_id
        else:
            fits = self.is_answered_by(rejected.req_id)
        names, channels = {None, self.subscription.name}, {None, self.subscription.channel}
        return fits and self.tries > 0 and rejected.name in names and rejected.channel in channels


def backoff_s(first_s: float, cap_s: float, repeats: int) -> float:
    return min(cap_s, first_s * 2.0 ** min(repeats, 16))
