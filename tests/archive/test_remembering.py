"""What may be remembered of a store, for how long, and what never."""

import pytest
import trio

from ssmd.archive import remembering as memory_of
from ssmd.archive.ledger import FeedLedger
from ssmd.archive.remembering import OLD_AGE_S, YOUNG_AGE_S, RememberingStore
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import StoreDown
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, QualityKey, RawKey, day_prefix, quality_prefix
from tests.gateway.history.far_archive import DAY_NS, MINUTES, FarStore, far_archive, stored
from tests.gateway.serving import FEED

FIRST = QualityKey("v1", FEED, DAY_NS).key
RECORDS = day_prefix(quality_prefix("v1", FEED), DAY_NS)
TRADES = NormalizedKey("v1", FEED, "trade", "BTCUSD", DAY_NS).key
TRADE_DAY = TRADES.rpartition("/")[0] + "/"
EXTRA = DAY_NS + MINUTES * NS_PER_MINUTE - NS_PER_MINUTE


def remembering(now_ns: int = DAY_NS + 2 * MINUTES * NS_PER_MINUTE, **more: int) -> tuple[FarStore, RememberingStore]:
    store = far_archive()
    return store, RememberingStore(store, lambda: now_ns, **more)


async def keys(store: Store, prefix: str) -> list[str]:
    return [meta.key for meta in await store.list(prefix)]


@pytest.mark.parametrize(("hours", "age_s"), [(23, YOUNG_AGE_S), (25, YOUNG_AGE_S), (27, OLD_AGE_S)])
async def test_a_new_record_is_seen_within_seconds_and_of_a_day_that_is_over_within_half_a_minute(
    autojump_clock, hours, age_s
):
    store, memory = remembering(DAY_NS + hours * 60 * NS_PER_MINUTE)
    before = await keys(memory, RECORDS)
    late = QualityKey("v1", FEED, EXTRA, part=1).key
    store.objects[late] = b"{}"
    await trio.sleep(age_s - 0.01)
    assert await keys(memory, RECORDS) == before
    await trio.sleep(0.02)
    assert late in await keys(memory, RECORDS)


async def test_where_events_are_is_asked_each_time_unless_the_stream_has_no_part_in_it(autojump_clock):
    """Mutant: remembered at the border too; what was stored and acknowledged meanwhile is in neither."""
    store, memory = remembering()
    await memory.list(TRADE_DAY)
    await memory.settled.list(TRADE_DAY)
    late = NormalizedKey("v1", FEED, "trade", "BTCUSD", EXTRA, part=1).key
    store.objects[late] = store.objects[TRADES]
    assert late in await keys(memory, TRADE_DAY)
    assert late not in await keys(memory.settled, TRADE_DAY)
    await trio.sleep(OLD_AGE_S)
    assert late in await keys(memory.settled, TRADE_DAY)


async def test_a_folder_of_events_is_remembered_where_its_listing_is(autojump_clock):
    store, memory = remembering()
    prefix = f"normalized/v1/{FEED}/trade/BTCUSD/"
    found = await memory.settled.folders(prefix)
    store.objects[f"{prefix}1999/01/01/00-00.capnp.zst"] = b""
    assert await memory.settled.folders(prefix) == found
    assert await memory.folders(prefix) == [f"{prefix}1999/", *found]


async def test_all_levels_of_the_ledger_s_folders_are_looked_at_at_once(autojump_clock):
    _, memory = remembering()
    years = await memory.folders(quality_prefix("v1", FEED))
    at_once_s = trio.current_time()
    months = [month for year in years for month in await memory.folders(year)]
    days = [day for month in months for day in await memory.folders(month)]
    assert (len(years), len(days)) == (2, 13)
    assert trio.current_time() == at_once_s == pytest.approx(3 * 0.025)


async def test_nothing_below_is_looked_at_for_who_asks_which_feeds_there_are(autojump_clock):
    store, memory = remembering()
    assert await memory.folders("quality/") == ["quality/v1/"]
    assert await memory.folders("quality/v1/") == [f"quality/v1/{FEED}/"]
    assert await memory.folders("raw/") == [f"raw/{FEED}/"]
    assert len(store.calls) == 3


async def test_records_are_read_once_and_many_at_once(autojump_clock):
    store, memory = remembering()
    listed = await keys(memory, RECORDS)
    store.begin()
    bodies = [await memory.read(key) for key in listed * 2]
    assert bodies == [store.objects[key] for key in listed * 2]
    assert store.asked == {"read": MINUTES}
    assert trio.current_time() < 0.4


async def test_an_object_made_anew_under_its_key_is_read_anew_within_half_a_minute(autojump_clock):
    """A version that was pruned and rebuilt. Mutant: bodies kept by key alone."""
    store, memory = remembering()
    for view, prefix, key in ((memory, RECORDS, FIRST), (memory.settled, TRADE_DAY, TRADES)):
        await view.list(prefix)
        assert await view.read(key) == store.objects[key]
        store.objects[key] = stored(DAY_NS, price="2.5", checksums=601)[key]
        await trio.sleep(OLD_AGE_S + 0.01)
        assert await view.read(key) == store.objects[key]  # nobody has listed it again
        await view.list(prefix)
        assert await view.read(key) == store.objects[key]


async def test_what_was_deleted_is_listed_anew_once_that_was_noticed(autojump_clock):
    store, memory = remembering()
    await memory.settled.list(TRADE_DAY)
    del store.objects[TRADES]
    assert await memory.settled.read(TRADES) is None
    assert TRADES not in await keys(memory.settled, TRADE_DAY)


async def test_a_reader_that_is_cancelled_leaves_the_others_theirs(autojump_clock):
    store, memory = remembering()
    listed = await keys(memory, RECORDS)
    found = []

    async def read() -> None:
        found.append(await memory.read(listed[1]))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.01):
            nursery.start_soon(read)
            await memory.read(listed[0])
    assert found == [store.objects[listed[1]]]
    assert await memory.read(listed[0]) == store.objects[listed[0]]


async def test_a_store_that_is_away_is_told_plainly_and_asked_again(autojump_clock):
    store, memory = remembering()
    await memory.list(RECORDS)
    store.faults.down = True
    with pytest.raises(StoreDown):
        await memory.read(FIRST)
    store.faults.down = False
    assert await memory.read(FIRST) == store.objects[FIRST]


async def test_memory_has_a_bound_in_bytes_and_in_names(autojump_clock, monkeypatch):
    monkeypatch.setattr(memory_of, "KEPT_NAMES", 2_000)
    _, memory = remembering(kept_bytes=50_000)
    for prefix in (RECORDS, day_prefix(f"raw/{FEED}/", DAY_NS), RECORDS):
        await memory.list(prefix)
    for key in await keys(memory, RECORDS):
        await memory.read(key)
    assert memory._bodies._size_bytes <= 50_000
    assert sum(map(len, memory._bodies._bodies.values())) == memory._bodies._size_bytes
    assert memory._listings._names <= 2_000


async def test_a_large_record_is_not_read_ahead_for_nothing(autojump_clock):
    store, memory = remembering()
    for minute in range(MINUTES):
        store.objects[QualityKey("v1", FEED, DAY_NS + minute * NS_PER_MINUTE).key] = bytes(memory_of.LARGEST_BYTES + 1)
    listed = await keys(memory, RECORDS)
    store.begin()
    await memory.read(listed[0])
    assert store.asked == {"read": 1}


async def test_the_ledger_of_a_day_is_read_from_a_far_store_within_a_second(autojump_clock):
    """Mutant: the bare store, which takes 5 s."""
    store, memory = remembering()
    found = [state.answer async for state in FeedLedger(memory, "v1", FEED).minutes(DAY_NS, EXTRA + NS_PER_MINUTE)]
    assert found == ["verified"] * MINUTES
    assert trio.current_time() < 1.0
    assert store.asked["read"] <= MINUTES + 1


async def test_writing_goes_through(autojump_clock):
    store, memory = remembering()
    key = RawKey(FEED, DAY_NS - NS_PER_MINUTE).manifest
    for view in (memory, memory.settled):
        assert await view.create(key, b"{}") is True
        found = await view.head(key)
        assert found is not None
        assert found.size_bytes == 2
        await view.delete(key)
        assert key not in store.objects
