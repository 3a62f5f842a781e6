"""A reprocess writes what one decoder over all the raw data gives, however it is shared out or interrupted."""

from collections.abc import Mapping, Sequence

import msgspec
import pytest
import trio

from ssmd.archive.shortfall import Shortfall, put_mark
from ssmd.clock import NS_PER_MINUTE, NS_PER_S
from ssmd.codec import blocks, marketdata
from ssmd.codec.packing import unpack
from ssmd.errors import ConfigError, StoreDown
from ssmd.model import Event
from ssmd.records import FeedConfig, SymbolSpec
from ssmd.reprocess.hold import held
from ssmd.reprocess.report import MinuteRecord, RangeManifest
from ssmd.reprocess.run import Job, Unwatched, reprocess
from ssmd.store.base import Hold
from ssmd.store.keys import SHORTFALL_ENDING, MinuteKey, NormalizedKey, RangeKey, RawKey, ShortfallKey, hold_key
from ssmd.store.memory import MemoryStore
from tests.reprocess.captured import Captured, at, trade_frame
from tests.reprocess.world import FEED, START_NS, World, archive

RANGE = "normalized/v1/kraken/ranges/"


def job(world: World, **more) -> Job:
    return msgspec.structs.replace(Job(FEED, "v1", START_NS, world.end_ns), **more)


@pytest.fixture(scope="module")
def world() -> World:
    return World(30).capture((4, 0), (17, 1), (21, 0), crash_at=9)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def run(store, wanted: Job, watcher=None, **more):
    return await reprocess(wanted, lambda: store, watcher, **more)


async def test_the_objects_are_those_of_one_decoder_over_everything(store, world, autojump_clock):
    await world.store_raw(store)
    summary = await run(store, job(world))
    assert summary.problems == []
    assert await archive(store) == world.expected()
    manifest = msgspec.json.decode(store.objects[summary.manifest], type=RangeManifest)
    assert (manifest.minutes, manifest.figures.frames) == (30, sum(r.note is None for r in world.records))
    assert sum(sum(of.values()) for of in manifest.counts.values()) == summary.events > 500
    assert manifest.figures.checksums_failed > 0


async def test_a_part_of_the_range_begins_with_the_books_that_were_there(store, world, autojump_clock):
    await world.store_raw(store)
    wanted = job(world, start_ns=START_NS + 14 * NS_PER_MINUTE, end_ns=START_NS + 20 * NS_PER_MINUTE)
    assert (await run(store, wanted)).is_well
    assert await archive(store) == world.expected(from_minute=14, to_minute=20)


class StopsAfter(Unwatched):
    def __init__(self, calls: int) -> None:
        self.left = calls

    def advanced(self, minutes, lines, frames) -> None:  # noqa: ARG002
        self.left -= 1

    @property
    def stops(self) -> bool:
        return self.left <= 0


@pytest.fixture
def short_stretches(monkeypatch) -> None:
    monkeypatch.setattr("ssmd.reprocess.run.STRETCH_LINES", 150)


async def test_stopped_and_run_again_it_ends_with_the_same_bytes(store, world, short_stretches, autojump_clock):
    await world.store_raw(store)
    stopped = await run(store, job(world), StopsAfter(3))
    assert stopped.is_stopped
    assert not [key for key in store.objects if key.startswith(RANGE)]
    assert 0 < len(await archive(store)) < len(world.expected())
    summary = await run(store, job(world))
    assert summary.is_well
    assert await archive(store) == world.expected()
    other = MemoryStore()
    await world.store_raw(other)
    await run(other, job(world))
    assert other.objects == store.objects


async def test_a_minute_without_its_record_is_done_again(store, world, autojump_clock):
    """A half-done minute: some objects are there, the record is not."""
    await world.store_raw(store)
    await run(store, job(world))
    whole = dict(store.objects)
    del store.objects[MinuteKey("v1", FEED, START_NS + 3 * NS_PER_MINUTE).key]
    lost = next(key for key in whole if key.endswith("14-03.capnp.zst"))
    del store.objects[lost]
    await run(store, job(world))
    assert store.objects == whole


async def test_raw_data_that_has_changed_since_is_read_again(store, world, autojump_clock):
    await world.store_raw(store)
    await run(store, job(world))
    key = MinuteKey("v1", FEED, START_NS).key
    record = msgspec.json.decode(store.objects[key], type=MinuteRecord)
    store.objects[key] = msgspec.json.encode(msgspec.structs.replace(record, raw=()))
    assert (await run(store, job(world))).is_well
    assert msgspec.json.decode(store.objects[key], type=MinuteRecord) == record


async def test_what_live_capture_wrote_is_left_as_it_is(store, world, autojump_clock):
    await world.store_raw(store)
    await world.store_live(store)
    summary = await run(store, job(world))
    assert summary.is_well
    assert summary.manifest == RangeKey("v1", FEED, START_NS, world.end_ns).key


async def test_live_objects_in_parts_are_equal_if_their_events_are(store, world, autojump_clock):
    await world.store_raw(store)
    await world.store_live(store)
    split(store, "normalized/v1/kraken/book/BTCUSD/2025/12/06/14-05.capnp.zst")
    assert (await run(store, job(world))).is_well


def split(store: MemoryStore, key: str, keep: int = 2) -> None:
    events = unpack("book", store.objects[key])
    for name, some in ((key, events[:keep]), (key.replace(".capnp", ".p01.capnp"), events[keep:])):
        store.objects[name] = blocks.compress(b"".join(map(marketdata.encode, some)))


@pytest.mark.parametrize("dry", [False, True])
async def test_an_object_with_other_events_is_named_with_the_first_difference(store, world, dry, autojump_clock):
    await world.store_raw(store)
    await world.store_live(store)
    key = "normalized/v1/kraken/book/BTCUSD/2025/12/06/14-05.capnp.zst"
    split(store, key)
    before = store.objects[key]
    del store.objects[key.replace(".capnp", ".p01.capnp")]
    summary = await run(store, job(world, is_dry=dry))
    (problem,) = summary.problems
    assert (problem.key, problem.kind) == (key, "conflict")
    assert "it lacks kraken/boot-0-2/" in problem.detail
    assert not summary.is_complete
    assert store.objects[key] == before
    assert not [name for name in store.objects if name.startswith(RANGE)]


async def test_an_object_that_the_raw_data_does_not_give_is_named(store, world, autojump_clock):
    await world.store_raw(store)
    await world.store_live(store)
    low = START_NS + NS_PER_MINUTE
    empty = next(  # a minute of few trades: make one up for a minute without any
        key for key in (f"normalized/v1/kraken/trade/SOLUSD/2025/12/06/14-{m:02}.capnp.zst" for m in range(30))
        if key not in store.objects
    )  # fmt: skip
    store.objects[empty] = store.objects[next(k for k in store.objects if "trade/SOLUSD" in k)]
    summary = await run(store, job(world, start_ns=low))
    assert [(p.key, p.kind) for p in summary.problems] in ([], [(empty, "conflict")])
    assert summary.is_complete == (summary.problems == [])


async def test_a_dry_run_writes_nothing_and_says_the_same(store, world, autojump_clock):
    await world.store_raw(store)
    before = dict(store.objects)
    dry = await run(store, job(world, is_dry=True))
    assert store.objects == before
    wet = await run(store, job(world))
    assert (dry.objects_sha256, dry.counts, dry.figures) == (wet.objects_sha256, wet.counts, wet.figures)
    assert dry.manifest == ""


async def test_a_version_that_nobody_knows_is_refused(store, world, autojump_clock):
    with pytest.raises(ConfigError, match="version is 'v9'; known are v1"):
        await run(store, job(world, version="v9"))


async def test_the_raw_data_is_held_while_it_runs_and_free_afterwards(store, world, autojump_clock):
    await world.store_raw(store)
    seen = []

    class Looks(Unwatched):
        def planned(self, plan) -> None:  # noqa: ARG002
            seen.append(msgspec.json.decode(store.objects[hold_key("reprocess-v1-kraken")]))

    await run(store, job(world), Looks())
    (hold,) = seen
    assert hold["name"] == "reprocess-v1-kraken"
    assert (hold["feed"], hold["from_ns"], hold["to_ns"]) == (FEED, START_NS, world.end_ns)
    assert not [key for key in store.objects if key.startswith("holds/")]


async def test_the_warm_up_is_held_too(store, world, autojump_clock):
    await world.store_raw(store)
    seen = []

    class Looks(Unwatched):
        def planned(self, plan) -> None:  # noqa: ARG002
            seen.append(msgspec.json.decode(store.objects[hold_key("reprocess-v1-kraken")]))

    await run(store, job(world, start_ns=START_NS + 14 * NS_PER_MINUTE), Looks())
    assert seen[0]["from_ns"] == START_NS + 4 * NS_PER_MINUTE


async def test_a_hold_that_a_killed_run_left_behind_is_renewed_without_a_moment_without_any(store, autojump_clock):
    hold = Hold("reprocess-v1-kraken", FEED, 1, 2, 3)
    key = hold_key(hold.name)
    store.objects[key] = b"{}"
    moments = []
    store.delete = _watched(store, moments)
    async with held(store, hold, lambda: 5):
        assert msgspec.json.decode(store.objects[key])["expires_ns"] == 5 + 24 * 3600 * NS_PER_S
    assert all(moments[:-1])
    assert not moments[-1]


def _watched(store: MemoryStore, moments: list[bool]):
    delete = store.delete

    async def watched(key: str) -> None:
        await delete(key)
        moments.append(any(name.startswith("holds/") for name in store.objects))

    return watched


async def test_a_store_that_is_away_for_a_while_is_waited_for(store, world, autojump_clock):
    await world.store_raw(store)

    class Cuts(Unwatched):
        def planned(self, plan) -> None:  # noqa: ARG002
            store.faults.down = True
            nursery.start_soon(come_back)

    async def come_back() -> None:
        await trio.sleep(12)
        store.faults.down = False

    async with trio.open_nursery() as nursery:
        assert (await run(store, job(world), Cuts())).is_well
    assert await archive(store) == world.expected()


async def test_a_store_that_stays_away_ends_the_run_as_an_outage(store, world, autojump_clock):
    await world.store_raw(store)

    class Cuts(Unwatched):
        def planned(self, plan) -> None:  # noqa: ARG002
            store.faults.down = True

    with pytest.RaisesGroup(StoreDown, flatten_subgroups=True, allow_unwrapped=True):
        await run(store, job(world), Cuts())


def repacked(events: Sequence[Event]) -> bytes:
    return blocks.compress(b"".join(marketdata.encode(event) for event in events))


def events_in(objects: Mapping[str, bytes]) -> list[Event]:
    """Return the events of some normalized objects, series by series in order, whatever parts they are in."""
    series: dict[str, list[Event]] = {}
    for key, body in objects.items():
        parsed = NormalizedKey.parse(key)
        series.setdefault(f"{parsed.type} {parsed.symbol}", []).extend(unpack(parsed.type, body))
    of_each = [sorted(series[name], key=lambda one: (one.recv_ns, one.conn, one.seq, one.n)) for name in sorted(series)]
    return [event for events in of_each for event in events]


async def lost_some(store, world, *minutes: int) -> dict[str, bytes]:
    """Archive everything, then let some minutes be as if the stream had lost a part of each series, and marked."""
    await world.store_raw(store)
    await run(store, job(world))
    whole = await archive(store)
    for minute in minutes:
        minute_ns = START_NS + minute * NS_PER_MINUTE
        for key, body in whole.items():
            if (parsed := NormalizedKey.parse(key)).minute_ns == minute_ns:
                store.objects[key] = repacked(unpack(parsed.type, body)[1::2])
        await put_mark(store, Shortfall("v1", FEED, minute_ns, {}, {}))
    for key in [key for key in store.objects if key.startswith(RANGE)]:
        del store.objects[key]
    return whole


async def test_a_reprocess_of_the_same_version_fills_what_the_archive_lost(store, world, autojump_clock):
    """The rest becomes a further part; nothing that is there is touched, and the marks are taken away."""
    whole = await lost_some(store, world, 3, 12)
    kept = await archive(store)
    summary = await run(store, job(world))
    assert (summary.problems, summary.filled) == ([], 2)
    filled = await archive(store)
    assert {key: filled[key] for key in kept} == kept
    assert events_in(filled) == events_in(whole)
    assert not [key for key in store.objects if key.endswith(SHORTFALL_ENDING)]
    assert (await run(store, job(world))).filled == 0


async def test_a_dry_run_fills_nothing(store, world, autojump_clock):
    await lost_some(store, world, 3)
    before = dict(store.objects)
    summary = await run(store, job(world, is_dry=True))
    assert (summary.problems, summary.filled) == ([], 0)
    assert store.objects == before


async def test_without_a_mark_fewer_events_are_a_conflict(store, world, autojump_clock):
    """Somebody else made them, with other logic under the same name perhaps."""
    await lost_some(store, world, 3)
    del store.objects[ShortfallKey("v1", FEED, START_NS + 3 * NS_PER_MINUTE).key]
    del store.objects[MinuteKey("v1", FEED, START_NS + 3 * NS_PER_MINUTE).key]
    summary = await run(store, job(world))
    assert {problem.kind for problem in summary.problems} == {"conflict"}
    assert not summary.manifest


async def test_a_mark_does_not_let_a_reprocess_change_what_is_there(store, world, autojump_clock):
    await lost_some(store, world, 3)
    key = next(key for key in sorted(store.objects) if "/trade/" in key and "14-03" in key)
    (first, *rest) = unpack("trade", store.objects[key])
    changed = msgspec.structs.replace(first, price="1")
    store.objects[key] = repacked([changed, *rest])
    summary = await run(store, job(world))
    assert {problem.kind for problem in summary.problems} == {"conflict"}
    assert store.objects[key] == repacked([changed, *rest])
    assert ShortfallKey("v1", FEED, START_NS + 3 * NS_PER_MINUTE).key in store.objects


def without_minute(store, minute_ns: int) -> None:
    """Let a minute be lost whole."""
    for key in [key for key in store.objects if key.startswith("normalized/") and key.endswith(".zst")]:
        if NormalizedKey.parse(key).minute_ns == minute_ns:
            del store.objects[key]


@pytest.mark.parametrize("raw_is", ["torn", "gone"])
async def test_a_mark_stays_where_the_raw_data_does_not_give_everything_any_more(store, world, autojump_clock, raw_is):
    """Mutant: take every mark of the range away."""
    await lost_some(store, world, 3)
    minute_ns = START_NS + 3 * NS_PER_MINUTE
    without_minute(store, minute_ns)
    raw = RawKey(FEED, minute_ns)
    if raw_is == "torn":
        store.objects[raw.key] = store.objects[raw.key][: len(store.objects[raw.key]) // 2]
    else:
        del store.objects[raw.key], store.objects[raw.manifest]
    summary = await run(store, job(world))
    assert (summary.marked, summary.filled) == (1, 0)
    assert ShortfallKey("v1", FEED, minute_ns).key in store.objects


async def test_only_types_of_which_live_capture_made_as_many_are_filled(tmp_path, autojump_clock):
    """A trade of before the warm-up comes again after a reconnect: live dropped it, a reprocess does not know it."""
    world = Captured(tmp_path)
    conn = world.connect()
    world.trade(conn)
    for minute in range(1, 14):
        world.until(minute)
        world.frame(conn, '{"channel":"heartbeat"}')
    after = world.disconnect(conn)
    world.until(14)
    conn = world.connect(after)
    world.frame(conn, trade_frame(1))
    world.traffic(conn)
    world.until(15)
    world.trade(conn)
    await world.end()
    world.archive()
    whole = dict(world.store.objects)
    lost = NormalizedKey("v1", FEED, "book", "BTCUSD", at(14))
    del world.store.objects[lost.key]
    await put_mark(world.store, Shortfall("v1", FEED, at(14), {}, {}))
    summary = await reprocess(Job(FEED, "v1", at(14), at(15)), lambda: world.store)
    assert world.store.objects[lost.key] == whole[lost.key]
    assert [key for key in world.store.objects if "/trade/" in key] == [key for key in whole if "/trade/" in key]
    assert "conflict" in {problem.kind for problem in summary.problems}
    assert (summary.manifest, summary.filled) == ("", 1)  # the books are whole, and nothing else was lost


async def test_a_surplus_of_one_symbol_never_hides_what_another_one_lost(tmp_path, autojump_clock):
    """Live made BTC 2 and ETH 1, and the stream lost one of each; a reprocess would make ETH 2: of a repeat it knows nothing."""
    world = Captured(tmp_path)
    world.config = FeedConfig(symbols=(*world.config.symbols, SymbolSpec("ETH/USD", "ETHUSD", "l2")))
    conn = world.connect()
    world.trade(conn, name="ETH/USD")
    for minute in range(1, 14):
        world.until(minute)
        world.frame(conn, '{"channel":"heartbeat"}')
    after = world.disconnect(conn)
    world.until(14)
    conn = world.connect(after)
    for trade_id, name in ((1, "ETH/USD"), (2, "ETH/USD"), (1001, "BTC/USD"), (1002, "BTC/USD")):
        world.frame(conn, trade_frame(trade_id, name=name))
    world.until(15)
    world.trade(conn)
    await world.end()
    world.archive()
    btc, eth = (NormalizedKey("v1", FEED, "trade", symbol, at(14)) for symbol in ("BTCUSD", "ETHUSD"))
    first, _ = unpack("trade", world.store.objects[btc.key])
    world.store.objects[btc.key] = repacked([first])
    del world.store.objects[eth.key]
    mark = Shortfall("v1", FEED, at(14), {}, {})
    await put_mark(world.store, mark)
    summary = await reprocess(Job(FEED, "v1", at(14), at(15)), lambda: world.store)
    assert {problem.kind for problem in summary.problems} >= {"conflict"}
    assert eth.key not in world.store.objects
    assert (summary.filled, mark.key in world.store.objects) == (0, True)
