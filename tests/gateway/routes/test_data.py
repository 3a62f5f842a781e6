"""What a client gets from /api/v1: the rows, how good they are, where to go on, and precise errors."""

import json
from functools import partial
from random import Random
from urllib.parse import parse_qs, urlparse

import pytest
from msgspec import structs

from ssmd.bus.base import BucketSpec
from ssmd.clock import NS_PER_MINUTE, NS_PER_S
from ssmd.codec.packing import Item, pack
from ssmd.gateway.access import Grant, Principal, Series
from ssmd.gateway.query import Headers, rows_query
from ssmd.gateway.times import rfc3339
from ssmd.model import Trade
from ssmd.protocols.quality import decode_record, encode
from ssmd.store.keys import NormalizedKey, QualityKey
from tests.gateway.serving import ALL, FEED, Serving, message_of
from tests.reprocess.captured import Captured, at, faulty_run

T = rfc3339
DAY = "start=2025-12-06T14:00:00Z&end=2025-12-06T14:05:00Z"


@pytest.fixture
async def captured(tmp_path, autojump_clock) -> Captured:
    world = Captured(tmp_path)
    await faulty_run(world, restarts=False)
    return world


@pytest.fixture
def serving(captured) -> Serving:
    """Two hours after five minutes in which much went wrong."""
    return Serving(lambda: at(125), captured.store)


def made(number: int, recv_ns: int, symbol: str = "BTCUSD", feed: str = FEED, conn: str = "c") -> Trade:
    return Trade(feed, symbol, recv_ns, conn, number, 0, recv_ns, f"{number}.5", "1.0", "buy", str(number))


def archive(store, trades: list[Trade]) -> None:
    minutes: dict[NormalizedKey, list[Item]] = {}
    for one in trades:
        key = NormalizedKey("v1", one.feed, "trade", one.symbol, one.recv_ns - one.recv_ns % NS_PER_MINUTE)
        minutes.setdefault(key, []).append(Item(one.recv_ns, one.conn, one.seq, one.n, message_of(one).payload))
    for key, items in minutes.items():
        store.objects[key.key] = pack(sorted(items))


# rows and quality ----------------------------------------------------------------------------------------------


async def test_rows_have_the_names_and_values_of_the_contract(autojump_clock, serving, captured):
    first = (await serving.rows(f"/api/v1/trades?symbol=BTCUSD&{DAY}&limit=1"))[0]
    assert list(first) == [
        "type", "exchange", "symbol", "price", "size", "side", "trade_id", "timestamp", "received_at", "id",
    ]  # fmt: skip
    assert (first["type"], first["exchange"], first["symbol"]) == ("trade", "kraken", "BTCUSD")
    assert first["received_at"].startswith("2025-12-06T14:00:00.")
    assert first["id"].startswith("kraken/c-0-1/")
    assert isinstance(first["price"], float)
    book = (await serving.rows(f"/api/v1/books?symbol=BTC/USD&{DAY}&limit=1&depth=2"))[0]
    assert [len(book["bids"]), len(book["asks"])] == [2, 2]
    assert all(isinstance(number, (int, float)) for level in book["bids"] for number in level)


async def test_an_object_that_cannot_be_read_is_never_left_out(autojump_clock, serving, captured):
    key = next(key for key in captured.store.objects if key.startswith("normalized/v1/kraken/trade/BTCUSD/"))
    captured.store.objects[key] = captured.store.objects[key][:-7]
    assert (await serving.get(f"/api/v1/trades?symbol=BTCUSD&{DAY}")).status_code == 500


async def test_every_answer_over_a_planted_gap_carries_it(autojump_clock, serving):
    """Minutes 1 and 2 lost a connection; each format says so, a page that does not touch it does not."""
    query = f"symbol=BTCUSD&{DAY}"
    page = await serving.json(f"/api/v1/trades?{query}")
    assert page["quality"]["status"] == "missing"
    missing = [window for window in page["quality"]["windows"] if window["status"] == "missing"]
    assert {window["reason"] for window in missing} == {"reset", "not_captured"}
    (begin,) = [window for window in missing if window["reason"] == "not_captured"]  # capture began within this minute
    assert (begin["start"], begin["end"]) == (T(at(0)), T(at(1)))
    (gap,) = [w for w in (await serving.json(f"/api/v1/gaps?{query}"))["data"] if w["reason"] == "reset"]
    assert gap["symbols"] == ["BTCUSD"]
    lines = (await (await serving.get(f"/api/v1/trades?{query}&format=ndjson")).get_data()).splitlines()
    assert gap in json.loads(lines[-1])["quality"]["windows"]
    header = (await serving.get(f"/api/v1/trades?{query}&format=csv")).headers["X-Ssmd-Quality"]
    assert gap in json.loads(header)["windows"]
    assert gap in (await serving.json(f"/api/v1/coverage?{query}"))["quality"]["windows"]


@pytest.mark.parametrize("symbol", ["BTCUSD", "ETHUSD"])
async def test_time_before_capture_began_is_not_called_verified(autojump_clock, serving, captured, symbol):
    """Mutant: look at the end of each minute only; the seconds before the first connection then seem to be there."""
    await serving.counted(at(9))
    for key in captured.raw_keys():
        name = QualityKey.of("v1", key).key
        record = decode_record(captured.store.objects[name])
        wanted = ("BTCUSD",) if key.minute_ns < at(4) else ("BTCUSD", "ETHUSD")
        captured.store.objects[name] = encode(structs.replace(record, wanted=wanted))

    async def reasons(minute: int) -> set[str]:
        path = f"/api/v1/coverage?symbol={symbol}&start={T(at(minute) + NS_PER_S)}&end={T(at(minute) + 2 * NS_PER_S)}"
        return {window["reason"] for window in (await serving.json(path))["quality"]["windows"]}

    began = {"BTCUSD": 0, "ETHUSD": 4}[symbol]
    assert "not_captured" in await reasons(began - 1) & await reasons(began)
    assert "not_captured" not in await reasons(4 if symbol == "BTCUSD" else 5)


async def test_over_a_clean_minute_it_says_verified(autojump_clock, serving):
    await serving.counted(at(4))
    for path in ("trades", "books", "gaps", "coverage"):
        answer = await serving.json(f"/api/v1/{path}?symbol=BTCUSD&start={T(at(4))}&end={T(at(5))}")
        assert answer["quality"]["status"] == "verified", path
        assert answer["quality"]["windows"] == []
        assert answer["version"] == "v1"
    assert answer["quality"]["coverage"] == {
        "minutes": 1, "verified": 1, "unverifiable": 0, "suspect": 0, "missing": 0,
    }  # fmt: skip


async def test_a_gap_of_another_symbol_is_not_this_one_s(autojump_clock, serving):
    answer = await serving.json(f"/api/v1/trades?symbol=ETHUSD&{DAY}")
    assert answer["data"] == []
    assert "quality" in answer["hint"]
    assert "reset" not in {window["reason"] for window in answer["quality"]["windows"]}
    assert {"not_captured"} <= {window["reason"] for window in answer["quality"]["windows"]}


async def test_what_the_ledger_cannot_know_yet_is_not_called_verified(autojump_clock, captured, tmp_path):
    serving = Serving(lambda: at(5) + 30 * NS_PER_S, captured.store)
    window = (await serving.json("/api/v1/trades?symbol=BTCUSD&start=-20s"))["quality"]["windows"][-1]
    assert (window["status"], window["reason"]) == ("missing", "silent")
    report = {
        "feed": FEED, "instance": "i", "pid": 1, "started_ns": 0, "version": "0", "reported_ns": serving.now(),
        "revision": 0, "digest": "", "live": ["BTCUSD"], "pending": ["ETHUSD"],
    }  # fmt: skip
    async with serving.dialer.connect() as bus:
        await bus.ensure_bucket(BucketSpec("ssmd-status"))
        await bus.kv_put("ssmd-status", f"test.connectors.{FEED}.i", json.dumps(report).encode())
    quality = (await serving.json("/api/v1/trades?symbol=BTCUSD&start=-20s"))["quality"]
    assert [(w["status"], w["reason"]) for w in quality["windows"]] == [("unverifiable", "live")]
    quality = (await serving.json("/api/v1/trades?symbol=BTCUSD,ETHUSD&start=-20s"))["quality"]
    assert ("not_captured", ["ETHUSD"]) in [(w["reason"], w["symbols"]) for w in quality["windows"]]


async def test_another_version_than_the_live_one_comes_from_the_archive_alone(autojump_clock, serving, captured):
    serving.feeds._configs[FEED] = serving.feeds._configs[FEED].__class__(
        serving.feeds._configs[FEED].symbols, normalizer="v2", serve_version="v1"
    )
    await serving.publish(made(9_999, at(124)))
    answer = await serving.json(f"/api/v1/trades?symbol=BTCUSD&start={T(at(0))}")
    assert "9999" not in {row["trade_id"] for row in answer["data"]}
    assert answer["version"] == "v1"
    assert ("missing", "not_yet_archived") in [(w["status"], w["reason"]) for w in answer["quality"]["windows"]]
    assert "9999" in {
        row["trade_id"] for row in await serving.rows("/api/v1/trades?symbol=BTCUSD&start=-2m&version=v2")
    }


# where to go on ------------------------------------------------------------------------------------------------


async def walk(serving: Serving, path: str, *, meanwhile=None) -> list[dict]:
    rows = []
    for _ in range(500):
        response = await serving.get(path)
        answer = json.loads(await response.get_data())
        assert response.status_code == 200, answer
        rows += answer["data"]
        if answer["next_cursor"] is None:
            assert "Link" not in response.headers
            return rows
        path = response.headers["Link"].partition(">")[0].lstrip("<")
        assert parse_qs(urlparse(path).query)["cursor"] == [answer["next_cursor"]]
        if meanwhile is not None:
            await meanwhile()
    raise AssertionError("the walk does not end")


async def test_walking_cursors_while_data_arrives_returns_each_message_id_once(autojump_clock, seed):
    """Events of two feeds arrive between the pages, one feed 3 s late; minutes move into the archive meanwhile."""
    random, clock = Random(seed), [at(30)]
    serving = Serving(lambda: clock[0])
    serving.principal = Principal("a", "display", (Grant("*", ("*",)), Grant(FEED, ("*",)), Grant("other", ("*",))))
    serving.feeds._versions, serving.feeds._versions_at_s = {"other": ("v1",)}, float("inf")
    history = [made(n, at(0) + n * 7 * NS_PER_S) for n in range(200)]
    archive(serving.store, history)
    archive(serving.store, [made(n, at(0) + n * 11 * NS_PER_S, feed="other", conn="o") for n in range(100)])
    await serving.publish(*history[150:])
    published = list(history)

    async def arrive() -> None:
        clock[0] += 2 * NS_PER_S
        last = published[-1]
        new = [made(last.seq + n, last.recv_ns + n * random.randrange(1, NS_PER_S)) for n in (1, 2, 3)]
        published.extend(new)
        await serving.publish(*new)
        if random.random() < 0.3:
            archive(serving.store, published)

    rows = await walk(serving, f"/api/v1/trades?symbol=BTCUSD&start={T(at(0))}&limit=7", meanwhile=arrive)
    names = [row["id"] for row in rows]
    assert len(names) == len(set(names))
    end_ns = at(30)
    expected = {f"kraken/c/{one.seq}/0" for one in published if one.recv_ns < end_ns}
    assert {name for name in names if name.startswith("kraken")} >= {f"kraken/c/{one.seq}/0" for one in history}
    assert {name for name in names if name.startswith("kraken")} <= expected
    assert sum(name.startswith("other") for name in names) == 100


async def test_events_of_a_feed_that_is_late_are_not_passed_over(autojump_clock):
    serving = Serving(lambda: at(30))
    serving.principal = Principal("a", "display", (Grant(FEED, ("*",)), Grant("other", ("*",))))
    serving.feeds._versions, serving.feeds._versions_at_s = {"other": ("v1",)}, float("inf")
    archive(serving.store, [made(0, at(0), feed="other", conn="o")])
    await serving.publish(*(made(n, at(29) + n * NS_PER_S) for n in range(10)))

    async def late() -> None:
        await serving.publish(made(77, at(29) + 2 * NS_PER_S, feed="other", conn="o"))

    rows = await walk(serving, "/api/v1/trades?symbol=BTCUSD&start=-2m&limit=6", meanwhile=late)
    assert sorted(row["id"] for row in rows) == sorted([f"kraken/c/{n}/0" for n in range(10)] + ["other/o/77/0"])


async def test_the_newest_rows_across_the_border_have_no_hole_and_no_duplicate(autojump_clock):
    serving = Serving(lambda: at(10))
    trades = [made(n, at(0) + n * 5 * NS_PER_S) for n in range(110)]
    await serving.publish(*trades)
    await serving.acknowledge(70)
    archive(serving.store, trades[:96])  # stored, and not acknowledged yet, beyond the 70th
    for count in (1, 12, 30, 50, 109, 500):
        rows = await serving.rows(f"/api/v1/trades?symbol=BTCUSD&last={count}")
        assert [row["trade_id"] for row in rows] == [str(n) for n in range(110)][-count:]


async def test_a_page_may_end_for_its_length_in_time_and_the_walk_goes_on(autojump_clock):
    serving = Serving(lambda: at(0) + 30 * 24 * 60 * NS_PER_MINUTE)
    days = [0, 1, 9, 10]
    archive(serving.store, [made(day, at(24 * 60 * day)) for day in days])
    rows = await walk(serving, f"/api/v1/trades?symbol=BTCUSD&start={T(at(0))}&end={T(at(24 * 60 * 12))}")
    assert [int(row["trade_id"]) for row in rows] == days


async def test_the_range_may_be_of_the_exchange_s_time(autojump_clock):
    serving = Serving(lambda: at(10))
    slow = made(1, at(3))
    archive(
        serving.store,
        [
            Trade(
                *(getattr(slow, f) for f in slow.__struct_fields__[:6]),
                at(1),
                *(getattr(slow, f) for f in slow.__struct_fields__[7:]),
            )
        ],
    )
    query = f"symbol=BTCUSD&start={T(at(1))}&end={T(at(2))}"
    assert await serving.rows(f"/api/v1/trades?{query}") == []
    assert len(await serving.rows(f"/api/v1/trades?{query}&clock=exchange")) == 1


async def test_the_book_at_a_moment_is_the_last_one_before_it(autojump_clock, serving):
    rows = await serving.rows(f"/api/v1/books?symbol=BTCUSD&{DAY}")
    moment = rows[7]["received_at"]
    assert await serving.rows(f"/api/v1/books?symbol=BTCUSD&at={moment}") == [rows[7]]


# who may see what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["trades", "quotes", "books", "gaps", "coverage"])
async def test_s21_unknown_and_not_entitled_are_one_answer(autojump_clock, serving, path, tmp_path):
    there, not_there = serving, Serving(serving.now, Captured(tmp_path / "other").store, ("BTC/USD",))
    archive(there.store, [made(1, at(0), "ETHUSD")])
    answers = []
    for one in (there, not_there):
        one.principal = Principal("agent", "display", (Grant(FEED, ("BTC*", "SOL*")),))
        response = await one.get(f"/api/v1/{path}?symbol=BTCUSD,ETHUSD&{DAY}")
        assert response.status_code == 404
        answers.append(await response.get_data())
    assert answers[0] == answers[1]
    near = await serving.problem(f"/api/v1/{path}?symbol=BTCUS&{DAY}")
    assert (near["code"], near["suggestions"]) == ("unknown_symbol", ["BTCUSD"])


async def test_a_type_that_a_symbol_does_not_have_is_named_and_one_not_entitled_alike(autojump_clock):
    """Mutant: `no such symbol`, of a symbol that the list of symbols names."""
    serving = Serving(lambda: at(60), names=("BTC/USD",))
    archive(serving.store, [made(1, at(3), "SOLUSD")])
    absent = await serving.problem("/api/v1/books?symbol=SOLUSD&last=5")
    assert (absent["code"], absent["detail"]) == ("unknown_symbol", "no books of SOLUSD")
    serving.principal = structs.replace(ALL, grants=(Grant(FEED, ("*",), ("trade",)),))
    assert (await serving.problem("/api/v1/books?symbol=BTCUSD&last=5"))["detail"] == "no books of BTCUSD"
    assert (await serving.problem("/api/v1/books?symbol=NOPE&last=5"))["detail"] == "no such symbol: NOPE"
    assert (await serving.problem("/api/v1/books?symbol=SOLUSD,NOPE&last=5"))[
        "detail"
    ] == "no such symbol: SOLUSD, NOPE"


async def test_types_feeds_and_expiry_of_grants_hold_for_history(autojump_clock, serving):
    trades_only = Grant(FEED, ("BTCUSD",), ("trade",), expires_ns=at(126))
    serving.principal = Principal("agent", "display", (trades_only,))
    assert await serving.rows(f"/api/v1/trades?symbol=BTCUSD&{DAY}")
    assert (await serving.problem(f"/api/v1/quotes?symbol=BTCUSD&{DAY}"))["code"] == "unknown_symbol"
    (row,) = await serving.rows("/api/v1/symbols")
    assert (row["symbol"], row["name"], row["types"], row["live"]) == ("BTCUSD", "BTC/USD", ["trade"], True)
    assert row["first"] == T(at(0))
    serving.principal = Principal("agent", "display", (Grant(FEED, ("BTCUSD",), (), expires_ns=at(125)),))
    assert (await serving.problem(f"/api/v1/trades?symbol=BTCUSD&{DAY}"))["code"] == "unknown_symbol"
    assert await serving.rows("/api/v1/symbols") == []
    assert await serving.rows("/api/v1/feeds") == []


async def test_a_symbol_is_there_from_its_first_to_its_last_minute_of_any_type(autojump_clock):
    """Mutant: take one type for all."""
    serving = Serving(lambda: at(60))
    archive(serving.store, [made(1, at(3)), made(2, at(7))])
    (row,) = [row for row in await serving.rows("/api/v1/symbols") if row["symbol"] == "BTCUSD"]
    assert (row["first"], row["last"]) == (T(at(3)), T(at(8)))


async def test_what_was_handed_out_is_counted_exactly(autojump_clock, serving):
    for form in ("json", "ndjson", "csv", "arrow", "parquet"):
        serving.meter.rows.clear()
        await (await serving.get(f"/api/v1/trades?symbol=BTCUSD&{DAY}&format={form}&limit=13")).get_data()
        assert serving.meter.rows == {Series(FEED, "trade", "BTCUSD"): 13}, form


# errors --------------------------------------------------------------------------------------------------------


async def test_everything_wrong_is_named_at_once(autojump_clock, serving):
    problem = await serving.problem("/api/v1/trades?start=yesterday&limit=50000&fromat=csv&fields=price,prize&ts=s")
    assert problem["status"] == 400
    assert [error["parameter"] for error in problem["errors"]] == [
        "fields", "fromat", "limit", "start", "symbol", "ts",
    ]  # fmt: skip
    by_name = {error["parameter"]: error["detail"] for error in problem["errors"]}
    assert by_name["limit"] == "at most 10000"
    assert by_name["fromat"] == "no such parameter; did you mean format?"
    assert "parquet" in problem["hint"]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("trades?symbol=BTCUSD&start=2025-12-07&end=2025-12-06", "start_after_end"),
        ("trades?symbol=BTCUSD", "invalid_parameter"),
        ("trades?symbol=BTCUSD&last=5&start=-1h", "invalid_parameter"),
        ("trades?symbol=BTCUSD&last=5&at=-1h", "invalid_parameter"),
        ("trades?symbol=BTCUSD&cursor=eyJ", "invalid_parameter"),
        ("trades?symbol=BTCUSD&start=-1h&version=v7", "invalid_parameter"),
        ("trades?symbol=BTCUSD&start=-40d&format=csv", "range_too_large"),
        ("gaps?start=-40d", "range_too_large"),
        ("schemas/candle", "not_found"),
    ],
)
async def test_each_mistake_has_its_own_code(autojump_clock, serving, path, code):
    assert (await serving.problem(f"/api/v1/{path}"))["code"] == code


async def test_a_cursor_belongs_to_its_request(autojump_clock, serving):
    cursor = (await serving.json(f"/api/v1/trades?symbol=BTCUSD&{DAY}&limit=1"))["next_cursor"]
    assert (await serving.problem(f"/api/v1/quotes?symbol=BTCUSD&cursor={cursor}"))["errors"][0][
        "parameter"
    ] == "cursor"


async def test_a_few_rows_of_a_long_range_are_no_large_answer(autojump_clock, serving):
    response = await serving.get("/api/v1/trades?symbol=BTCUSD&start=-90d&limit=3&format=csv")
    assert response.status_code == 200
    assert len((await response.get_data()).splitlines()) == 4


async def test_an_answer_that_is_too_large_comes_with_an_estimate(autojump_clock, serving):
    assert "rows=" in (await serving.problem("/api/v1/trades?symbol=BTCUSD&start=-40d&format=csv"))["estimate"]
    estimate = (await serving.json(f"/api/v1/estimate?type=trade&symbol=BTCUSD&{DAY}"))["estimate"]
    rows = len(await serving.rows(f"/api/v1/trades?symbol=BTCUSD&{DAY}"))
    assert 0.7 * rows < estimate["rows"] < 1.3 * rows


@pytest.mark.parametrize("away", ["nats", "store"])
async def test_what_is_away_is_named_with_a_time_to_come_back(autojump_clock, captured, away):
    serving = Serving(lambda: at(6), captured.store)
    await serving.rows("/api/v1/trades?symbol=BTCUSD&start=-1h")
    serving.broker.is_up = away != "nats"
    captured.store.faults.down = away == "store"
    problem = await serving.problem("/api/v1/trades?symbol=BTCUSD&start=-1h")
    assert (problem["status"], problem["code"], problem["missing"]) == (503, "unavailable", away)


async def test_history_older_than_the_stream_needs_no_bus(autojump_clock, captured):
    serving = Serving(lambda: at(60 * 24 * 3), captured.store)
    serving.broker.is_up = False
    assert await serving.rows(f"/api/v1/trades?symbol=BTCUSD&{DAY}")


# caches and forms ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["json", "csv", "parquet"])
async def test_a_closed_range_has_a_strong_tag_and_is_not_sent_again(autojump_clock, serving, captured, form):
    path = f"/api/v1/trades?symbol=BTCUSD&{DAY}&format={form}"
    first = await serving.get(path)
    tag = first.headers["ETag"]
    assert not tag.startswith("W/")
    assert "immutable" in first.headers["Cache-Control"]
    again = await serving.get(path, If_None_Match=tag)
    assert (again.status_code, await again.get_data()) == (304, b"")
    key = next(key for key in sorted(captured.store.objects) if "/trade/BTCUSD/" in key)
    late = NormalizedKey.parse(key)
    archive(captured.store, [made(5_000, late.minute_ns + 59 * NS_PER_S, conn="late")])
    assert (await serving.get(path, If_None_Match=tag)).status_code == 200


async def test_a_range_that_touches_now_is_not_kept(autojump_clock, serving):
    response = await serving.get("/api/v1/trades?symbol=BTCUSD&start=-1h")
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers


async def test_the_accept_header_chooses_the_form(autojump_clock, serving):
    path = f"/api/v1/trades?symbol=BTCUSD&{DAY}"
    for accept, given in (
        ("*/*", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("application/vnd.apache.parquet, application/json;q=0.5", "application/vnd.apache.parquet"),
    ):
        assert (await serving.get(path, Accept=accept)).headers["Content-Type"] == given
    assert (await serving.get(path, Accept="image/png")).status_code == 406


async def test_a_client_that_leaves_early_is_charged_for_what_it_took_at_most(autojump_clock, serving):
    """The rows of the piece that was on its way are not counted; nothing stays open."""
    archive(serving.store, [made(n, at(60) + n * NS_PER_S // 100) for n in range(5_900)])
    given = [("symbol", "BTCUSD"), ("start", T(at(60))), ("end", T(at(61))), ("format", "ndjson")]
    query = rows_query("trade", given, Headers(), serving.now())
    resolved = await serving.catalog.resolve(ALL, query.which, "trade")
    body = await serving.history.download(query, resolved, partial(serving.meter.count, ALL))
    first = await anext(body)
    assert 0 < first.count(b"\n") < 5_900
    assert serving.meter.rows.total() == 0
    await anext(body)
    assert serving.meter.rows.total() == first.count(b"\n")
