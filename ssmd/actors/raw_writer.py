"""Write what the sessions appended: in groups, soon enough for a crash, synced often enough for a power cut."""

from typing import Final

import trio

from ssmd import metrics
from ssmd.journal import Journal
from ssmd.settings import JournalSettings

PACE_SHARE: Final = 0.04
"""The part of flush_ms between the begins of two writes; the rest is reserve for the disk."""


class RawWriter:
    """The journal's one writer. What it could not write stays with the journal; a restart goes on with it."""

    def __init__(self, journal: Journal, settings: JournalSettings) -> None:
        self._journal = journal
        self._pace_s = settings.flush_ms * PACE_SHARE / 1000
        self._sync_every_s = settings.fsync_ms / 1000
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until drained, then close the journal. Raises DiskFull, an outage: the lines wait, sessions stall."""
        task_status.started()
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sync)
                await self._write()
        await self._journal.write_pending()
        await self._journal.sync()
        self._journal.close()

    def drain(self) -> None:
        self._scope.cancel()

    async def _write(self) -> None:
        """Write what comes first at once; what comes soon behind a write is gathered."""
        next_s = 0.0
        while True:
            await self._journal.wait_pending()
            await trio.sleep_until(next_s)
            next_s = trio.current_time() + self._pace_s
            await self._journal.write_pending()
            metrics.JOURNAL_PENDING.set(self._journal.pending_bytes)
            metrics.JOURNAL_BACKLOG.set(self._journal.stored_bytes)

    async def _sync(self) -> None:
        """Sync beside the writing: a slow disk must not hold back what only has to be written."""
        while True:
            await trio.sleep(self._sync_every_s)
            await self._journal.sync()
