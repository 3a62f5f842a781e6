"""Where a subscription begins: now, behind a message, or at a time; and reading the stream from there up to now."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio
from msgspec import Struct

from ssmd.bus.base import Bus, BusDialer, Incoming, Start
from ssmd.clock import NowNs, now_ns
from ssmd.errors import BusDown
from ssmd.gateway.access import Series
from ssmd.gateway.live.events import LiveEvent, follows, live_event, series_of, subject_of
from ssmd.gateway.live.hub import Hub
from ssmd.gateway.live.identity import ID_FORM, Identity
from ssmd.gateway.live.searching import REPEATED_AFTER_NS, STORED_LATE_NS, Search, received_ns
from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.gateway.times import parameter_time, rfc3339

CATCH_UPS: Final = 8
"""At the same time; each has a connection to the bus of its own, so that the live one is never behind them."""
FETCH_LIMIT: Final = 500
FETCH_WITHIN_S: Final = 1.0
EMPTY_FETCHES: Final = 5
JOIN_EVENTS: Final = 64
"""Handed over at once; more are handed over only as fast as the client takes them."""
REACH_WITHIN_S: Final = 5.0
SEARCH_WITHIN_S: Final = 5.0

_POS: Final = re.compile(r"pos:([0-9]{1,18})(?:@([0-9a-f]{1,32}))?")


class Behind(Struct, frozen=True):
    """Behind a message. stream: the one that the number belongs to; empty is the present one."""

    pos: int
    stream: str = ""


class Since(Struct, frozen=True):
    at_ns: int


Take = Callable[[Sequence[LiveEvent]], Awaitable[None]]

Origin = Behind | Since | Identity | None
"""Identity: behind that message. None: from now on."""


class Beginning(Struct, frozen=True):
    """Every message behind pos that was received at not_before_ns or later.

    behind: a message of pos. What its connection had sent before it comes no more, even if it was published again.
    """

    pos: int
    not_before_ns: int = 0
    warning: str = ""
    behind: Identity | None = None


def parse_origin(text: str, at_ns: int) -> Origin:
    """Return what `from` means. Raises Problem invalid_parameter."""
    if text == "now":
        return None
    if text.startswith("pos:"):
        found = _POS.fullmatch(text)
        if found is None:
            raise invalid(ParameterError("from", text[:40], "pos:N, or pos:N@STREAM with what `welcome` says"))
        return Behind(int(found[1]), found[2] or "")
    if text.startswith("id:"):
        identity = Identity.parse(text.removeprefix("id:"))
        if identity is None:
            raise invalid(ParameterError("from", text[:40], ID_FORM))
        return identity
    since_ns = parameter_time("from", text, at_ns)
    if since_ns > at_ns:
        raise invalid(ParameterError("from", text[:40], "lies in the future"))
    return Since(since_ns)


class Rewinder:
    """Reads the stream from an earlier point, for sessions that come back."""

    def __init__(self, hub: Hub, dialer: BusDialer, stream: str, now: NowNs = now_ns) -> None:
        self._hub = hub
        self._dialer = dialer
        self._stream = stream
        self._now = now
        self._places = trio.CapacityLimiter(CATCH_UPS)

    async def beginning(self, origin: Behind | Since | Identity, series: Collection[Series]) -> Beginning:
        """Return where to begin, when everything from there is still to be had.

        A message is looked for among these series only: one of another series is as unknown as one that never was.
        Raises Problem: resume_expired with the oldest number, unavailable when the bus is away.
        """
        if isinstance(origin, Identity):
            if not series:
                return Beginning(self._hub.pos)  # nothing comes of it, and each symbol is refused for itself
            return await self._behind_message(origin, frozenset(each for each in series if each.feed == origin.feed))
        if isinstance(origin, Behind):
            if self._is_kept(origin):
                return Beginning(origin.pos)
            return await self._behind(origin)
        async with self._connected() as bus:
            return await self._since(bus, origin)

    def _is_kept(self, origin: Behind) -> bool:
        hub = self._hub
        return hub.is_live and origin.stream in {"", hub.stream} and hub.remembers(origin.pos)

    async def _behind(self, origin: Behind) -> Beginning:
        async with self._connected() as bus:
            usage = await bus.usage(self._stream)
        first, last = (1, 0) if usage is None else (usage.first_seq, usage.last_seq)
        is_other = usage is None or origin.stream not in {"", stream_name(usage.created_ns)}
        if is_other or not first <= origin.pos + 1 <= last + 1:
            ahead = f"the stream has come to {last} only: it was made anew, or that number was never given"
            raise _expired(
                first, "the stream was made anew" if is_other else ahead if origin.pos > last else "that is too old"
            )
        return await self._reached(Beginning(origin.pos))

    async def _behind_message(self, identity: Identity, series: Collection[Series]) -> Beginning:
        kept = self._hub.find(identity, series) if self._hub.is_live else None
        if kept is not None and self._now() < (received_ns(kept.series, kept.payload) or 0) + REPEATED_AFTER_NS:
            return Beginning(kept.pos, behind=identity)
        async with self._connected() as bus:
            pos = await self._found(bus, identity, series)
        return await self._reached(Beginning(pos, behind=identity))

    async def _found(self, bus: Bus, identity: Identity, series: Collection[Series]) -> int:
        with trio.move_on_after(SEARCH_WITHIN_S):
            usage = await bus.usage(self._stream)
            if usage is None:
                raise _away()
            pos = await Search(bus, self._stream, identity, series).pos(usage)
            if pos is None:
                raise _expired(usage.first_seq, "no message with this id is found in what is asked for")
            return pos
        raise _away()

    async def _reached(self, beginning: Beginning) -> Beginning:
        """Return it when the hub has come as far."""
        with trio.move_on_after(REACH_WITHIN_S):
            await self._hub.reached(beginning.pos)
            return beginning
        raise _away()

    async def _since(self, bus: Bus, origin: Since) -> Beginning:
        usage = await bus.usage(self._stream)
        if usage is None:
            raise _away()
        warning = ""
        if usage.messages:
            oldest_ns = await self._received_ns(bus, usage.first_seq)
            if oldest_ns > origin.at_ns and usage.first_seq > 1:
                raise _expired(usage.first_seq, f"the stream begins at {rfc3339(oldest_ns)}", oldest_ns)
            if oldest_ns > origin.at_ns:
                warning = f"the stream begins at {rfc3339(oldest_ns)}; for what is older ask the REST interface"
        start = Start(since_ns=max(0, origin.at_ns - STORED_LATE_NS))
        async with bus.listen(self._stream, "md.>", start) as listener:
            found = await listener.fetch(1, FETCH_WITHIN_S)
        pos = found[0].stream_seq - 1 if found else usage.last_seq
        return await self._reached(Beginning(pos, origin.at_ns, warning))

    async def _received_ns(self, bus: Bus, pos: int) -> int:
        """Return when the oldest message was received; one that cannot be read tells nothing and counts as now."""
        async with bus.listen(self._stream, "md.>", Start(after_seq=pos - 1)) as listener:
            found = await listener.fetch(1, FETCH_WITHIN_S)
        series = series_of(found[0].subject) if found else None
        known_ns = None if series is None else received_ns(series, found[0].payload)
        return self._now() if known_ns is None else known_ns

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Bus]:
        try:
            async with self._places, self._dialer.connect() as bus:
                yield bus
        except BusDown:
            raise _away() from None

    async def read(self, beginning: Beginning, series: Collection[Series], take: Take) -> list[LiveEvent]:
        """Have everything taken that the hub does not remember any more, and return what it does.

        Who tunes in before the next await has everything then, and nothing twice. `take` may wait. Raises Problem
        unavailable when the bus goes away meanwhile; what was taken is whole up to there.
        """
        reading = _Reading(beginning, series)
        while (recent := self._hub.after(reading.pos, series)) is None or len(recent) > JOIN_EVENTS:
            if recent is None:
                await self._read_older(reading, take)
            else:
                reading.pos = recent[JOIN_EVENTS - 1].pos
                await take([event for event in recent[:JOIN_EVENTS] if reading.is_late_enough(event)])
        return [event for event in recent if reading.is_late_enough(event)]

    async def _read_older(self, reading: "_Reading", take: Take) -> None:
        """Read the stream until the hub remembers what comes next."""
        start = Start(after_seq=reading.pos)
        async with self._connected() as bus, bus.listen(self._stream, subject_of(reading.series), start) as listener:
            empty = 0
            while self._hub.after(reading.pos, reading.series) is None:
                before, messages = reading.pos, await listener.fetch(FETCH_LIMIT, FETCH_WITHIN_S)
                empty = 0 if messages else empty + 1
                events = reading.new(messages)
                await self._check_whole(bus, before, is_silent=empty == EMPTY_FETCHES)
                for first in range(0, len(events), JOIN_EVENTS):
                    await take(events[first : first + JOIN_EVENTS])

    async def _check_whole(self, bus: Bus, before: int, *, is_silent: bool) -> None:
        """Make sure that nothing was lost behind a number: what the stream's limits take is silently left out."""
        usage = await bus.usage(self._stream)
        if usage is None or is_silent:
            raise _away()
        if usage.first_seq > before + 1:
            raise _expired(usage.first_seq, "the stream has dropped what comes next")


def stream_name(created_ns: int) -> str:
    """Return a short name of one life of the stream."""
    return f"{created_ns:x}"


def _expired(first: int, why: str, oldest_ns: int | None = None) -> Problem:
    rest = "" if oldest_ns is None else f"&end={rfc3339(oldest_ns)}"
    hint = f"subscribe with from=pos:{first - 1}; GET /api/v1/trades?symbol=…&start=…{rest} has what is older"
    return Problem("resume_expired", why, hint, oldest_pos=first)


def _away() -> Problem:
    problem = Problem("unavailable", "the bus cannot be reached now", "come back in some seconds")
    problem.retry_after_s = 5
    return problem


class _Reading:
    """How far one session has read, and what of it is new."""

    def __init__(self, beginning: Beginning, series: Collection[Series]) -> None:
        self.pos = beginning.pos
        self.series = series
        self._not_before_ns = beginning.not_before_ns
        self._behind = beginning.behind
        self._last: dict[Series, LiveEvent] = {}

    def new(self, messages: Sequence[Incoming]) -> list[LiveEvent]:
        """Return those messages that are wanted and came only now."""
        found = []
        for message in messages:
            self.pos = message.stream_seq
            series = series_of(message.subject)
            if series is None or series not in self.series:
                continue
            event = live_event(series, message)
            before = self._last.get(series)
            if before is None or follows(event, before):
                self._last[series] = event
                found.append(event)
        return [event for event in found if self.is_late_enough(event)]

    def is_late_enough(self, event: LiveEvent) -> bool:
        behind = self._behind
        if behind is not None and (event.series.feed, event.conn) == (behind.feed, behind.conn):
            return event.seq > behind.place
        return not self._not_before_ns or (received_ns(event.series, event.payload) or -1) >= self._not_before_ns
