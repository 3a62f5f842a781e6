"""What an environment needs beside the stream and the live configuration before anything is captured: its buckets."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from ssmd.log import get_logger
from ssmd.store.s3 import BucketStore
from ssmd.supervisor import Backoff, ChildSpec, ChildState, HealthBoard
from ssmd.trees.role_spec import RoleSpec
from ssmd.trees.storage import bucket_stores

BACKOFF: Final = Backoff(first_s=0.5, cap_s=5.0)
"""Short: a store that has just started may not know its key yet, and bootstrapping ends after a minute."""


class BucketMaker:
    """Finishes when the bucket is there and the key may write, read and delete in it. Repeating it changes nothing.

    Raises StoreDown, or StoreRefused with the bucket's name and what to do.
    """

    def __init__(self, name: str, store: BucketStore) -> None:
        self._name = name
        self._store = store

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await self._store.probe()
        get_logger(actor="bucket-maker").info("bucket_ready", bucket=self._name)

    def drain(self) -> None:
        """Nothing to do: it ends by itself, or with its deadline."""


def bucket_makers(spec: RoleSpec) -> Sequence[ChildSpec]:
    """Return a child for each bucket of the environment; none where a directory is the store. Raises ConfigError."""
    if not spec.settings.storage.endpoint:
        return ()
    stores = bucket_stores(spec.environment, spec.settings)
    return [ChildSpec(f"bucket-{name}", partial(BucketMaker, name, store), BACKOFF) for name, store in stores.items()]


def all_done(board: HealthBoard) -> bool:
    """Tell whether every child has finished; log each that has not, with its last error."""
    unfinished = [child for child in board.snapshot() if child.state is not ChildState.FINISHED]
    for child in unfinished:
        get_logger(actor=child.path).error("bootstrap_missing", error=child.error)
    return not unfinished
