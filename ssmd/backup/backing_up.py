"""One run of a backup. Its statement is written last: whatever ends it before, the next run goes on from what is there."""

from collections.abc import Sequence
from typing import Protocol

import trio
from msgspec import Struct

from ssmd import __version__
from ssmd.backup.completeness import reach_of
from ssmd.backup.copying import Copier
from ssmd.backup.inventory import (
    FORMAT,
    UNDATED,
    Entry,
    Owner,
    Part,
    Problem,
    Reach,
    Run,
    check_owner,
    claim,
    new_id,
    newest_run,
    owner_of,
    worst,
    write_part,
    write_run,
)
from ssmd.backup.parallel import in_parallel
from ssmd.backup.patient import PatientStore
from ssmd.backup.planning import DayPlan, Planner, Todo
from ssmd.backup.walk import walk
from ssmd.clock import NowNs, now_ns
from ssmd.store.base import ObjectMeta, Store


class Extra(Struct, frozen=True):
    """Something to keep that lies in no store: the environment file, the live configuration, the gateway's database."""

    key: str
    body: bytes


class Job(Struct, frozen=True):
    """What to back up. owner: whose it is. feeds: which, empty: all.

    live, gateway: what to say of the live configuration, and of the gateway's database.
    """

    owner: Owner
    feeds: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()
    live: str = ""
    gateway: str = ""
    is_dry: bool = False


class Watcher(Protocol):
    """Is told how it goes, and says when to stop."""

    def planned(self, objects: int, size_bytes: int) -> None: ...

    def advanced(self, size_bytes: int) -> None:
        """Take notice of one object that is done."""
        ...

    @property
    def stops(self) -> bool:
        """Whether to end after what is in hand."""
        ...


class Unwatched:
    stops = False

    def planned(self, objects: int, size_bytes: int) -> None:
        del objects, size_bytes

    def advanced(self, size_bytes: int) -> None:
        del size_bytes


class Planned(Struct):
    """What is to be copied, all days together."""

    objects: int = 0
    size_bytes: int = 0


class Outcome(Struct, frozen=True):
    """run: None when it was stopped or is a dry run. reaches, planned, copied: what holds in any case."""

    run: Run | None
    before: Run | None
    reaches: tuple[Reach, ...]
    planned: Planned
    copied: int
    copied_bytes: int
    gone: int
    problems: tuple[Problem, ...] = ()


async def back_up(
    job: Job, source: Store, place: Store, watcher: Watcher | None = None, now: NowNs = now_ns
) -> Outcome:
    """Copy what is new to a place. Raises StoreDown, and ConfigError for a place that holds somebody else's backups."""
    source, place = PatientStore(source), PatientStore(place)
    check_owner(await owner_of(place), job.owner)
    if not job.is_dry:
        await claim(place, job.owner)
    began_ns = now()
    before = await newest_run(place)
    walked = await walk(source, job.feeds)
    reaches = {feed: await reach_of(source, feed) for feed in sorted({*walked.feeds, *job.feeds})}
    if not job.feeds and before is not None:  # a feed that the source has lost altogether is not one left out
        reaches = {each.feed: Reach(each.feed) for each in before.feeds} | reaches
    work = _Work(job, Planner(source, place, before, reaches), Copier(source, place), watcher or Unwatched())
    await work.plan(walked.days)
    is_over = not job.is_dry and await work.run(place)
    found = tuple(reaches.values())
    run = work.statement(found, before, (began_ns, now())) if is_over else None
    if run is not None:
        await write_run(place, run)
    return work.outcome(run, before, found)


class _Work:
    def __init__(self, job: Job, planner: Planner, copier: Copier, watcher: Watcher) -> None:
        self._job = job
        self._planner = planner
        self._copier = copier
        self._watcher = watcher
        self._days: dict[str, Sequence[str]] = {}
        self._planned = Planned()
        self._gone = 0
        self._parts: list[Part] = []

    def _stops(self) -> bool:
        return self._watcher.stops

    async def plan(self, days: "dict[str, list[str]]") -> None:
        """Count what there is to do. The names are forgotten again: a month has a million of them."""
        for name in self._planner.names(days):
            if self._stops():
                return
            self._days[name] = days.get(name, ())
            plan = await self._planner.plan(name, self._days[name])
            self._planned.objects += len(plan.todo)
            self._planned.size_bytes += plan.todo_bytes
            self._gone += plan.gone
        self._watcher.planned(self._planned.objects, self._planned.size_bytes)

    async def run(self, place: Store) -> bool:
        """Copy day by day, and list each day when it is done. Return whether that came to its end."""
        for name, prefixes in self._days.items():
            if self._stops():
                return False
            plan = await self._planner.plan(name, prefixes)
            copied = await self._copy(plan)
            if name == UNDATED:
                copied += await self._copy_extras()
            if self._stops():
                return False  # the day may not be done
            entries = [*plan.keeps, *copied]
            if entries:
                self._parts.append(await write_part(place, name, entries))
        return not self._stops()

    async def _copy(self, plan: DayPlan) -> list[Entry]:
        done: list[Entry] = []

        async def copy(todo: Todo) -> None:
            if self._stops():
                return
            entry = await self._copier.copy(todo)
            if entry is not None:
                done.append(entry)
            self._watcher.advanced(todo.meta.size_bytes)

        await in_parallel(plan.todo, copy)
        await trio.lowlevel.checkpoint()
        return done

    async def _copy_extras(self) -> list[Entry]:
        known = await self._planner.extras()
        return [
            await self._copier.store(
                extra.key,
                extra.body,
                Todo(ObjectMeta(extra.key, len(extra.body)), known.get(extra.key), is_there=False),
            )
            for extra in self._job.extras
        ]

    # what came of it -----------------------------------------------------------------------------------------

    def statement(self, reaches: tuple[Reach, ...], before: Run | None, times_ns: tuple[int, int]) -> Run:
        asked = {reach.feed for reach in reaches}
        others = [reach for reach in before.feeds if reach.feed not in asked] if before is not None else []
        owner, copier = self._job.owner, self._copier
        return Run(
            format=FORMAT,
            id=new_id(times_ns[0]),
            environment=owner.environment,
            source=owner.source,
            release=__version__,
            began_ns=times_ns[0],
            ended_ns=times_ns[1],
            objects=sum(part.objects for part in self._parts),
            size_bytes=sum(part.size_bytes for part in self._parts),
            copied=copier.copied,
            copied_bytes=copier.copied_bytes,
            gone=self._gone,
            live=self._job.live,
            feeds=tuple(sorted((*reaches, *others), key=lambda reach: reach.feed)),
            parts=tuple(self._parts),
            problem_count=len(copier.problems),
            problems=worst(copier.problems),
        )

    def outcome(self, run: Run | None, before: Run | None, reaches: tuple[Reach, ...]) -> Outcome:
        copier = self._copier
        return Outcome(
            run,
            before,
            reaches,
            self._planned,
            copier.copied,
            copier.copied_bytes,
            self._gone,
            tuple(sorted(copier.problems)),
        )
