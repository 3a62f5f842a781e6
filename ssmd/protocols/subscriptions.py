"""Who is subscribed on one connection: what to ask for, when, and what the answers mean. Pure; times are passed in.

Every subscription goes its own way (`subscription.py`): a lost or refused one never holds up the others.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from ssmd.protocols.base import Accepted, Control, Exchange, Operation, RateLimited, Rejected
from ssmd.protocols.subscription import RETRY_FIRST_S, Entry, Phase
from ssmd.records import FeedConfig

DEGRADED_AFTER: Final = 3
"""So many resyncs of one subscription within a while, and its name is degraded."""
SLOWEST: Final = 16
"""Complaints about the rate make the requests slower, at most by this factor."""
CALM_AFTER_S: Final = 60.0
"""Without a further complaint for so long, the usual rate is back."""


class BecameLive(Struct, frozen=True):
    """Every subscription of these names is acknowledged: after connecting, after a resync, after a refusal."""

    names: tuple[str, ...]


class WasRefused(Struct, frozen=True):
    """The exchange refuses one subscription; told once per reason, not at each new try."""

    name: str
    channel: str
    reason: str


class Reasked(Struct, frozen=True):
    """These names are subscribed anew in other words, say another depth; they are not live until BecameLive."""

    names: tuple[str, ...]


Change = BecameLive | WasRefused | Reasked


class Refusal(Struct, frozen=True):
    name: str
    channel: str
    reason: str
    retry_at_s: float


class Subscriptions:
    """The subscriptions of one connection. Ask `due` at `next_due_s` and after every other call."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._limits = exchange.limits
        self._config = FeedConfig(symbols=())
        self._names: dict[str, dict[str, Entry]] = {}
        """By name, then by channel."""
        self._announced: set[str] = set()
        self._next_req_id = 1
        self._next_send_s = -math.inf
        self._slowness = 1
        self._calm_at_s = -math.inf
        self._was_answered = False
        self._missed_answer = False

    # what is wanted ------------------------------------------------------------------------------------------

    def want(self, config: FeedConfig, now_s: float) -> Sequence[Change]:
        """Take a new configuration; only the difference will be asked for.

        Returns BecameLive for names whose last missing subscription is no longer wanted, Reasked for names of which
        something was live and must be subscribed in other words.
        """
        was_live = set(self.live)
        self._config = config
        wanted = self._exchange.subscriptions(config)
        for entry in list(self._entries()):
            if entry.subscription in wanted:
                self._keep(entry, now_s)
            else:
                self._drop(entry, now_s)
        for subscription in sorted(wanted):
            channels = self._names.setdefault(subscription.name, {})
            if subscription.channel not in channels:
                size = self._limits.symbols_per_request
                channels[subscription.channel] = Entry(subscription, config, size, now_s, self._next_req_id)
        news = self._news(set(self._names))
        reasked = tuple(sorted(name for name in was_live if self._needs_snapshot(name)))
        return (Reasked(reasked), *news) if reasked else news

    def _needs_snapshot(self, name: str) -> bool:
        return any(entry.wanted and entry.needs_snapshot for entry in self._names.get(name, {}).values())

    def _keep(self, entry: Entry, now_s: float) -> None:
        """Leave alone what stays the same; subscribe anew what is asked for in other words now, say another depth."""
        entry.wanted = True
        if entry.leaves:
            return
        if entry.is_known and self._wording(entry, self._config) != self._wording(entry, entry.config):
            entry.leave(now_s, self._next_req_id)
        else:
            entry.config = self._config

    def _wording(self, entry: Entry, config: FeedConfig) -> str:
        return self._exchange.requests("subscribe", (entry.subscription,), config, 0)[0].text

    def _drop(self, entry: Entry, now_s: float) -> None:
        entry.wanted = False
        if not entry.is_known:
            self._remove(entry)
        elif not entry.leaves:
            entry.leave(now_s, self._next_req_id)

    def _remove(self, entry: Entry) -> None:
        channels = self._names[entry.subscription.name]
        del channels[entry.subscription.channel]
        if not channels:
            del self._names[entry.subscription.name]

    def resync(self, name: str, channel: str, now_s: float) -> None:
        """Subscribe anew for a fresh snapshot; the name is not live until then. Repeated wishes wait longer and longer.

        A wish for what is not subscribed, or is being subscribed anew already, changes nothing.
        """
        entry = self._names.get(name, {}).get(channel)
        if entry is None or entry.phase not in {Phase.LIVE, Phase.SUBSCRIBING} or entry.needs_snapshot:
            return
        entry.begin_resync(now_s, self._next_req_id)

    # sending -------------------------------------------------------------------------------------------------

    def due(self, now_s: float) -> Sequence[str]:
        """Return what to send now: at most one text, for the requests are spread evenly over time."""
        self._expire(now_s)
        if now_s < self._next_send_s:
            return ()
        ready = [entry for entry in self._entries() if entry.asks and entry.at_s <= now_s]
        ready.sort(key=lambda entry: (entry.at_s, entry.subscription))
        return (self._send(ready, now_s),) if ready else ()

    def _expire(self, now_s: float) -> None:
        if now_s >= self._calm_at_s:
            self._slowness = 1
        for entry in self._entries():
            entry.forgive(now_s)
            if entry.awaits and entry.at_s <= now_s:
                self._missed_answer = True
                entry.ask_later(now_s)

    def _send(self, ready: Sequence[Entry], now_s: float) -> str:
        """Return one request for the entry that waits longest and for those that can go with it."""
        first = ready[0]
        group = [entry for entry in ready if entry.goes_with(first)][: first.group_size]
        asked = {entry.subscription: entry for entry in group}
        operation: Operation = "unsubscribe" if first.leaves else "subscribe"
        request = self._exchange.requests(operation, asked.keys(), first.config, self._next_req_id)[0]
        for subscription in request.subscriptions:
            asked[subscription].ask(request.req_id, now_s + self._limits.ack_timeout_s)
        self._next_req_id = request.req_id + 1
        self._next_send_s = now_s + self._spacing_s
        return request.text

    @property
    def _spacing_s(self) -> float:
        return self._slowness / self._limits.requests_per_s

    def next_due_s(self) -> float:
        """Return when `due` must be asked again at the latest; infinity when there is nothing to wait for."""
        times_s = (max(entry.at_s, self._next_send_s) if entry.asks else entry.at_s for entry in self._entries())
        return min(times_s, default=math.inf)

    # answers -------------------------------------------------------------------------------------------------

    def receive(self, control: Control, now_s: float) -> Sequence[Change]:
        """Take what the exchange says and return what that changed. What nobody asked for is ignored."""
        if isinstance(control, Accepted):
            return self._accept(control, now_s)
        if isinstance(control, Rejected):
            return self._reject(control, now_s)
        if isinstance(control, RateLimited):
            self._slow_down(now_s)
        return ()

    def _accept(self, accepted: Accepted, now_s: float) -> Sequence[Change]:
        self._was_answered = True
        name = accepted.subscription.name
        entry = self._names.get(name, {}).get(accepted.subscription.channel)
        is_leave = accepted.operation == "unsubscribe"
        if entry is None or entry.leaves != is_leave or not entry.is_answered_by(accepted.req_id):
            return ()
        if is_leave:
            self._has_left(entry, now_s)
        else:
            entry.settle()
        return self._news({name})

    def _has_left(self, entry: Entry, now_s: float) -> None:
        """Forget what the exchange no longer sends, or begin to subscribe it anew."""
        if entry.wanted:
            entry.come_back(self._config, now_s, self._next_req_id)
        else:
            self._remove(entry)

    def _reject(self, rejected: Rejected, now_s: float) -> Sequence[Change]:
        self._was_answered = True
        meant = [entry for entry in self._entries() if entry.is_meant_by(rejected)]
        if rejected.name is None and len(meant) > 1 and rejected.operation == "subscribe":
            _split(meant, now_s)
            return ()
        refused = [entry for entry in meant if self._is_refusal(entry, rejected, now_s)]
        changes = [
            WasRefused(entry.subscription.name, entry.subscription.channel, rejected.reason)
            for entry in refused
            if entry.refuse(rejected, now_s)
        ]
        return [*changes, *self._news({entry.subscription.name for entry in meant})]

    def _is_refusal(self, entry: Entry, rejected: Rejected, now_s: float) -> bool:
        """Tell whether a "no" is one; it is not for what is there already, or is not there to be left."""
        if rejected.operation == "unsubscribe":
            self._has_left(entry, now_s)
        elif rejected.already and entry.needs_snapshot:
            entry.begin_resync(now_s, self._next_req_id)
        elif rejected.already:
            entry.settle()
        else:
            return True
        return False

    def _slow_down(self, now_s: float) -> None:
        """Ask everything unanswered again, later and slower: the exchange may have dropped any of it."""
        for entry in self._entries():
            if entry.awaits:
                entry.ask_later(now_s)
        self._slowness = min(self._slowness * 2, SLOWEST)
        self._calm_at_s = now_s + CALM_AFTER_S
        self._next_send_s = now_s + max(RETRY_FIRST_S, self._spacing_s)

    # how it stands -------------------------------------------------------------------------------------------

    def _entries(self) -> Iterator[Entry]:
        return (entry for channels in self._names.values() for entry in channels.values())

    def _news(self, names: set[str]) -> Sequence[Change]:
        """Return what became live among the names since it was last said."""
        live = {name for name in names if self._is_live(name)}
        fresh = tuple(sorted(live - self._announced))
        self._announced = (self._announced - names) | live
        return (BecameLive(fresh),) if fresh else ()

    def _phases(self, name: str) -> set[Phase]:
        return {entry.phase for entry in self._names.get(name, {}).values() if entry.wanted}

    def _is_live(self, name: str) -> bool:
        return self._phases(name) == {Phase.LIVE}

    @property
    def live(self) -> Sequence[str]:
        """Return the names whose every wanted subscription is acknowledged."""
        return sorted(name for name in self._names if self._is_live(name))

    @property
    def pending(self) -> Sequence[str]:
        """Return the wanted names that are neither live nor refused."""
        phases = {name: self._phases(name) for name in self._names}
        return sorted(name for name, some in phases.items() if some - {Phase.LIVE} and Phase.REFUSED not in some)

    @property
    def leaving(self) -> Sequence[str]:
        """Return the names that are not wanted any more and may still be delivered."""
        return sorted({entry.subscription.name for entry in self._entries() if not entry.wanted})

    @property
    def refused(self) -> Sequence[Refusal]:
        """Return one refusal per name that has any: the one to be tried again first."""
        first: dict[str, Refusal] = {}
        for entry in sorted(self._entries(), key=lambda entry: (entry.at_s, entry.subscription)):
            name = entry.subscription.name
            if entry.phase is Phase.REFUSED:
                first.setdefault(name, Refusal(name, entry.subscription.channel, entry.reason, entry.at_s))
        return list(first.values())

    @property
    def degraded(self) -> Sequence[str]:
        """Return the names of which something had to be subscribed anew too often of late."""
        return sorted({entry.subscription.name for entry in self._entries() if entry.resyncs >= DEGRADED_AFTER})

    @property
    def stuck(self) -> bool:
        """Tell whether the exchange has answered nothing at all in time: only then is a new connection worth trying."""
        return self._missed_answer and not self._was_answered


def _split(entries: Sequence[Entry], now_s: float) -> None:
    """Ask again in halves: one of them is refused, and nobody said which."""
    for entry in entries:
        entry.phase, entry.at_s = Phase.TO_SUBSCRIBE, now_s
        entry.group_size = len(entries) // 2
