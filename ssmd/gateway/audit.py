"""What was delivered and who was connected: counted in memory, written within a second, never twice.

A process that is killed loses at most what it had counted since the last write (WINDOW_S). Nothing is ever counted that
was not handed to a client, and no batch is stored twice, also when its commit was not heard of.
"""

from collections.abc import Callable, Iterable
from typing import Final

import trio

from ssmd import metrics
from ssmd.clock import NS_PER_MINUTE, NS_PER_S, NowNs, now_ns
from ssmd.errors import DatabaseDown
from ssmd.gateway.access import Principal, Series
from ssmd.gateway.database import Database
from ssmd.gateway.database.usage import Batch, SessionRow, UsageRow, begin_run, write_batch
from ssmd.log import get_logger

FLUSH_S: Final = 0.5
WINDOW_S: Final = 1.0
"""The most that a SIGKILL loses: a pause and a write."""

ALIVE_S: Final = 5.0
"""An idle run says so often that it lives: where the sessions of a killed one end."""

MAX_ROWS: Final = 50_000
"""While the database is away: above it, minutes are added up to their day. Reports by month stay exact."""
DAY_NS: Final = 86_400 * NS_PER_S

Counts = dict[tuple[int, str, str, Series], int]
"""Messages by minute, client, its type, and series."""


class AuditLog:
    """Belongs to the tree: what is counted outlives the actor that writes it. A run of the gateway has one."""

    def __init__(self, database: Database, now: NowNs = now_ns, max_rows: int = MAX_ROWS) -> None:
        self._database = database
        self._now = now
        self._max_rows = max_rows
        self._writing = trio.Lock()
        self._run_id: int | None = None
        self._counts: Counts = {}
        self._sessions: dict[str, SessionRow] = {}
        self._keys_used: dict[str, int] = {}
        self._batch: Batch | None = None
        self._batches = 0
        self._written_s = float("-inf")
        self.is_written = True
        """Whether the last write worked. Reading may work where writing does not: on a full disk it does."""

    def count(self, principal: Principal, series: Series, messages: int) -> None:
        """Add messages that were handed to a client."""
        if messages <= 0:
            return
        minute_ns = self._now() // NS_PER_MINUTE * NS_PER_MINUTE
        key = (minute_ns, principal.client_id, principal.type, series)
        self._counts[key] = self._counts.get(key, 0) + messages
        if len(self._counts) > self._max_rows:
            self._counts = by_day(self._counts)

    def note_session(self, session: SessionRow) -> None:
        """Keep the state of a session: its begin, or its end."""
        self._sessions[session.session_id] = session

    def note_key_used(self, key_id: str, at_ns: int) -> None:
        self._keys_used[key_id] = at_ns

    async def begin(self) -> None:
        """Begin a run: end the sessions that a killed one has left. Raises DatabaseDown."""
        async with self._writing:
            await self._begin()

    async def _begin(self) -> int:
        if self._run_id is None:
            at_ns = self._now()
            self._run_id = await self._database.write(lambda connection: begin_run(connection, at_ns))
        return self._run_id

    async def flush(self) -> None:
        """Write everything that was counted before the call. Raises DatabaseDown; then nothing is forgotten."""
        async with self._writing:
            try:
                await self._write_all()
            except DatabaseDown:
                self.is_written = False
                metrics.USAGE_UNWRITTEN.set(self.unwritten())
                raise

    async def _write_all(self) -> None:
        run_id = await self._begin()
        if self._batch is not None:  # its write failed, or nobody heard of its end
            await self._write(run_id, self._batch)
        if self._has_news():
            self._batch = self._take()
            await self._write(run_id, self._batch)

    async def _write(self, run_id: int, batch: Batch) -> None:
        await self._database.write(lambda connection: write_batch(connection, run_id, batch))
        self._batch, self.is_written = None, True
        self._written_s = trio.current_time()
        metrics.USAGE_UNWRITTEN.set(len(self._counts))

    def _has_news(self) -> bool:
        """Tell whether there is something to write, were it only that this run still lives."""
        is_due = trio.current_time() - self._written_s >= ALIVE_S
        return bool(self._counts or self._sessions or self._keys_used) or is_due

    def _take(self) -> Batch:
        """Move what was counted into a batch; no await, so nothing is counted in between."""
        self._batches += 1
        batch = Batch(
            self._batches,
            self._now(),
            tuple(_rows(self._counts)),
            tuple(self._sessions.values()),
            tuple(self._keys_used.items()),
        )
        _count_delivered(self._counts)
        self._counts, self._sessions, self._keys_used = {}, {}, {}
        return batch

    def unwritten(self) -> int:
        """Return how many counters wait."""
        return len(self._counts) + (0 if self._batch is None else len(self._batch.usage))


def by_day(counts: Counts) -> Counts:
    """Add up the minutes of each day."""
    added: Counts = {}
    for (minute_ns, client_id, display_type, series), messages in counts.items():
        key = (minute_ns // DAY_NS * DAY_NS, client_id, display_type, series)
        added[key] = added.get(key, 0) + messages
    return added


def _rows(counts: Counts) -> Iterable[UsageRow]:
    for (minute_ns, client_id, display_type, series), messages in counts.items():
        yield UsageRow(minute_ns, client_id, display_type, series.feed, series.symbol, series.type, messages)


def _count_delivered(counts: Counts) -> None:
    """Bring the metric up to date: here, because a labelled counter costs more than a whole `count`."""
    for (_, client_id, _, _), messages in counts.items():
        metrics.MESSAGES_DELIVERED.labels(client_id).inc(messages)


class AuditWriter:
    """Writes the log again and again. A database that is away is waited for here: live sessions go on meanwhile."""

    def __init__(self, audit: AuditLog, every_s: float = FLUSH_S, on_flush: Callable[[], None] = lambda: None) -> None:
        self._audit = audit
        self._every_s = every_s
        self._on_flush = on_flush
        self._draining = trio.Event()
        self._is_down = False
        self._log = get_logger(actor="audit-writer")

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until drained, and then the rest."""
        task_status.started()
        while not self._draining.is_set():
            with trio.move_on_after(self._every_s):
                await self._draining.wait()
            await self._flush()
        if not self._audit.is_written:
            self._log.error(
                "usage_lost", rows=self._audit.unwritten(), why="the database could not be written at the end"
            )

    def drain(self) -> None:
        self._draining.set()

    async def _flush(self) -> None:
        try:
            await self._audit.flush()
        except DatabaseDown as error:
            if not self._is_down:
                self._log.error("usage_not_written", error=str(error), rows=self._audit.unwritten())
            self._is_down = True
            return
        if self._is_down:
            self._log.info("usage_written_again")
        self._is_down = False
        self._on_flush()
