"""The archive as if it were live: the same messages, at the pace they came in or a multiple of it."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

import trio
from msgspec import Struct

from ssmd.clock import NS_PER_S
from ssmd.gateway.access import Series
from ssmd.gateway.live.commands import Replay
from ssmd.gateway.live.encoding import encode_event
from ssmd.gateway.live.frames import text_frame
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


async def replay(
    events: AsyncGenerator[Event, None], period: Period, take: Callable[[Sequence[Archived]], Awaitable[None]]
) -> None:
    """Have the events taken, in pieces, each when its time has come."""
    began_s, piece = trio.current_time(), list[Archived]()
    async with aclosing(events):
        async for event in events:
            due_s = began_s + _after_s(event, period)
            if piece and (len(piece) == CHUNK_EVENTS or due_s > trio.current_time()):
                await take(piece)
                piece = []
            if due_s > trio.current_time():
                await trio.sleep_until(due_s)
            piece.append(archived(event))
    if piece:
        await take(piece)


def _after_s(event: Event, period: Period) -> float:
    if period.speed is None:
        return 0.0
    return (event.recv_ns - period.start_ns) / NS_PER_S / period.speed
