"""From when on nobody has counted yet whether the archive has everything, where the stream may have lost some of it.

Behind the archiver's acknowledgement the stream has what the archive lacks, as long as its limits have taken nothing
there. If they have, what is missing is not known before the stocktaker has counted.
"""

from typing import Final

import trio
from msgspec import Struct

from ssmd.archive.position import BUCKET, DAYS_NS, Position, decode_position, position_key
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.gateway.history.plan import Source, Span
from ssmd.gateway.history.reader import Archive
from ssmd.gateway.problems import Problem
from ssmd.log import get_logger

POSITION_AGE_S: Final = 1.0
NEVER_NS: Final = 1 << 62


class _Seen(Struct, frozen=True):
    at_s: float
    position: Position | None


class Uncounted:
    """While the bus is away, the position that was known last counts."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._seen: dict[str, _Seen] = {}

    async def within(self, source: Source, span: Span) -> Span | None:
        """Return in which minutes of a source something may be lost unseen; None: in none that begin in the span.

        Without any position those are the days that a stocktaker looks at.
        """
        if source.durable is None:
            return None
        position = await self._position(position_key(self._archive.environment, source.version, source.feed))
        counted_ns = self._archive.now() - DAYS_NS if position is None else position.through_ns + NS_PER_MINUTE
        if span.to_ns <= counted_ns:
            return None
        whole_from_ns = await self._whole_from_ns(source.durable)
        return Span(counted_ns, whole_from_ns) if counted_ns < whole_from_ns else None

    async def _position(self, key: str) -> Position | None:
        seen = self._seen.get(key)
        if seen is None or trio.current_time() - seen.at_s > POSITION_AGE_S:
            last = None if seen is None else seen.position
            seen = self._seen[key] = _Seen(trio.current_time(), await self._read(key, last))
        return seen.position

    async def _read(self, key: str, last: Position | None) -> Position | None:
        try:
            async with self._archive.bus.use() as bus:
                entry = await bus.kv_get(BUCKET, key)
            return None if entry is None else decode_position(entry.value or b"")
        except BadRecord as error:
            get_logger(actor="history").warning("position_unreadable", key=key, error=str(error))
            return None
        except Problem:
            return last

    async def _whole_from_ns(self, durable: str) -> int:
        """Return since when the stream has kept everything that came behind the archiver's last acknowledgement."""
        try:
            async with self._archive.bus.use() as bus:
                acked_seq = await bus.acked_through(self._archive.stream, durable)
                usage = await bus.usage(self._archive.stream)
        except Problem:
            return NEVER_NS
        is_whole = usage is not None and usage.first_seq <= acked_seq + 1
        return usage.created_ns if usage is not None and is_whole else NEVER_NS
