"""Whether the database and the store answer. What is asked often is asked here once for all."""

from collections.abc import Callable
from typing import Final

import trio

from ssmd.errors import StoreDown
from ssmd.store.base import Store
from ssmd.supervisor import HealthBoard

STORE_EVERY_S: Final = 10.0
STORE_WITHIN_S: Final = 5.0
DATABASE_EVERY_S: Final = 1.0
PROBED: Final = "normalized/"


class Readiness:
    """Reports `db` and `store` to the board until drained; whoever listens to the bus reports `nats`."""

    def __init__(self, board: HealthBoard, store: Store, database_trouble: Callable[[], str]) -> None:
        """database_trouble: what is wrong with the database now, nothing when it is well."""
        self._store_check = board.check("store")
        self._database_check = board.check("db")
        self._store = store
        self._database_trouble = database_trouble
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_database)
                nursery.start_soon(self._watch_store)

    def drain(self) -> None:
        self._scope.cancel()

    async def _watch_database(self) -> None:
        while True:
            if trouble := self._database_trouble():
                self._database_check.fail(trouble)
            else:
                self._database_check.ok()
            await trio.sleep(DATABASE_EVERY_S)

    async def _watch_store(self) -> None:
        while True:
            await self._probe_store()
            await trio.sleep(STORE_EVERY_S)

    async def _probe_store(self) -> None:
        try:
            with trio.fail_after(STORE_WITHIN_S):
                await self._store.folders(PROBED)
            self._store_check.ok()
        except StoreDown as error:
            self._store_check.fail(str(error))
        except trio.TooSlowError:
            self._store_check.fail(f"no answer within {STORE_WITHIN_S:g} s")
