"""Write what the sessions appended: in groups, soon enough for a crash, synced often enough for a power cut."""

from typing import Final

import trio

from ssmd import metrics
from ssmd.journal import Journal
from ssmd.settings import JournalSettings

GATHER_SHARE: Final = 0.2
"""The part of flush_ms spent on gathering a group; the rest is reserve for the disk."""


class RawWriter:
    """The journal's one writer. What it could not write stays with the journal; a restart goes on with it."""

    def __init__(self, journal: Journal, settings: JournalSettings) -> None:
        self._journal = journal
        self._gather_s = settings.flush_ms * GATHER_SHARE / 1000
        self._sync_every_s = settings.fsync_ms / 1000
        self._synced_s = 0.0
        self._draining = trio.Event()
        self._waiting: trio.CancelScope | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until drained. Raises DiskFull, an outage: the lines wait, sessions stall, nothing is lost."""
        task_status.started()
        while not self._draining.is_set():
            with trio.CancelScope() as self._waiting:
                await self._journal.wait_pending()
                await trio.sleep(self._gather_s)
            await self._write()
        await self._journal.write_pending(sync=True)
        self._journal.close()

    def drain(self) -> None:
        self._draining.set()
        if self._waiting is not None:
            self._waiting.cancel()

    async def _write(self) -> None:
        now_s = trio.current_time()
        sync = now_s - self._synced_s >= self._sync_every_s
        if sync:
            self._synced_s = now_s
        await self._journal.write_pending(sync=sync)
        metrics.JOURNAL_PENDING.set(self._journal.pending_bytes)
        metrics.JOURNAL_BACKLOG.set(self._journal.stored_bytes)
