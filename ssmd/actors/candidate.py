"""Run a candidate normalizer beside the primary one for as long as the configuration names one."""

from collections.abc import Callable
from typing import Final

import trio

from ssmd import metrics
from ssmd.errors import CandidateDown
from ssmd.log import get_logger
from ssmd.records import FeedConfig
from ssmd.supervisor import Actor, Cell
from ssmd.supervisor.process import ProcessFailed

DRAIN_WITHIN_S: Final = 8.0
"""Then it is ended: a candidate that hangs must not keep its connector from ending."""


class CandidateKeeper:
    """One process per candidate: it may crash, hang or eat memory, and the connector only notes that it is down.

    The key is hot: another version ends the process and starts that one, none ends it.
    """

    def __init__(self, feed: str, config: Cell[FeedConfig], start: Callable[[str], Actor]) -> None:
        """start: make the process of a version, not yet running."""
        self._feed = feed
        self._config = config
        self._start = start
        self._log = get_logger(feed=feed, actor="candidate")
        self._draining = False
        self._stop: Callable[[], None] | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep it running until drained. Raises CandidateDown, an outage, when it ends by itself."""
        task_status.started()
        while not self._draining:
            version = self._config.get().candidate_normalizer
            if version:
                await self._keep(version)
            else:
                metrics.CANDIDATE_CURSOR_AGE.labels(self._feed).set_function(lambda: 0.0)  # nobody is to get on
                await self._wait_other(version)

    def drain(self) -> None:
        self._draining = True
        if self._stop is not None:
            self._stop()

    async def _wait_other(self, version: str) -> None:
        """Wait until the configuration says something else, or until drained."""
        with trio.CancelScope() as waiting:
            self._stop = waiting.cancel
            await self._other(version)

    async def _other(self, version: str) -> None:
        seen = await self._config.wait_newer(0)
        while seen.value.candidate_normalizer == version:
            seen = await self._config.wait_newer(seen.version)

    async def _keep(self, version: str) -> None:
        process, life = self._start(version), trio.CancelScope()
        failed: ProcessFailed | None = None

        def stop() -> None:
            process.drain()
            life.deadline = trio.current_time() + DRAIN_WITHIN_S

        async def stop_when_other() -> None:
            await self._other(version)
            stop()

        self._stop = stop
        self._log.info("candidate_starting", version=version)
        metrics.CANDIDATE_UP.labels(self._feed, version).set(1)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stop_when_other)
                with life:
                    try:
                        await process.run()
                    except ProcessFailed as error:
                        failed = error
                nursery.cancel_scope.cancel()
        finally:
            metrics.CANDIDATE_UP.labels(self._feed, version).set(0)
        if failed is not None:
            raise CandidateDown(f"candidate {version} of {self._feed}: {failed}") from failed
        self._log.info("candidate_ended", version=version)
