"""What one session is sent, from three sources: live from the hub, what came before, and the archive."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Final

import trio

from ssmd.errors import BadRecord
from ssmd.gateway.access import Series
from ssmd.gateway.history.quality import Window
from ssmd.gateway.live.encoding import encode_event
from ssmd.gateway.live.events import Chunk, Delivered, LiveEvent
from ssmd.gateway.live.frames import text_frame
from ssmd.gateway.live.hub import Hub, Receiver
from ssmd.gateway.live.line import RESTART, Line
from ssmd.gateway.live.notices import CommandId, ReplayEnded, ReplayStarted, refusal
from ssmd.gateway.live.parts import LiveParts
from ssmd.gateway.live.replaying import Archived, Gaps, Period, gap_notices, replay
from ssmd.gateway.live.resume import Beginning
from ssmd.gateway.problems import Problem
from ssmd.gateway.times import rfc3339

CATCH_UPS: Final = 4
"""Of one session at the same time."""


class Snapshot:
    """The last message of a series, marked as one that was already sent to others."""

    __slots__ = ("frame", "pos", "series")

    def __init__(self, last: LiveEvent) -> None:
        self.series = last.series
        self.pos = last.pos
        self.frame = text_frame(encode_event(last.event, last.pos)[:-1] + b',"snapshot":true}')


class Deliveries:
    """Every set of series here may only shrink from outside, by `forget`."""

    __slots__ = ("_line", "_live", "_older", "_parts", "_receiver", "_replay")

    def __init__(self, receiver: Receiver, line: Line, parts: LiveParts) -> None:
        self._receiver = receiver
        self._line = line
        self._parts = parts
        self._live: set[Series] = set()
        self._older: list[set[Series]] = []
        self._replay: _Replay | None = None

    @property
    def aside(self) -> set[Series]:
        """What does not come live: it is being caught up with, or replayed."""
        return set().union(*self._not_live())

    def _not_live(self) -> list[set[Series]]:
        return self._older if self._replay is None else [*self._older, self._replay.series]

    @property
    def is_catching_up(self) -> bool:
        return bool(self._older)

    def forget(self, gone: Collection[Series]) -> None:
        """Send nothing more of these."""
        for wanted in self._not_live():
            wanted.difference_update(gone)
        if self._live.intersection(gone):
            self._live.difference_update(gone)
            self._tune()

    def go_live(self, series: Collection[Series], *, snapshot: bool) -> None:
        """Send what comes from now on; with a snapshot, the last quote and book of each before it."""
        if snapshot:
            lasts = [_snapshot(self._parts.hub, each) for each in series if each.type != "trade"]
            self._put([last for last in lasts if last is not None])
        self._live.update(series)
        self._tune()

    def _tune(self) -> None:
        self._parts.hub.tune(self._receiver, self._live)

    def _put(self, events: Sequence[Delivered]) -> None:
        if events:
            self._line.put(Chunk(events))

    async def _take(self, wanted: Collection[Series], events: Sequence[Delivered]) -> None:
        await self._line.room()
        self._put([event for event in events if event.frame and event.series in wanted])

    # what came before ----------------------------------------------------------------------------------------

    def set_back(self, series: Collection[Series]) -> set[Series]:
        """Take series out of what comes live, to catch up with them. Raises Problem when too many are at it."""
        if len(self._older) >= CATCH_UPS:
            raise Problem("rate_limited", f"at most {CATCH_UPS} subscriptions catch up at the same time")
        wanted = set(series)
        self._live.difference_update(wanted)
        self._tune()
        self._older.append(wanted)
        return wanted

    async def catch_up(self, beginning: Beginning, wanted: set[Series]) -> None:
        """Send what came behind a point, then go on with what comes: without a seam, and nothing twice."""
        try:
            recent = await self._parts.rewinder.read(beginning, wanted, partial(self._take, wanted))
        except Problem as problem:
            self._line.tell(refusal(problem))
            self._line.end(RESTART, problem.detail)
            return
        self._put([event for event in recent if event.frame and event.series in wanted])
        self._older = [each for each in self._older if each is not wanted]
        self.go_live(wanted, snapshot=False)

    # the archive ---------------------------------------------------------------------------------------------

    def stop_replay(self) -> None:
        if self._replay is not None:
            self._replay.scope.cancel()

    def begin_replay(self, command_id: CommandId, period: Period, series: Collection[Series]) -> "_Replay":
        """Say that a replay begins; return what `run_replay` is to be given. Raises Problem conflict beside another."""
        if self._replay is not None:
            raise Problem("conflict", "a replay is running", 'send {"op":"stop"} to end it')
        self._replay = _Replay(series)
        self._line.tell(ReplayStarted(command_id, rfc3339(period.start_ns), rfc3339(period.end_ns)))
        return self._replay

    async def run_replay(self, command_id: CommandId, period: Period, running: "_Replay") -> None:
        """Send a period of the archive at its speed."""
        messages = 0

        async def take(events: Sequence[Archived]) -> None:
            nonlocal messages
            messages += sum(event.series in running.series for event in events)
            await self._take(running.series, events)

        def tell(window: Window) -> None:
            for notice in gap_notices(window, period, running.series, command_id):
                self._line.tell(notice)

        is_complete = False
        with running.scope:
            try:
                asked = frozenset(running.series)
                windows = await self._parts.archive.windows(asked, period.start_ns, period.end_ns)
                events = self._parts.archive.events(asked, period.start_ns, period.end_ns)
                await replay(events, period, Gaps(windows, tell), take)
                is_complete = True
            except Problem as problem:
                self._line.tell(refusal(problem, command_id))
        self._replay = None
        self._line.tell(ReplayEnded(command_id, messages, is_complete))


class _Replay:
    """What is replayed, and how to end that."""

    __slots__ = ("scope", "series")

    def __init__(self, series: Collection[Series]) -> None:
        self.scope = trio.CancelScope()
        self.series = set(series)


def _snapshot(hub: Hub, series: Series) -> Snapshot | None:
    last = hub.last(series)
    try:
        return None if last is None else Snapshot(last)
    except BadRecord:
        return None
