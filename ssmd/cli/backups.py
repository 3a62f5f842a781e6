"""What `ssmd backup list` does, and what backing up and restoring have in common."""

from pathlib import Path

from msgspec import Struct

from ssmd import settings
from ssmd.backup.inventory import Owner, Reach, owner_of, read_run, run_ids
from ssmd.cli.options import Format
from ssmd.cli.output import say, show_rows
from ssmd.cli.progress import Progress
from ssmd.cli.reprocessing import rfc3339
from ssmd.errors import BadRecord, ConfigError
from ssmd.records import FeedConfig
from ssmd.reprocess.run import Plan
from ssmd.trees.backups import Place, backup_place

ENVIRONMENTS = "environments/"
LIVE = "live/"
GATEWAY = "gateway/"


class LiveConfig(Struct, frozen=True):
    """What ran when a backup was made. config: None where it could not be used, and problem says why."""

    feed: str
    revision: int
    config: FeedConfig | None
    problem: str = ""


class FeedTimes(Struct, frozen=True):
    """First and last whole minutes as they are printed; empty: none, or not known."""

    feed: str
    first: str
    raw_through: str
    complete_through: str

    @classmethod
    def of(cls, reach: Reach) -> "FeedTimes":
        return cls(reach.feed, *map(_minute, (reach.first_minute, reach.raw_through, reach.complete_through)))

    def words(self) -> str:
        if not self.raw_through:
            return f"{self.feed}: no raw data yet"
        if not self.complete_through:
            return f"{self.feed}: raw data {self.first} to {self.raw_through}; not known to be complete"
        return f"{self.feed}: {self.first} to {self.raw_through}, complete through {self.complete_through}"


class BackupRow(Struct, frozen=True):
    id: str
    ended: str
    environment: str
    complete_through: tuple[str, ...]
    objects: int
    bytes: int
    copied: int
    problems: int


class Copying:
    """Shows the progress of copies; implements `ssmd.backup.backing_up.Watcher`."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar

    @property
    def stops(self) -> bool:
        return self._bar.stops

    def planned(self, objects: int, size_bytes: int) -> None:
        self._bar.planned(Plan(objects, 0, size_bytes, 1))

    def advanced(self, size_bytes: int) -> None:
        self._bar.advanced(1, size_bytes, size_bytes)


async def list_backups(address: str, config: Path | None, output: Format) -> int:
    place = backup_place(address, settings.load(config))
    await need_owner(place, address)
    rows = []
    for run_id in await run_ids(place):
        try:
            run = await read_run(place, run_id)
        except BadRecord as error:
            say(f"! {error}")
            continue
        through = tuple(f"{reach.feed}:{_minute(reach.complete_through) or 'unknown'}" for reach in run.feeds)
        rows.append(
            BackupRow(
                run.id,
                rfc3339(run.ended_ns),
                run.environment,
                through,
                run.objects,
                run.size_bytes,
                run.copied,
                run.problem_count,
            )
        )
    show_rows(rows, output, "no backup has been finished here yet")
    return 0


async def need_owner(place: Place, address: str) -> Owner:
    owner = await owner_of(place)
    if owner is None:
        raise ConfigError(f"there is no backup in {address}; `ssmd backup --to {address}` makes one")
    return owner


def _minute(at_ns: int | None) -> str:
    """Return a whole minute as `ssmd verify` takes it."""
    return "" if at_ns is None else rfc3339(at_ns).removesuffix(":00Z") + "Z"
