"""Change what a running system captures, again and again: nothing restarts, nothing reconnects, no other frame is lost."""

from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from chaos.check import Verdict, gaps_of, manifests_of, raw_of
from chaos.faults import RECONNECTS
from chaos.kills import LATE_S, finish
from chaos.ledger import read_ledger
from chaos.rig import CONNECTOR, NAMES, Rig, running
from chaos.rows import Row, Stopwatch
from chaos.targets import HotChange
from ssmd.clock import NS_PER_S, now_ns
from ssmd.records import Configured, Record, SymbolSpec
from ssmd.simulator.pairs import listed_pairs
from ssmd.store.objects import local_store
from ssmd.trees import Endpoints, LiveLink, live_link

ENVIRONMENT, FEED = "chaos", "kraken"


class Change(Struct, frozen=True):
    """One change. put_ns: just before it was made. ran_s: from then until the connector said that it runs it."""

    added: tuple[str, ...]
    put_ns: int
    ran_s: float


class Roster:
    """Which names are captured. In rotation over a pool, so that names come back; the first ones always stay."""

    def __init__(self, pool: Sequence[str], most: int) -> None:
        self._pool = list(pool)
        self._most = most
        self._guests: list[str] = []

    def turn(self, add: int, remove: int) -> tuple[str, ...]:
        """Add so many and remove so many, or as many as are added when there would be too many; return the added."""
        added = tuple(self._pool[:add])
        is_full = len(NAMES) + len(self._guests) + add - remove > self._most
        gone = self._guests[: add if is_full else remove]
        self._pool = [*self._pool[add:], *gone]
        self._guests = [*self._guests[len(gone) :], *added]
        return added

    def symbols(self) -> tuple[SymbolSpec, ...]:
        return tuple(SymbolSpec(name, name.replace("/", ""), "l2") for name in (*NAMES, *self._guests))


async def change_hot(row: Row, folder: Path, target: HotChange) -> None:
    """Change the symbols as often as the target says, drain, and check everything."""
    random, watch = Random(row.seed), Stopwatch()
    pool = [name for name in listed_pairs(()) if name not in NAMES]
    roster = Roster(random.sample(pool, target.pool), target.most_symbols)
    async with running(folder, f"--rate {target.rate_per_s} --seed {row.seed}") as rig:
        await rig.until_publishing(trio.current_time(), 0, LATE_S)
        before = processes(rig)
        async with live_link(nats_url(rig)) as link:
            changes = [await _change(link, roster, random, target) for _ in range(target.changes)]
        row.note(changes=len(changes), symbols=len(roster.symbols()), rss_mb=rig.rss_mb(CONNECTOR))
        row.at_most("reconnects", await rig.total(CONNECTOR, RECONNECTS), 0)
        if (after := processes(rig)) != before:
            row.missed.append(f"processes are no longer the same: {before} became {after}")
        await finish(row, rig, target)
        await _judge(row, rig, changes, target)
        await _judge_gaps(row, rig, roster, target)
    row.duration_s = watch.elapsed_s


async def _change(link: LiveLink, roster: Roster, random: Random, target: HotChange) -> Change:
    await trio.sleep(random.uniform(*target.pauses_s))
    added = roster.turn(target.add, target.remove)
    watch, put_ns = Stopwatch(), now_ns()
    revision = await put(link, roster.symbols())
    ours = [name.replace("/", "") for name in added]
    answers = await link.wait(ENVIRONMENT, FEED, revision, ours, LATE_S)
    assert [answer.state for answer in answers] == ["running"], answers
    return Change(added, put_ns, watch.elapsed_s)


async def put(link: LiveLink, symbols: tuple[SymbolSpec, ...]) -> int:
    """Have the running system capture these symbols instead, and return the revision. The one place that knows how."""
    copy = await link.copy(ENVIRONMENT, FEED)
    assert copy.config is not None, copy.problem
    return await link.put(ENVIRONMENT, FEED, replace(copy.config, symbols=symbols), copy.revision)


def nats_url(rig: Rig) -> str:
    return msgspec.json.decode((rig.data_dir / "run/endpoints.json").read_bytes(), type=Endpoints).nats


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
    _spread(row, "put_to_running_s", [change.ran_s for change in changes], target)
    _spread(row, "put_to_first_frame_s", first_frames_s(records, changes), target)


async def _judge_gaps(row: Row, rig: Rig, roster: Roster, target: HotChange) -> None:
    """Only the end of the run is a gap, and only of what was captured at the end."""
    gaps = gaps_of(await manifests_of(local_store(rig.data_dir), FEED, Verdict()))
    by_changes = [gap for gap in gaps if gap.reason != "drain"]
    row.at_most("gaps_by_changes", len(by_changes), target.gaps)
    row.missed += [f"a change left {gap}" for gap in by_changes[:3]]
    ended = {symbol for gap in gaps if gap.reason == "drain" for symbol in gap.symbols}
    if strangers := ended - {spec.symbol for spec in roster.symbols()}:
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
    ordered = sorted(values)
    marks = {"min": 0.0, "p50": 0.5, "p90": 0.9}
    row.note(**{name: {mark: round(ordered[int(share * (len(ordered) - 1))], 3) for mark, share in marks.items()}})
    row.at_most(f"{name}_max", ordered[-1], target.effective_within_s)
