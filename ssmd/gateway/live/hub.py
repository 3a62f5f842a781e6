"""Everything live goes through here once: the last message of each series, the recent ones, and who wants what.

The stream's numbers (`pos`) are a total order of all messages. Nothing here waits: messages come in by batches, and
each session that wants some gets one chunk per batch. Sessions that want the same series share it, bytes and all, so
one more client costs one more write.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Protocol

import trio

from ssmd.bus.base import Incoming
from ssmd.gateway.access import CloseReason, Series
from ssmd.gateway.live.events import Chunk, LiveEvent, follows, live_event, series_of
from ssmd.gateway.live.identity import Identity
from ssmd.log import get_logger

RECENT_MESSAGES: Final = 8_192
RECENT_BYTES: Final = 4 << 20
"""What came last is kept, so that a session that was away for a moment goes on without asking the bus."""

NOTHING: Final[frozenset[Series]] = frozenset()
"""One for all who want nothing now: Python makes a new one of 0.2 kB each time."""

_log = get_logger(actor="hub")


class Receiver(Protocol):
    """A session, as the hub sees it. Both return at once and never raise."""

    def deliver(self, chunk: Chunk) -> None: ...
    def end(self, reason: CloseReason) -> None: ...


class _Audience:
    """Those who want the same series."""

    def __init__(self, series: frozenset[Series]) -> None:
        self.series = series
        self.receivers: dict[Receiver, None] = {}
        self.pending: list[LiveEvent] = []


class Hub:
    """Belongs to the tree: sessions live on while the actor that feeds it connects again."""

    def __init__(self) -> None:
        self.stream = ""
        """Names the stream that the numbers belong to: one that was made anew counts from 1 again."""
        self.pos = 0
        """Everything up to this number has been handed on."""
        self.is_live = False
        self._floor = 0
        self._end_pos = 0
        self._recent: deque[LiveEvent] = deque()
        self._recent_bytes = 0
        self._last: dict[Series, LiveEvent] = {}
        self._series_of: dict[str, Series | None] = {}
        self._listening: dict[Receiver, frozenset[Series]] = {}
        self._audiences: dict[frozenset[Series], _Audience] = {}
        self._wanting: dict[Series, list[_Audience]] = {}
        self._moved = trio.Event()

    # sessions ------------------------------------------------------------------------------------------------

    def tune(self, receiver: Receiver, series: Collection[Series]) -> None:
        """Send this session what comes of these series from now on, and of no others."""
        self._remove(receiver)
        if not series:
            self._listening[receiver] = NOTHING
            return
        wanted = frozenset(series)
        audience = self._audiences.get(wanted)
        if audience is None:
            audience = self._audiences[wanted] = _Audience(wanted)
            for each in wanted:
                self._wanting.setdefault(each, []).append(audience)
        self._listening[receiver] = audience.series
        audience.receivers[receiver] = None

    def leave(self, receiver: Receiver) -> None:
        self._remove(receiver)
        self._listening.pop(receiver, None)

    def dismiss(self, reason: CloseReason) -> None:
        """End every session: they come back by themselves."""
        for receiver in tuple(self._listening):
            receiver.end(reason)

    @property
    def sessions(self) -> int:
        return len(self._listening)

    def _remove(self, receiver: Receiver) -> None:
        audience = self._audiences.get(self._listening.get(receiver, NOTHING))
        if audience is None:
            return
        del audience.receivers[receiver]
        if not audience.receivers:
            del self._audiences[audience.series]
            for each in audience.series:
                self._wanting[each].remove(audience)
                if not self._wanting[each]:
                    del self._wanting[each]

    # what was ------------------------------------------------------------------------------------------------

    def last(self, series: Series) -> LiveEvent | None:
        """Return the last message of a series."""
        return self._last.get(series)

    def known(self) -> Collection[Series]:
        """Return every series that the stream has something of, or had since the start."""
        return self._last.keys()

    def remembers(self, pos: int) -> bool:
        """Tell whether everything that came behind a number is kept here."""
        return self._floor <= pos <= self.pos

    def after(self, pos: int, series: Collection[Series]) -> list[LiveEvent] | None:
        """Return what has come of these series behind a number; None if that is further back than is kept here."""
        if all(self._last[each].pos <= pos for each in series if each in self._last):
            return []
        if pos < self._floor:
            return None
        return [event for event in self._recent if event.pos > pos and event.series in series]

    def find(self, identity: Identity, series: Collection[Series]) -> LiveEvent | None:
        """Return a message of these series, all of its feed, if it is kept here."""
        conn, place = identity.conn, identity.place
        kept = reversed(self._recent)
        return next((one for one in kept if one.seq == place and one.conn == conn and one.series in series), None)

    async def settled(self) -> None:
        """Return when it stands at the end of the stream, so that what comes is new."""
        while not self.stream or self.pos < self._end_pos:
            await self._moved.wait()

    async def reached(self, pos: int) -> None:
        """Return when everything up to a number has been handed on."""
        while self.pos < pos:
            await self._moved.wait()

    # the stream ----------------------------------------------------------------------------------------------

    def begin(self, stream: str, lasts: Iterable[Incoming], after_pos: int, end_pos: int) -> None:
        """Start anew with the last message of each series, and behind after_pos with every one.

        What comes up to end_pos is there to be remembered: it was before the time of any session.
        """
        self.stream, self.pos, self._floor = stream, after_pos, after_pos
        self._end_pos = end_pos
        self._recent.clear()
        self._recent_bytes = 0
        self._last.clear()
        for message in lasts:
            event = self._event(message)
            if event is not None and message.stream_seq <= after_pos:
                self._last[event.series] = event
        self._tell_moved()

    def take(self, messages: Sequence[Incoming]) -> None:
        """Hand a batch of messages on, in order."""
        touched: dict[int, _Audience] = {}
        for message in messages:
            self.pos = message.stream_seq
            event = self._next(message)
            if event is None:
                continue
            for audience in self._wanting.get(event.series, ()):
                audience.pending.append(event)
                touched[id(audience)] = audience
        for audience in touched.values():
            _flush(audience)
        self._tell_moved()

    def _tell_moved(self) -> None:
        moved, self._moved = self._moved, trio.Event()
        moved.set()

    def _next(self, message: Incoming) -> LiveEvent | None:
        """Return a message that is new; None for one that came before or belongs to no series."""
        event = self._event(message)
        if event is None:
            return None
        before = self._last.get(event.series)
        if before is not None and not follows(event, before):
            return None
        self._last[event.series] = event
        self._keep(event)
        return event

    def _event(self, message: Incoming) -> LiveEvent | None:
        try:
            series = self._series_of[message.subject]
        except KeyError:
            series = self._series_of[message.subject] = series_of(message.subject)
            if series is None:
                _log.error("subject_unknown", subject=message.subject)
        return None if series is None else live_event(series, message)

    def _keep(self, event: LiveEvent) -> None:
        self._recent.append(event)
        self._recent_bytes += len(event.payload)
        while len(self._recent) > RECENT_MESSAGES or self._recent_bytes > RECENT_BYTES:
            oldest = self._recent.popleft()
            self._recent_bytes -= len(oldest.payload)
            self._floor = oldest.pos


def _flush(audience: _Audience) -> None:
    events, audience.pending = [event for event in audience.pending if event.frame], []
    if events:
        chunk = Chunk(events)
        for receiver in tuple(audience.receivers):
            receiver.deliver(chunk)
