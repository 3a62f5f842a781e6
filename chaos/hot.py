"""Change what a running system captures, again and again: nothing restarts, nothing reconnects, no other frame is lost."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import trio
from msgspec import Struct

from chaos.check import Verdict, gaps_of, manifests_of, raw_of
from chaos.faults import RECONNECTS
from chaos.kills import LATE_S, finish
from chaos.ledger import read_ledger
from chaos.rig import CONNECTOR, NAMES, Rig, running
from chaos.rows import Row, Stopwatch
from chaos.targets import HotChange
from ssmd.clock import NS_PER_S, now_ns
from ssmd.records import Configured, Record
from ssmd.simulator.pairs import listed_pairs
from ssmd.store.objects import local_store

FEED = "kraken"
AFTER = re.compile(r"runs revision \d+ after (\d+\.\d+) s")


class Change(Struct, frozen=True):
    """One command. took_s: from typing it to its end. ran_s: the part of it behind the put, until every connector runs it.

    put_ns: when the live copy was put, by these two.
    """

    added: tuple[str, ...]
    put_ns: int
    took_s: float
    ran_s: float


class Roster:
    """Which names are captured. In rotation over a pool, so that names come back; the first ones always stay."""

    def __init__(self, pool: Sequence[str], most: int) -> None:
        self._pool = list(pool)
        self._most = most
        self._guests: list[str] = []

    def turn(self, add: int, remove: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what to add and what to remove: as many as are added when there would be too many."""
        added = tuple(self._pool[:add])
        is_full = len(NAMES) + len(self._guests) + add - remove > self._most
        gone = tuple(self._guests[: add if is_full else remove])
        self._pool = [*self._pool[add:], *gone]
        self._guests = [*self._guests[len(gone) :], *added]
        return added, gone

    def symbols(self) -> set[str]:
        return {name.replace("/", "") for name in (*NAMES, *self._guests)}


async def change_hot(row: Row, folder: Path, target: HotChange) -> None:
    """Change the symbols as often as the target says, drain, and check everything."""
    random, watch = Random(row.seed), Stopwatch()
    pool = [name for name in listed_pairs(()) if name not in NAMES]
    roster = Roster(random.sample(pool, target.pool), target.most_symbols)
    async with running(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig:
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        before = processes(rig)
        changes: list[Change] = []
        for _ in range(target.changes):
            await trio.sleep(random.uniform(*target.pauses_s))
            changes += await _change(rig, *roster.turn(target.add, target.remove))
        row.note(changes=target.changes, commands=len(changes), symbols=len(roster.symbols()))
        row.note(rss_mb=rig.rss_mb(CONNECTOR))
        row.at_most("reconnects", await rig.total(CONNECTOR, RECONNECTS), 0)
        if (after := processes(rig)) != before:
            row.missed.append(f"processes are no longer the same: {before} became {after}")
        await finish(row, rig, target)
        await _judge(row, rig, changes, target)
        await _judge_gaps(row, rig, roster, target)
    row.duration_s = watch.elapsed_s


async def _change(rig: Rig, added: tuple[str, ...], gone: tuple[str, ...]) -> list[Change]:
    """Add and remove as an operator does: one command each, which ends when the connector runs it."""
    changes = [await _command(rig, "add", added, "--depth", "l2")]
    if gone:
        changes.append(await _command(rig, "remove", gone, "--yes"))
    return changes


async def _command(rig: Rig, verb: str, names: tuple[str, ...], *more: str) -> Change:
    place = ("--env", str(rig.environment), "--data-dir", str(rig.data_dir), "--wait")
    watch = Stopwatch()
    argv = (sys.executable, "-m", "ssmd", "feed", verb, FEED, *names, *more, *place)
    done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
    said, ended_ns, took_s = done.stderr.decode(), now_ns(), watch.elapsed_s
    assert done.returncode == 0, said
    ran_s = float(AFTER.findall(said)[0])
    return Change(names if verb == "add" else (), ended_ns - int(ran_s * NS_PER_S), took_s, ran_s)


def processes(rig: Rig) -> dict[str, tuple[int, int]]:
    """Return each role's process id and start time."""
    return {role: (pid, started(pid)) for role, pid in rig.pids().items()}


def started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])


# what came of it ---------------------------------------------------------------------------------------------


async def _judge(row: Row, rig: Rig, changes: Sequence[Change], target: HotChange) -> None:
    """Judge by what outsiders see: raw data, and the exchange's ledger."""
    store = local_store(rig.data_dir)
    records = await raw_of(store, FEED, Verdict())
    row.at_most("connections_kept", len({record.conn for record in records}), 1)
    row.at_most("connections_served", len({line.conn for line in read_ledger(rig.ledger)}), 1)
    revisions = [record.note.config.revision for record in records if isinstance(record.note, Configured)]
    row.at_least("revisions_noted", len(set(revisions)), len(changes))
    row.note(command_s=marks([change.took_s for change in changes]))  # with the start of a process
    _spread(row, "put_to_running_s", [change.ran_s for change in changes], target)
    _spread(row, "put_to_first_frame_s", first_frames_s(records, changes), target)


async def _judge_gaps(row: Row, rig: Rig, roster: Roster, target: HotChange) -> None:
    """Only the end of the run is a gap, and only of what was captured at the end."""
    gaps = gaps_of(await manifests_of(local_store(rig.data_dir), FEED, Verdict()))
    by_changes = [gap for gap in gaps if gap.reason != "drain"]
    row.at_most("gaps_by_changes", len(by_changes), target.gaps)
    row.missed += [f"a change left {gap}" for gap in by_changes[:3]]
    ended = {symbol for gap in gaps if gap.reason == "drain" for symbol in gap.symbols}
    if strangers := ended - roster.symbols():
        row.missed.append(f"in the gap at the end although no longer wanted: {sorted(strangers)}")


def first_frames_s(records: Sequence[Record], changes: Sequence[Change]) -> list[float]:
    """Return for each added symbol the seconds from its change to its first frame of market data."""
    times_s = []
    for change in changes:
        later = [record for record in records if record.recv_ns >= change.put_ns and is_market_data(record)]
        for name in change.added:
            first = next(record for record in later if f'"{name}"' in (record.frame or ""))
            times_s.append((first.recv_ns - change.put_ns) / NS_PER_S)
    return times_s


def is_market_data(record: Record) -> bool:
    return record.frame is not None and record.frame.startswith('{"channel":')


def _spread(row: Row, name: str, values: Sequence[float], target: HotChange) -> None:
    """Note how the values lie, and judge the largest."""
    row.note(**{name: marks(values)})
    row.at_most(f"{name}_max", max(values), target.effective_within_s)


def marks(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    shares = {"min": 0.0, "p50": 0.5, "p90": 0.9, "max": 1.0}
    return {mark: round(ordered[int(share * (len(ordered) - 1))], 3) for mark, share in shares.items()}
