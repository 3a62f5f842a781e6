"""How often the store is asked, and how long that takes when it is in another house: 25 ms for each request."""

import pytest
import trio

from ssmd.clock import NS_PER_MINUTE
from ssmd.gateway.access import Series
from ssmd.gateway.times import rfc3339
from tests.gateway.history.far_archive import DAY_NS, MINUTES, TRADES, FarStore, far_archive
from tests.gateway.serving import FEED, Serving

NEXT_DAY_NS = DAY_NS + MINUTES * NS_PER_MINUTE
LATER_NS = DAY_NS + 3 * MINUTES * NS_PER_MINUTE


@pytest.fixture
def store() -> FarStore:
    return far_archive()


def page_of(minute: int, limit: int = 100, kind: str = "trades") -> str:
    start, end = (rfc3339(at_ns) for at_ns in (DAY_NS + minute * NS_PER_MINUTE, NEXT_DAY_NS))
    return f"/api/v1/{kind}?symbol=BTCUSD&start={start}&end={end}&limit={limit}"


async def took_s(serving: Serving, path: str) -> float:
    serving.store.begin()
    begin_s = trio.current_time()
    response = await serving.get(path)
    assert response.status_code == 200
    assert await response.get_data()
    return trio.current_time() - begin_s


async def test_the_first_page_of_all_does_not_walk_one_folder_after_the_other(autojump_clock, store):
    serving = Serving(lambda: LATER_NS, store)
    assert await took_s(serving, page_of(700)) < 0.6
    assert store.asked["head"] == 0
    assert not [call for call in store.calls if call.startswith("folders normalized/v1/kraken/trade/BTCUSD")]


async def test_the_next_page_of_a_day_that_is_over_lists_nothing(autojump_clock, store):
    serving = Serving(lambda: LATER_NS, store)
    following = (await serving.json(page_of(700)))["next_cursor"]
    assert await took_s(serving, f"/api/v1/trades?symbol=BTCUSD&cursor={following}&limit=100") < 0.1
    assert (store.asked["list"], store.asked["folders"]) == (0, 0)
    assert store.asked["read"] < 100


async def test_another_page_of_a_known_day_takes_a_handful_of_requests(autojump_clock, store):
    """A day that the stream may have a part in is listed anew, its ledger is not."""
    serving = Serving(lambda: NEXT_DAY_NS + 60 * NS_PER_MINUTE, store)
    await serving.json(page_of(700))
    assert await took_s(serving, page_of(702, limit=8)) < 0.1
    assert (store.asked["list"], store.asked["folders"]) == (1, 0)
    assert store.asked["read"] <= 4


async def test_pages_of_a_day_read_each_object_once(autojump_clock, store):
    serving = Serving(lambda: LATER_NS, store)
    cursor, rows = "", 0
    while cursor is not None:
        page = await serving.json(
            f"/api/v1/trades?symbol=BTCUSD&cursor={cursor}&limit=500" if cursor else page_of(0, 500)
        )
        cursor, rows = page["next_cursor"], rows + len(page["data"])
    assert rows == MINUTES * TRADES
    reads = [call for call in store.calls if call.startswith("read")]
    assert len(reads) == len(set(reads))


async def test_the_quality_of_a_day_is_known_within_a_second(autojump_clock, store):
    """1,440 records, one request for each: they have to go out together."""
    serving = Serving(lambda: LATER_NS, store)
    await serving.counted(NEXT_DAY_NS)
    day = f"/api/v1/coverage?symbol=BTCUSD&start={rfc3339(DAY_NS)}&end={rfc3339(NEXT_DAY_NS)}"
    assert (await serving.json(day))["quality"]["coverage"]["verified"] == MINUTES
    assert trio.current_time() < 1.0
    assert store.asked["read"] <= MINUTES + 1
    assert await took_s(serving, day) == 0
    assert not store.calls


async def test_a_day_is_downloaded_by_a_gateway_that_has_seen_nothing_in_a_second_and_a_half(autojump_clock, store):
    serving = Serving(lambda: LATER_NS, store)
    assert await took_s(serving, page_of(0, 100_000) + "&format=ndjson") < 1.5


async def test_the_newest_rows_are_not_looked_for_in_every_month(autojump_clock, store):
    serving = Serving(lambda: NEXT_DAY_NS + 60 * NS_PER_MINUTE, store)
    path = "/api/v1/trades?symbol=BTCUSD&last=10"
    await serving.rows(path)
    assert await took_s(serving, path) < 0.15
    assert not [call for call in store.calls if call.startswith("folders")]


@pytest.mark.parametrize("count", [1, 10, MINUTES * TRADES + 3])
async def test_the_newest_rows_are_found_however_old_they_are(autojump_clock, store, count):
    years_later_ns = DAY_NS + 800 * MINUTES * NS_PER_MINUTE
    rows = await Serving(lambda: years_later_ns, store).rows(f"/api/v1/trades?symbol=BTCUSD&last={count}")
    assert len(rows) == count
    assert [row["received_at"] for row in rows] == sorted(row["received_at"] for row in rows)
    assert rows[-1]["received_at"] == rfc3339(NEXT_DAY_NS - NS_PER_MINUTE + TRADES - 1)


@pytest.mark.parametrize(("hours", "requests"), [(1, 6), (100, 10)])
async def test_the_last_minute_of_what_is_captured_now_is_found_without_a_walk(autojump_clock, store, hours, requests):
    serving = Serving(lambda: NEXT_DAY_NS + hours * 60 * NS_PER_MINUTE, store)
    edges = await serving.catalog.edges(Series(FEED, "trade", "BTCUSD"), "v1")
    assert (edges.first_ns, edges.last_ns) == (DAY_NS - 360 * 1_440 * NS_PER_MINUTE, NEXT_DAY_NS)
    assert len(store.calls) == requests
    assert trio.current_time() < 0.13
