"""Play recorded frames to one client, byte for byte, at their own pace or any other."""

import gzip
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from ssmd.errors import ConfigError
from ssmd.simulator.faults import Fault
from ssmd.simulator.session import Session
from ssmd.simulator.venue import BookView, MaintenancePhase, Reply, Request, Venue

_TIME: Final = re.compile(rb'"(?:timestamp|time_in)":"([^"]{19,40})"')
_FRAMES_PER_CHECKPOINT: Final = 256


class Dialect(Struct, frozen=True):
    """The little a replay must know of its exchange."""

    is_greeting: Callable[[bytes], bool]
    """Whether a recording's first frame is what the exchange sends at connect."""
    is_subscribe: Callable[[str | bytes], bool]
    greeting: Callable[[int], str]
    """What to send at connect, by number of the connection, where the recording has nothing."""
    heartbeat: str


class Recording:
    """The lines of recorded files, in order, each with its time after the first in seconds."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def frames(self) -> Iterator[bytes]:
        return chain.from_iterable(map(_lines, self._paths))

    def timed(self) -> Iterator[tuple[float, bytes]]:
        """Yield (offset, frame). Offsets never fall; a frame without time follows at once; a further file too."""
        offset_s = 0.0
        for path in self._paths:
            file_start_s, first_time_s = offset_s, math.nan
            for frame in _lines(path):
                time_s = _time_s(frame)
                if time_s is not None:
                    first_time_s = time_s if math.isnan(first_time_s) else first_time_s
                    offset_s = max(offset_s, file_start_s + time_s - first_time_s)
                yield offset_s, frame


class Replay:
    """A venue that plays a recording once, to the first client that subscribes; others get heartbeats only.

    While it plays nothing is interleaved: recorded acks are the acks, recorded heartbeats the heartbeats, and no
    request is answered. REST is the real venue's.
    """

    def __init__(self, venue: Venue, dialect: Dialect, paths: Sequence[Path], speed: float) -> None:
        self.path = venue.path
        self._venue = venue
        self._dialect = dialect
        self._recording = Recording(paths)
        self._speed = speed
        self._first = next(islice(self._recording.frames(), 1), b"")
        self._greets = dialect.is_greeting(self._first)
        self._claimed = trio.Event()
        self._listener: Session | None = None
        self._over = False

    def join(self, session: Session) -> "ReplayClient":
        if self._greets:
            session.send(self._first)
        elif self._claimed.is_set():
            session.send(self._dialect.greeting(session.conn))
        return ReplayClient(session, self, self._dialect)

    def claim(self, session: Session) -> None:
        """Let the recording begin for this client, unless another was first."""
        if self._listener is None:
            self._listener = session
            self._claimed.set()

    def beats(self, session: Session) -> bool:
        """Tell whether heartbeats of our own may go to the client now."""
        return self._over or self._listener not in (None, session)

    async def run(self) -> None:
        await self._claimed.wait()
        if self._listener is not None:
            timed = islice(self._recording.timed(), 1 if self._greets else 0, None)
            await play(timed, self._speed, self._listener)
        self._over = True
        await trio.sleep_forever()

    def inject(self, fault: Fault) -> None:
        raise ConfigError(f"fault {fault.name} needs the synthetic feed: a replay is sent as it was recorded")

    def maintain(self, phase: MaintenancePhase) -> None:
        """Say nothing: a recording carries its own status frames."""

    def answer(self, request: Request) -> Reply | None:
        return self._venue.answer(request)

    def books(self, levels: int) -> Mapping[str, BookView]:
        return self._venue.books(levels)


class ReplayClient:
    def __init__(self, session: Session, replay: Replay, dialect: Dialect) -> None:
        self._session = session
        self._replay = replay
        self._dialect = dialect

    def receive(self, message: str | bytes) -> None:
        if self._dialect.is_subscribe(message):
            self._replay.claim(self._session)

    def heartbeat(self) -> None:
        if self._replay.beats(self._session):
            self._session.send(self._dialect.heartbeat)

    def leave(self) -> None:
        pass


async def play(timed: Iterator[tuple[float, bytes]], speed: float, session: Session) -> None:
    """Queue every frame when it is due, by an absolute schedule; stop early when the connection ends."""
    start_s: float | None = None
    for number, (offset_s, frame) in enumerate(timed):
        if start_s is None:
            start_s = trio.current_time() - offset_s / speed
        due_s = start_s + offset_s / speed
        if due_s > trio.current_time():
            await trio.sleep_until(due_s)
        if number % _FRAMES_PER_CHECKPOINT == 0:
            await trio.lowlevel.checkpoint()
            await session.room()
        if session.ended:
            return
        session.send(frame)


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            frame = line.removesuffix(b"\n").removesuffix(b"\r")
            if frame:
                yield frame


def _time_s(frame: bytes) -> float | None:
    found = _TIME.search(frame)
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found[1].decode()).timestamp()
    except ValueError:
        return None
