"""Send what the normalizer handed over, move the cursor once the bus has it."""

from collections.abc import Iterator, Sequence
from typing import Final

import trio

from ssmd import metrics
from ssmd.actors.pipeline import Batch
from ssmd.bus.base import Bus, BusDialer, Outgoing, StreamSpec
from ssmd.clock import NS_PER_S, NowNs, now_ns
from ssmd.errors import MailboxClosed
from ssmd.journal import Checkpoints, Cursor
from ssmd.supervisor import HealthBoard, Mailbox

LEASE_BATCHES: Final = 64
PUBLISH_LIMIT: Final = 1024
SAVE_EVERY_S: Final = 0.5


class PublisherLinks:
    def __init__(self, outbox: Mailbox[Batch], cursor: Cursor, checkpoints: Checkpoints, board: HealthBoard) -> None:
        self.outbox = outbox
        self.cursor = cursor
        self.checkpoints = checkpoints
        self.board = board
        self.waiting_since_ns: int | None = None
        """Receive time of the oldest record that waits for the bus; kept here so that an outage cannot hide it."""


class Publisher:
    """A crash or an outage in mid-batch sends the batch again with the same identities: the bus keeps each once."""

    def __init__(
        self, label: str, dialer: BusDialer, stream: StreamSpec, links: PublisherLinks, now: NowNs = now_ns
    ) -> None:
        self._dialer = dialer
        self._stream = stream
        self._links = links
        self._now = now
        self._saved_s = 0.0
        self._duplicates = metrics.PUBLISH_DUPLICATES.labels(label)
        self._published = metrics.EVENTS_PUBLISHED.labels(label)
        self._lag = metrics.CONNECTOR_LAG.labels(label)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Publish until the outbox is closed and empty. Raises BusDown, an outage, with the cursor where it was."""
        task_status.started()
        check = self._links.board.check("nats")
        self._show_waiting()
        try:
            async with self._dialer.connect() as bus:
                await bus.ensure_stream(self._stream)
                check.ok()
                await self._follow(bus)
        finally:
            check.fail("not connected")
            self._links.cursor.save()

    def drain(self) -> None:
        """Nothing to do: the normalizer closes the outbox behind its last batch."""

    def _show_waiting(self) -> None:
        """Let the lag rise from attempt to attempt: while the bus is away nobody comes to publish anything."""
        links = self._links
        if links.waiting_since_ns is None and links.outbox.statistics().used:
            links.waiting_since_ns = self._now()
        if links.waiting_since_ns is not None:
            self._lag.set((self._now() - links.waiting_since_ns) / NS_PER_S)

    async def _follow(self, bus: Bus) -> None:
        while True:
            try:
                async with self._links.outbox.lease(LEASE_BATCHES) as batches:
                    await self._publish(bus, batches)
            except MailboxClosed:
                return

    async def _publish(self, bus: Bus, batches: Sequence[Batch]) -> None:
        self._links.waiting_since_ns = batches[0].oldest_ns
        self._show_waiting()
        for chunk, received_ns in _chunks(batches):
            done = await bus.publish(chunk)
            self._published.inc(done.stored)
            self._duplicates.inc(done.duplicates)
            self._observe(received_ns)
        self._links.waiting_since_ns = None
        self._links.cursor.advance(batches[-1].position)
        self._lag.set((self._now() - batches[-1].oldest_ns) / NS_PER_S)
        self._save_cursor()

    def _observe(self, received_ns: Sequence[int]) -> None:
        now = self._now()
        for recv_ns in received_ns:
            metrics.RECEIVE_TO_ACK.observe((now - recv_ns) / NS_PER_S)

    def _save_cursor(self) -> None:
        now_s = trio.current_time()
        if now_s - self._saved_s >= SAVE_EVERY_S:
            self._saved_s = now_s
            self._links.cursor.save()
            position = self._links.cursor.position
            if position is not None:
                self._links.checkpoints.prune(position.segment)


def _chunks(batches: Sequence[Batch]) -> Iterator[tuple[Sequence[Outgoing], Sequence[int]]]:
    messages = [message for batch in batches for message in batch.messages]
    received_ns = [recv_ns for batch in batches for recv_ns in batch.received_ns]
    for start in range(0, len(messages), PUBLISH_LIMIT):
        end = start + PUBLISH_LIMIT
        yield messages[start:end], received_ns[start:end]
