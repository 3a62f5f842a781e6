"""Looks for a message in the stream by its identity, with few and small readings however long the stream is.

A connector publishes in the order of its journal. So of each connection slot, what lies in the stream lies there in the
order of its identities, and halving finds a place among millions of messages with a dozen looks. Only the series
that are asked for decide: whatever else the stream holds changes nothing of what comes out.
"""

from collections.abc import Collection, Sequence
from typing import Final

from ssmd.bus.base import Bus, Incoming, Start, StreamUsage
from ssmd.clock import NS_PER_S
from ssmd.codec import marketdata
from ssmd.errors import BadRecord, BusDown
from ssmd.gateway.access import Series
from ssmd.gateway.live.events import series_of, subject_of
from ssmd.gateway.live.identity import Identity

LOOK_MESSAGES: Final = 100
"""The first one tells all, unless several connections share the work: then it must be one of the same slot."""
MAX_LOOKS: Final = 200
"""Some ten milliseconds each. Only names that nobody has given need so many, or hundreds of symbols that hardly trade."""
NEAR: Final = 1_000
"""What is left of the stream is read from end to end."""
FETCH_WITHIN_S: Final = 1.0
STORED_LATE_NS: Final = 60 * NS_PER_S
"""The bus knows when it stored a message, and with its own clock: look from a little earlier."""
REPEATED_AFTER_NS: Final = 600 * NS_PER_S - STORED_LATE_NS
"""What is published again sooner, the bus drops. So what was stored within this time of its receipt is the first copy."""


def received_ns(series: Series, payload: bytes) -> int | None:
    """Return when a message was received; None for one that cannot be read, which no client has ever got."""
    try:
        return marketdata.header(series.type, payload).recv_ns
    except BadRecord:
        return None


class Search:
    """For one message, among some series of its feed."""

    def __init__(self, bus: Bus, stream: str, wanted: Identity, series: Collection[Series]) -> None:
        self._bus = bus
        self._stream = stream
        self._wanted = wanted
        self._series = frozenset(series)
        self._guides = list(series)
        """Those that may be of the slot that is looked for."""
        self._looks = 0

    async def pos(self, usage: StreamUsage) -> int | None:
        """Return the number of its first copy, None when it is not there. Raises BusDown."""
        if not self._series or not usage.messages:
            return None
        low, high = usage.first_seq - 1, usage.last_seq  # it lies above the one, and not above the other
        while high - low > NEAR:
            if self._looks >= MAX_LOOKS:
                return None
            low, high = await self._narrow(low, high)
        found = self._among(await self._read(subject_of(self._series), low, NEAR))
        return None if found is None else await self._first_copy(found, usage.first_seq)

    async def _narrow(self, low: int, high: int) -> tuple[int, int]:
        """Return what is left of a stretch after a look at its middle."""
        middle = high_then = (low + high) // 2
        seen = await self._read(subject_of(self._series), middle, LOOK_MESSAGES)
        telling = next((message for message in seen if self._side_of(message) is not None), None)
        if telling is None and len(seen) == LOOK_MESSAGES and seen[-1].stream_seq < high:
            telling = await self._guide(middle, high)
            high_then = middle if telling is None else telling.stream_seq - 1
        side = 1 if telling is None else self._side_of(telling)
        if telling is None or side == 1:
            return low, high_then
        return (telling.stream_seq, high) if side == -1 else (telling.stream_seq - 1, telling.stream_seq)

    async def _guide(self, middle: int, high: int) -> Incoming | None:
        """Return a message of a stretch that tells on which side of it is what is looked for; None: neither is there.

        What comes next of one series is one look away, however much the other slots send meanwhile.
        """
        for guide in tuple(self._guides):
            if guide not in self._guides or self._looks >= MAX_LOOKS:
                continue
            messages = await self._read(subject_of([guide]), middle, 1)
            if not messages or messages[0].stream_seq > high:
                continue
            if self._side_of(messages[0]) is not None:
                return messages[0]
            self._guides = [each for each in self._guides if each.symbol != guide.symbol]  # another slot has them
        return None

    def _side_of(self, message: Incoming) -> int | None:
        if series_of(message.subject) not in self._series:
            return None
        identity = Identity.parse(message.message_id)
        return None if identity is None else self._wanted.side_of(identity)

    def _among(self, messages: Sequence[Incoming]) -> Incoming | None:
        return next((message for message in messages if self._side_of(message) == 0), None)

    async def _read(self, subject: str, after_seq: int, limit: int) -> Sequence[Incoming]:
        """Return the next messages behind a number, fewer than `limit` only where the stream has no more."""
        self._looks += 1
        found: list[Incoming] = []
        async with self._bus.listen(self._stream, subject, Start(after_seq=after_seq)) as listener:
            is_more = listener.present > 0
            while is_more and len(found) < limit:
                batch = await listener.fetch(limit - len(found), FETCH_WITHIN_S)
                if not batch:
                    raise BusDown(f"stream {self._stream} does not give what it has behind {after_seq}")
                found += batch
                is_more = batch[-1].pending > 0
        return found

    async def _first_copy(self, found: Incoming, first_seq: int) -> int | None:
        """Return the number of the first copy: the bus stores again what is published again much later.

        None when the first one may be gone already, and with it what came between the two.
        """
        series = series_of(found.subject)
        recv_ns = None if series is None else received_ns(series, found.payload)
        if recv_ns is None:
            return None
        if found.stream_seq <= await self._last_before(recv_ns + REPEATED_AFTER_NS, found.stream_seq):
            return found.stream_seq
        pos = await self._last_before(recv_ns - STORED_LATE_NS, found.stream_seq)
        if pos < first_seq and first_seq > 1:
            return None
        while pos < found.stream_seq:
            messages = await self._read(found.subject, pos, NEAR)
            first = self._among(messages)
            if first is not None:
                return first.stream_seq
            pos = messages[-1].stream_seq if messages else found.stream_seq
        return found.stream_seq

    async def _last_before(self, at_ns: int, otherwise: int) -> int:
        """Return the number of the last message stored before a time; `otherwise` when everything was."""
        async with self._bus.listen(self._stream, "md.>", Start(since_ns=max(0, at_ns))) as listener:
            found = await listener.fetch(1, FETCH_WITHIN_S) if listener.present else ()
        return found[0].stream_seq - 1 if found else otherwise
