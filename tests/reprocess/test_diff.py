import pytest
from msgspec.structs import replace

from ssmd.codec import blocks, marketdata
from ssmd.errors import ConfigError
from ssmd.model import Quote
from ssmd.reprocess.diff import Wanted, compare_versions, merge
from ssmd.store.keys import NormalizedKey
from ssmd.store.memory import MemoryStore
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
    found = await compare_versions(store, wanted(sample=1))
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
    found = await compare_versions(store, wanted())
    assert found.is_equal
    assert (found.events_from, found.identical_minutes) == (3, 0)


async def test_a_minute_that_only_one_version_has_counts_whole(autojump_clock):
    store = MemoryStore()
    await put(store, "v1", quote(1))
    await put(store, "v2", quote(1))
    await put(store, "v2", quote(2), quote(3), minute=4)
    await put(store, "v2", quote(9), minute=11)  # outside
    found = await compare_versions(store, wanted())
    assert (found.added, found.removed, found.events_to) == (2, 0, 3)


async def test_symbols_are_chosen_by_a_glob(autojump_clock):
    store = MemoryStore()
    for symbol in ("BTCUSD", "ETHUSD"):
        await put(store, "v1", quote(1, symbol=symbol))
        await put(store, "v2", quote(1, "1.5", symbol=symbol))
    found = await compare_versions(store, wanted(symbols="ETH*"))
    assert [series.symbol for series in found.series] == ["ETHUSD"]


async def test_a_damaged_object_is_a_problem_and_no_equality(autojump_clock):
    store = MemoryStore()
    await put(store, "v1", quote(1))
    await put(store, "v2", quote(1), quote(2))
    key = next(key for key in store.objects if "/v2/" in key)
    store.objects[key] = store.objects[key][:-4]
    found = await compare_versions(store, wanted())
    assert [problem.kind for problem in found.problems] == ["unreadable"]
    assert not found.is_equal


async def test_a_version_that_holds_nothing_is_a_mistake_not_a_difference(autojump_clock):
    store = MemoryStore()
    await put(store, "v1", quote(1))
    with pytest.raises(ConfigError, match="nothing of feed kraken in version v2"):
        await compare_versions(store, wanted())
