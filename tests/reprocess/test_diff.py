import os
import signal
from functools import partial

import msgspec
import pytest
import trio
from msgspec.structs import replace

from ssmd.cli import reprocessing
from ssmd.cli.progress import Progress
from ssmd.codec import blocks, marketdata
from ssmd.errors import ConfigError
from ssmd.model import Quote
from ssmd.reprocess.day_diff import Wanted, merge
from ssmd.reprocess.diff import compare_versions
from ssmd.reprocess.processes import WorkerLost
from ssmd.store.keys import NormalizedKey
from ssmd.store.memory import MemoryStore
from ssmd.store.objects import local_store
from tests.cli.commands import until
from tests.reprocess.world import FEED, START_NS

MINUTE_NS = 60 * 10**9


def quote(seq: int, bid: str = "100.5", symbol: str = "BTCUSD") -> Quote:
    return Quote(FEED, symbol, START_NS + seq, "c-0-1", seq, 0, START_NS, bid, "1.5", "101.5", "2.5")


async def put(store: MemoryStore, version: str, *quotes: Quote, minute: int = 0, part: int = 0) -> None:
    key = NormalizedKey(version, FEED, "quote", quotes[0].symbol, START_NS + minute * MINUTE_NS, part)
    await store.create(key.key, blocks.compress(b"".join(map(marketdata.encode, quotes))))


def wanted(**more) -> Wanted:
    return replace(Wanted(FEED, "v1", "v2", START_NS, START_NS + 10 * MINUTE_NS), **more)


def test_merge_tells_added_removed_and_changed_apart():
    old = [marketdata.encode(quote(seq)) for seq in (1, 2, 3, 5)]
    new = [marketdata.encode(each) for each in (quote(2), quote(3, "99.5"), quote(4), quote(6))]
    found = [(kind, (was or now).seq) for kind, was, now in merge("quote", old, new)]
    assert found == [("removed", 1), ("changed", 3), ("added", 4), ("removed", 5), ("added", 6)]


async def test_counts_and_samples_name_what_differs(autojump_clock):
    store = MemoryStore()
    await put(store, "v1", quote(1), quote(2), quote(3))
    await put(store, "v2", quote(1), quote(2, "99.25"), quote(4))
    found = await compare_versions(lambda: store, wanted(sample=1))
    (series,) = found.series
    assert (series.old, series.new, series.added, series.removed, series.changed) == (3, 3, 1, 1, 1)
    assert series.fields == {"bid_price": 1}
    changed = next(each for each in found.samples if each.kind == "changed")
    assert [(f.name, f.old, f.new) for f in changed.fields] == [("bid_price", "100.5", "99.25")]
    assert changed.id == "kraken/c-0-1/2/0"
    assert not found.is_equal


async def test_parts_together_equal_the_whole(autojump_clock):
    store = MemoryStore()
    await put(store, "v1", quote(1), quote(3))
    await put(store, "v1", quote(2), part=1)
    await put(store, "v2", quote(1), quote(2), quote(3))
    found = await compare_versions(lambda: store, wanted())
    assert found.is_equal
    assert (found.events_from, found.identical_minutes) == (3, 0)


async def test_a_minute_that_only_one_version_has_counts_whole(autojump_clock):
    store = MemoryStore()
    await put(store, "v1", quote(1))
    await put(store, "v2", quote(1))
    await put(store, "v2", quote(2), quote(3), minute=4)
    await put(store, "v2", quote(9), minute=11)  # outside
    found = await compare_versions(lambda: store, wanted())
    assert (found.added, found.removed, found.events_to) == (2, 0, 3)


async def test_symbols_are_chosen_by_a_glob(autojump_clock):
    store = MemoryStore()
    for symbol in ("BTCUSD", "ETHUSD"):
        await put(store, "v1", quote(1, symbol=symbol))
        await put(store, "v2", quote(1, "1.5", symbol=symbol))
    found = await compare_versions(lambda: store, wanted(symbols="ETH*"))
    assert [series.symbol for series in found.series] == ["ETHUSD"]


async def test_a_damaged_object_is_a_problem_and_no_equality(autojump_clock):
    store = MemoryStore()
    await put(store, "v1", quote(1))
    await put(store, "v2", quote(1), quote(2))
    key = next(key for key in store.objects if "/v2/" in key)
    store.objects[key] = store.objects[key][:-4]
    found = await compare_versions(lambda: store, wanted())
    assert [problem.kind for problem in found.problems] == ["unreadable"]
    assert not found.is_equal


async def test_a_version_that_holds_nothing_is_a_mistake_not_a_difference(autojump_clock):
    store = MemoryStore()
    await put(store, "v1", quote(1))
    with pytest.raises(ConfigError, match="nothing of feed kraken in version v2"):
        await compare_versions(lambda: store, wanted())


# several processes

DAYS = 3
SPAN = wanted(start_ns=START_NS - 2 * 60 * MINUTE_NS, end_ns=START_NS + DAYS * 24 * 60 * MINUTE_NS, sample=2)


async def some_days(store) -> None:
    """Two series of some days; in each some minutes are equal, and others hold added, removed and changed events."""
    for day in range(DAYS):
        for symbol in ("BTCUSD", "ETHUSD"):
            for minute in range(4):
                at, seq = 24 * 60 * day + minute, 100 * day + 10 * minute
                same = [quote(seq + n, symbol=symbol) for n in range(3)]
                other = [*same[:1], quote(seq + 1, f"{day}.5", symbol), quote(seq + 5, symbol=symbol)]
                await put(store, "v1", *same, minute=at)
                await put(store, "v2", *(other if minute % 2 else same), minute=at)


async def test_the_report_does_not_depend_on_who_ends_first(monkeypatch, autojump_clock):
    """Mutant: put the report together in the order in which the days are done."""
    store = MemoryStore()
    await some_days(store)
    alone = await compare_versions(lambda: store, SPAN)
    assert (alone.added, alone.removed, alone.changed, len(alone.samples)) == (12, 12, 12, 12)

    def in_tasks(_open_store, parallel, run):
        delays_s = iter(range(100, 0, -7))

        async def work(day):
            await trio.sleep(next(delays_s))
            return await run(store, day)

        return work

    monkeypatch.setattr("ssmd.reprocess.diff.in_processes", in_tasks)
    for parallel in (2, 3, 8):
        together = await compare_versions(lambda: store, SPAN, parallel=parallel)
        assert msgspec.json.encode(together) == msgspec.json.encode(alone)


@pytest.mark.slow
async def test_processes_give_the_same_bytes_as_one(tmp_path):
    await some_days(local_store(tmp_path))
    reports = set()
    for parallel in (1, 2, 3):
        with trio.fail_after(60):
            found = await compare_versions(partial(local_store, tmp_path), SPAN, parallel=parallel)
        reports.add(msgspec.json.encode(found))
    assert len(reports) == 1


def _opened_here_only(folder, parent: int, then: str):
    """Open the store in the first process; a worker says that it is there, then dies or waits for ever."""
    if os.getpid() != parent:
        (folder / f"worker-{os.getpid()}").touch()
        if then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
    return local_store(folder)


@pytest.mark.slow
async def test_a_killed_worker_is_an_error_and_no_report(tmp_path):
    await some_days(local_store(tmp_path))
    with trio.fail_after(60), pytest.raises(ExceptionGroup) as raised:
        await compare_versions(partial(_opened_here_only, tmp_path, os.getpid(), "die"), SPAN, parallel=2)
    assert raised.value.split(WorkerLost)[1] is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_at_once_and_leaves_no_process(tmp_path, number):
    await some_days(local_store(tmp_path))
    open_store = partial(_opened_here_only, tmp_path, os.getpid(), "wait")
    bar = Progress("diff")
    found: list[object] = []

    async def compare() -> None:
        found.append(await reprocessing._whole_or_nothing(SPAN, open_store, 2, bar))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(compare)
            await until(lambda: len(list(tmp_path.glob("worker-*"))) == 2, "both workers are at work")
            signal.raise_signal(number)
    assert (found, bar.stopped_by) == ([None], number)
    for path in tmp_path.glob("worker-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.partition("-")[2]), 0)
