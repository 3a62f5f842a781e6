"""One live message as the gateway holds it, and chunks of several on their way to clients."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Protocol

import trio

from ssmd import metrics
from ssmd.bus.base import Incoming
from ssmd.codec import marketdata
from ssmd.errors import BadRecord
from ssmd.gateway.access import Series
from ssmd.gateway.live.encoding import encode_event
from ssmd.gateway.live.frames import text_frame
from ssmd.gateway.live.notices import Gap, as_frame
from ssmd.gateway.times import rfc3339
from ssmd.log import get_logger
from ssmd.model import EVENT_TYPES, Event, is_symbol, is_token

_log = get_logger(actor="hub")


class LiveEvent:
    """One message. It is decoded and encoded when the first client wants it, and only once."""

    __slots__ = ("_event", "_frame", "behind_gap", "conn", "payload", "pos", "seq", "series")

    def __init__(self, series: Series, pos: int, payload: bytes, identity: tuple[str, tuple[int, int]]) -> None:
        self.series = series
        self.pos = pos
        self.payload = payload
        self.conn, self.seq = identity
        self.behind_gap: bytes | None = None
        """The last message of another connection, when this begins a new one: what came between is not known."""
        self._event: Event | None = None
        self._frame: bytes | None = None

    @property
    def event(self) -> Event:
        """Raises BadRecord when it cannot be read, or is not about what its subject says."""
        if self._event is None:
            event = marketdata.decode(self.series.type, self.payload)
            if (event.feed, event.symbol) != (self.series.feed, self.series.symbol):
                raise BadRecord(f"a message of {self.series} carries {event.feed!r} and {event.symbol[:40]!r}")
            self._event = event
        return self._event

    @property
    def frame(self) -> bytes:
        """The frame for clients, behind a notice of the gap in front of it if there is one. Empty: it cannot be read."""
        if self._frame is None:
            try:
                self._frame = self._gap_frame() + text_frame(encode_event(self.event, self.pos))
            except BadRecord as error:
                metrics.GATEWAY_UNREADABLE.inc()
                _log.error("message_unreadable", pos=self.pos, error=str(error))
                self._frame = b""
            self.behind_gap = self._event = None  # whatever is kept for a while is kept small
        return self._frame

    def _gap_frame(self) -> bytes:
        if self.behind_gap is None:
            return b""
        end_ns = self._recv_ns(self.payload)
        try:
            begin_ns = self._recv_ns(self.behind_gap)
        except BadRecord:
            begin_ns = end_ns  # nobody can tell how long; that there is a gap is told all the same
        about = (self.series.feed, self.series.type, (self.series.symbol,))
        return as_frame(Gap(*about, rfc3339(begin_ns), rfc3339(end_ns), "disconnect"))

    def _recv_ns(self, payload: bytes) -> int:
        return marketdata.header(self.series.type, payload).recv_ns


class Delivered(Protocol):
    """What a chunk is made of: something of a series, as a frame. pos is None for what comes from the archive."""

    @property
    def series(self) -> Series: ...
    @property
    def pos(self) -> int | None: ...
    @property
    def frame(self) -> bytes: ...


class Chunk:
    """Some frames in order, as one piece of bytes. Frames about the session itself belong to no event."""

    def __init__(self, events: Sequence[Delivered], data: bytes | None = None) -> None:
        self.events = events
        self.made_s = trio.current_time()
        self.data = b"".join([event.frame for event in events]) if data is None else data

    @cached_property
    def counts(self) -> tuple[tuple[Series, int], ...]:
        """How many of each series."""
        return tuple(Counter([event.series for event in self.events]).items())

    def only(self, wanted: Callable[[Series], bool]) -> "Chunk":
        """Return the frames of some series; what is about the session itself stays."""
        events = [event for event in self.events if wanted(event.series)]
        return self if len(events) == len(self.events) else Chunk(events)

    def split(self, size: int) -> tuple["Chunk", "Chunk"]:
        """Return the frames that the first bytes belong to, also to a part of one, and the others."""
        at, end = 0, 0
        while end < size and at < len(self.events):
            end += len(self.events[at].frame)
            at += 1
        return (Chunk(self.events[:at]), Chunk(self.events[at:])) if self.events else (self, Chunk(()))

    def whole_within(self, size: int) -> "Chunk":
        """Return the frames that end within the first bytes."""
        whole = self.split(size)[0]
        return whole if len(whole.data) <= size else Chunk(whole.events[:-1])


def series_of(subject: str) -> Series | None:
    """Return what `md.<feed>.<type>.<symbol>` is about; None for any other subject."""
    match subject.split("."):
        case ["md", feed, kind, symbol] if kind in EVENT_TYPES and is_token(feed) and is_symbol(symbol):
            return Series(feed, kind, symbol)
    return None


def subject_of(series: Collection[Series]) -> str:
    """Return the narrowest subject that covers all of these."""
    feeds, kinds, symbols = ({each.feed for each in series}, {each.type for each in series}, {s.symbol for s in series})
    return ".".join(("md", *(next(iter(names)) if len(names) == 1 else "*" for names in (feeds, kinds, symbols))))


def live_event(series: Series, message: Incoming) -> LiveEvent:
    return LiveEvent(series, message.stream_seq, message.payload, _identity(message.message_id))


def _identity(message_id: str) -> tuple[str, tuple[int, int]]:
    """Return connection and place of `<feed>/<conn>/<seq>/<n>`; what has no such id is taken as new."""
    parts = message_id.split("/")
    try:
        return parts[1], (int(parts[2]), int(parts[3]))
    except (IndexError, ValueError):
        return "", (0, 0)


def follows(event: LiveEvent, before: LiveEvent) -> bool:
    """Tell whether an event is new after the one before it of its series; mark it if a new connection begins with it.

    The bus drops what is published twice within its duplicate window only.
    """
    if not event.conn:
        return True
    if event.conn == before.conn:
        return event.seq > before.seq
    event.behind_gap = before.payload if before.conn else None
    return True
