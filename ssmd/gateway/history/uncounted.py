"""From when on nobody has counted yet whether the archive has everything, where the stream may have lost some of it.

What is not archived yet is in the stream, as long as that is still the one that the stocktaker knew and has lost
nothing behind the minutes that are counted. If it has, what is missing is not known before it is counted.
"""

from typing import Final

import trio
from msgspec import Struct

from ssmd.archive.position import BUCKET, DAYS_NS, Position, decode_position, position_key
from ssmd.bus.base import StreamUsage
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.gateway.history.plan import Doubt, Source, Span
from ssmd.gateway.history.reader import Archive
from ssmd.gateway.problems import Problem
from ssmd.log import get_logger

SEEN_AGE_S: Final = 1.0
AWAY_AGE_S: Final = 5.0
"""Nobody waits again for a bus that was away so lately."""


class _Seen(Struct, frozen=True):
    """What the bus said, and until when (trio's clock) nobody asks again. usage: None while the bus is away."""

    until_s: float
    position: Position | None
    usage: StreamUsage | None


class Uncounted:
    """While the bus is away, the position that was known last counts."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._seen: dict[str, _Seen] = {}
        self._asking = trio.Lock()
        self._away_until_s = float("-inf")

    async def within(self, source: Source, span: Span) -> Doubt | None:
        """Return in which minutes of a source something may be lost unseen; None: in none that begin in the span.

        Without any position those are the days that a stocktaker looks at.
        """
        if source.durable is None:
            return None
        key = position_key(self._archive.environment, source.version, source.durable)
        seen = self._seen.get(key)
        if seen is None or (trio.current_time() >= seen.until_s and self._doubt(seen, span) is not None):
            async with self._asking:
                seen = self._seen[key] = await self._ask(key)
        return self._doubt(seen, span, is_whole=_is_whole(seen))

    def _doubt(self, seen: _Seen, span: Span, *, is_whole: bool = False) -> Doubt | None:
        """Return what is not counted of a span, and is not proved by a stream that is whole behind what is counted.

        That proves nothing of a minute that waits for a late record: its messages may lie before.
        """
        waiting = () if seen.position is None else seen.position.waiting
        from_ns = span.to_ns if is_whole else self._counted_ns(seen)
        doubt = Doubt(from_ns, frozenset(minute_ns for minute_ns in waiting if minute_ns in span))
        return doubt if doubt.minutes or doubt.from_ns < span.to_ns else None

    def _counted_ns(self, seen: _Seen) -> int:
        if seen.position is None:
            return self._archive.now() - DAYS_NS
        return seen.position.through_ns + NS_PER_MINUTE

    async def _ask(self, key: str) -> _Seen:
        before = self._seen.get(key)
        if before is not None and trio.current_time() < before.until_s:
            return before  # somebody else has asked meanwhile
        last = None if before is None else before.position
        if trio.current_time() < self._away_until_s:
            return _Seen(self._away_until_s, last, None)
        try:
            async with self._archive.bus.use() as bus:
                entry = await bus.kv_get(BUCKET, key)
                usage = await bus.usage(self._archive.stream)
        except Problem:
            self._away_until_s = trio.current_time() + AWAY_AGE_S
            return _Seen(self._away_until_s, last, None)
        position = None if entry is None else _position(key, entry.value or b"")
        return _Seen(trio.current_time() + SEEN_AGE_S, position, usage)


def _position(key: str, text: bytes) -> Position | None:
    try:
        return decode_position(text)
    except BadRecord as error:
        get_logger(actor="history").warning("position_unreadable", key=key, error=str(error))
        return None


def _is_whole(seen: _Seen) -> bool:
    """Tell whether the stream has everything that came behind the minutes that are counted."""
    position, usage = seen.position, seen.usage
    if position is None or usage is None:
        return False
    is_same = usage.created_ns == position.created_ns and usage.last_seq >= position.stream_seq
    return is_same and usage.first_seq <= position.stream_seq + 1
