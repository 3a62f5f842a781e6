import pytest

from ssmd.archive.reading import archived_events, raw_keys, raw_records
from ssmd.codec import blocks, marketdata, raw
from ssmd.errors import BadRecord
from ssmd.model import Trade
from ssmd.records import Record
from ssmd.store.base import Store
from ssmd.store.keys import NormalizedKey, RawKey
from ssmd.store.memory import MemoryStore
from tests.actors.fakes import START_NS

MINUTE_NS = 60 * 10**9


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def lines(first: int, count: int) -> bytes:
    return b"".join(raw.encode_frame(START_NS + i, "c-0-1", i, f'{{"i":{i}}}') for i in range(first, first + count))


async def put_raw(store: Store, minute: int, part: int, body: bytes) -> RawKey:
    key = RawKey("kraken", START_NS + minute * MINUTE_NS, part)
    await store.create(key.key, blocks.compress(body))
    await store.create(key.manifest, b"{}\n")
    return key


async def read(store: Store, key: RawKey) -> list[Record]:
    return [record async for block in raw_records(store, key) for record in block]


async def test_raw_objects_come_in_the_order_of_capture_without_their_manifests(store, autojump_clock):
    """Mutant: the order of keys; the part stands before the minute in it."""
    put = [await put_raw(store, *place, b"") for place in ((1, 0), (0, 1), (0, 0), (61, 0))]
    assert list(await raw_keys(store, "kraken")) == [put[2], put[1], put[0], put[3]]


async def test_another_feed_is_not_read(store, autojump_clock):
    await put_raw(store, 0, 0, b"")
    assert list(await raw_keys(store, "coinbase")) == []


async def test_every_record_of_an_object_comes_once_in_order_however_it_was_blocked(store, autojump_clock):
    key = await put_raw(store, 0, 0, lines(0, 20_000))
    assert [record.seq for record in await read(store, key)] == list(range(20_000))


async def test_a_torn_object_gives_everything_before_the_tear_and_then_says_so(store, autojump_clock):
    key = await put_raw(store, 0, 0, lines(0, 10) + b'{"recv_ns":1,"co')
    got: list[Record] = []

    async def read_all() -> None:
        async for block in raw_records(store, key):
            got.extend(block)

    with pytest.raises(BadRecord, match="ends within a line"):
        await read_all()
    assert [record.seq for record in got] == list(range(10))


async def test_an_object_that_is_missing_says_which(store, autojump_clock):
    with pytest.raises(BadRecord, match=r"00-00\.jsonl\.zst is missing"):
        await read(store, RawKey("kraken", START_NS))


async def test_archived_events_of_all_parts_come_in_the_order_of_the_archive(store, autojump_clock):
    def trade(seq: int, at_s: int) -> Trade:
        recv_ns = START_NS + at_s * 10**9
        return Trade("kraken", "BTCUSD", recv_ns, "c-0-1", seq, 0, recv_ns, "1.5", "2.5", "sell", str(seq))

    for part, events in ((0, (trade(0, 1), trade(2, 3))), (1, (trade(1, 2),))):
        key = NormalizedKey("v1", "kraken", "trade", "BTCUSD", START_NS, part)
        await store.create(key.key, blocks.compress(b"".join(map(marketdata.encode, events))))
    assert list(await archived_events(store, "v1", "kraken", "trade")) == [trade(0, 1), trade(1, 2), trade(2, 3)]
    assert list(await archived_events(store, "v2", "kraken", "trade")) == []
