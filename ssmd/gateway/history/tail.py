"""What a feed's stream has that the archive may not have yet: everything behind the archiver's last acknowledgement.

An acknowledged message is in the archive. So whoever asks for the acknowledgement first, lists the archive next and
reads the stream last has every event of that moment at least once; identities take out what came twice.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from ssmd.bus.base import Bus, Incoming, Start
from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.codec import marketdata
from ssmd.errors import BadRecord
from ssmd.gateway.access import Series
from ssmd.gateway.history.link import BusSource
from ssmd.gateway.history.plan import Plan, Span
from ssmd.log import get_logger
from ssmd.model import EventType

FETCH: Final = 1_000
WITHIN_S: Final = 2.0
"""For what the stream had when it was asked; longer than that, it was dropped meanwhile."""

HELD_MESSAGES: Final = 40_000
"""Of one feed in memory. Behind an archiver that stands still there may be millions: then the tail is read again."""


class TailPlace(Struct, frozen=True):
    """What is read of which stream. after_seq: acknowledged when the archive had not been listed yet."""

    stream: str
    feed: str
    series: frozenset[Series]
    after_seq: int


class TailMessage(Struct, frozen=True, gc=False):
    type: EventType
    payload: bytes


class TailMinute(Struct, frozen=True):
    minute_ns: int
    messages: list[TailMessage]


class Tail:
    """Gives the minutes of the tail one after the other, in either direction; holds so many messages and a minute."""

    def __init__(self, bus: BusSource, place: TailPlace, plan: Plan, held: int = HELD_MESSAGES) -> None:
        self._bus = bus
        self._place = place
        self._rest: Span | None = plan.span
        self._newest_first = plan.newest_first
        self._held = held
        self._ready: list[TailMinute] = []
        self._through_seq: int | None = None

    async def next(self) -> TailMinute | None:
        """Return the next minute that has any message. Raises Problem unavailable when the bus is away."""
        if not self._ready and self._rest is not None:
            await self.load()
        return self._ready.pop() if self._ready else None

    async def load(self) -> None:
        """Read the stream now: what is published later belongs to somebody else's answer."""
        if self._rest is None:
            return
        collected = _Collected(self._place, self._rest, self._held, newest_first=self._newest_first)
        async with self._bus.use() as bus:
            if self._through_seq is None:
                usage = await bus.usage(self._place.stream)
                self._through_seq = 0 if usage is None else usage.last_seq
            if self._through_seq > self._place.after_seq:
                await self._read(bus, self._through_seq, collected)
        self._rest = collected.rest
        minutes = sorted(collected.minutes, reverse=not self._newest_first)
        self._ready = [TailMinute(minute_ns, collected.minutes[minute_ns]) for minute_ns in minutes]

    async def _read(self, bus: Bus, through_seq: int, into: "_Collected") -> None:
        place = self._place
        async with bus.listen(place.stream, _subject(place), Start(after_seq=place.after_seq)) as consumer:
            left = consumer.present
            while left > 0 and (messages := await consumer.fetch(min(left, FETCH), WITHIN_S)):
                left -= len(messages)
                for message in messages:
                    if message.stream_seq > through_seq:
                        return
                    into.take(message)


class _Collected:
    """Messages by minute. Too many: the minutes that are needed last are left for another time."""

    def __init__(self, place: TailPlace, span: Span, held: int, *, newest_first: bool) -> None:
        self.minutes: dict[int, list[TailMessage]] = {}
        self._wanted = {f"md.{one.feed}.{one.type}.{one.symbol}": one for one in place.series}
        self._asked = self._span = span
        self._held = held
        self._count = 0
        self._newest_first = newest_first
        self._log = get_logger(feed=place.feed, actor="history")

    def take(self, message: Incoming) -> None:
        series = self._wanted.get(message.subject)
        if series is None:
            return
        try:
            header = marketdata.header(series.type, message.payload)
        except BadRecord as error:  # the archiver counts it and leaves it out too
            self._log.debug("message_unreadable", id=message.message_id, error=str(error))
            return
        if header.recv_ns in self._span and header.symbol == series.symbol:
            held = self.minutes.setdefault(minute_of(header.recv_ns), [])
            held.append(TailMessage(series.type, message.payload))
            self._count += 1
            if self._count > self._held and len(self.minutes) > 1:
                self._drop_last()

    @property
    def rest(self) -> Span | None:
        """What was left out of the span that was asked for; None when all of it is here."""
        asked, kept = self._asked, self._span
        if asked == kept:
            return None
        return Span(asked.from_ns, kept.from_ns) if self._newest_first else Span(kept.to_ns, asked.to_ns)

    def _drop_last(self) -> None:
        minute_ns = min(self.minutes) if self._newest_first else max(self.minutes)
        self._count -= len(self.minutes.pop(minute_ns))
        if self._newest_first:
            self._span = Span(minute_ns + NS_PER_MINUTE, self._span.to_ns)
        else:
            self._span = Span(self._span.from_ns, minute_ns)


def _subject(place: TailPlace) -> str:
    """Return the narrowest subject that covers all series; their parts come from the catalog, never from a client."""
    kinds: Sequence[EventType] = sorted({one.type for one in place.series})
    symbols = sorted({one.symbol for one in place.series})
    if len(kinds) > 1:
        return f"md.{place.feed}.>"
    return f"md.{place.feed}.{kinds[0]}.{symbols[0] if len(symbols) == 1 else '*'}"
