"""The archive as if it were live: the same messages, at the pace they came in or a multiple of it."""

import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from typing import Final

import trio
from msgspec import Struct

from ssmd.clock import NS_PER_S
from ssmd.gateway.access import Series
from ssmd.gateway.history.quality import Window
from ssmd.gateway.live.commands import Replay
from ssmd.gateway.live.encoding import encode_event
from ssmd.gateway.live.frames import text_frame
from ssmd.gateway.live.notices import CommandId, Gap
from ssmd.gateway.problems import ParameterError, Problem, invalid
from ssmd.gateway.times import parameter_time, rfc3339
from ssmd.model import Event, type_of

CHUNK_EVENTS: Final = 200
MAX_SPEED: Final = 10_000.0
_SPEED: Final = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,3})?)x?")


class Period(Struct, frozen=True):
    """speed: how many seconds of data per second; None is as fast as the client takes it."""

    start_ns: int
    end_ns: int
    speed: float | None


class Archived(Struct, frozen=True, gc=False):
    """An event of the archive; it has no place in the live stream."""

    series: Series
    frame: bytes
    pos: int | None = None


def parse_period(command: Replay, now_ns: int) -> Period:
    """Return what is to be replayed. Raises Problem invalid_parameter or start_after_end."""
    start_ns = parameter_time("start", command.start, now_ns)
    end_ns = min(now_ns, parameter_time("end", command.end, now_ns))
    if start_ns >= end_ns:
        raise Problem("start_after_end", f"start {rfc3339(start_ns)} is not before end {rfc3339(end_ns)}")
    return Period(start_ns, end_ns, _speed(command.speed))


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    found = _SPEED.fullmatch(text)
    if found is None or not 0 < float(found[1]) <= MAX_SPEED:
        raise invalid(ParameterError("speed", text[:40], f"1x, 10x, up to {MAX_SPEED:g}x, or max"))
    return float(found[1])


def archived(event: Event) -> Archived:
    series = Series(event.feed, type_of(event), event.symbol)
    return Archived(series, text_frame(encode_event(event)))


class Gaps:
    """What is missing of a period, told in its place: before the first event behind its beginning."""

    def __init__(self, windows: Sequence[Window], tell: Callable[[Window], None]) -> None:
        self._left = deque(sorted(windows, key=lambda window: window.start_ns))
        self._tell = tell

    def are_due(self, at_ns: int) -> bool:
        return bool(self._left) and self._left[0].start_ns <= at_ns

    def tell(self, until_ns: int) -> None:
        while self.are_due(until_ns):
            self._tell(self._left.popleft())


async def replay(
    events: AsyncGenerator[Event, None],
    period: Period,
    gaps: Gaps,
    take: Callable[[Sequence[Archived]], Awaitable[None]],
) -> None:
    """Have the events taken, in pieces, each when its time has come, and gaps told between them."""
    began_s, piece = trio.current_time(), list[Archived]()
    async with aclosing(events):
        async for event in events:
            due_s = began_s + _after_s(event, period)
            is_gap = gaps.are_due(event.recv_ns)
            if piece and (len(piece) == CHUNK_EVENTS or due_s > trio.current_time() or is_gap):
                await take(piece)
                piece = []
            if due_s > trio.current_time():
                await trio.sleep_until(due_s)
            gaps.tell(event.recv_ns)
            piece.append(archived(event))
    if piece:
        await take(piece)
    gaps.tell(period.end_ns)


def gap_notices(window: Window, period: Period, series: Collection[Series], command_id: CommandId) -> Iterator[Gap]:
    """Give a window as messages: one for each type that is replayed."""
    concerned = [
        one for one in series if one.feed == window.feed and (not window.symbols or one.symbol in window.symbols)
    ]
    start_ns = max(window.start_ns, period.start_ns)
    end_ns = period.end_ns if window.end_ns is None else min(window.end_ns, period.end_ns)
    for kind in sorted({one.type for one in concerned}):
        symbols = tuple(sorted(one.symbol for one in concerned if one.type == kind))
        yield Gap(window.feed, kind, symbols, rfc3339(start_ns), rfc3339(end_ns), window.reason, id=command_id)


def _after_s(event: Event, period: Period) -> float:
    if period.speed is None:
        return 0.0
    return (event.recv_ns - period.start_ns) / NS_PER_S / period.speed
