"""A day's records in one object: read instead of the single ones, and never instead of what they say."""

import pytest

from ssmd.archive.digest import bind_day, unbind
from ssmd.archive.ledger import MinuteState, ledger
from ssmd.archive.shortfall import Shortfall, put_mark
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord
from ssmd.protocols import quality
from ssmd.protocols.quality import Figures, LedgerRecord, Source
from ssmd.store.keys import DigestKey, QualityKey, RawKey
from ssmd.store.memory import MemoryStore

FEED = "kraken"
DAY_NS = 1_764_979_200 * 10**9  # 2025-12-06
MINUTES = 200


def minute(number: int) -> int:
    return DAY_NS + number * NS_PER_MINUTE


def record(number: int, part: int = 0, failed: int = 0) -> LedgerRecord:
    raw = RawKey(FEED, minute(number), part)
    figures = Figures(frames=number, checksums_verified=1, checksums_failed=failed)
    source = Source("0", "unknown")
    return LedgerRecord(
        "v1", FEED, raw.minute_ns, "verified", (), raw.key, "", "w", 0, figures, (), (), ("BTCUSD",), source
    )


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    async def read(self, key: str, size_bytes: int | None = None) -> bytes | None:
        self.reads.append(key)
        return await super().read(key, size_bytes)

    async def file(self, *records: LedgerRecord) -> None:
        for one in records:
            await self.create(QualityKey.of("v1", RawKey.parse(one.raw_key)).key, quality.encode(one))


DIGEST = DigestKey("v1", FEED, DAY_NS).key


@pytest.fixture
async def store(autojump_clock) -> CountingStore:
    made = CountingStore()
    await made.file(*(record(number) for number in range(MINUTES)), record(7, part=1))
    return made


async def states(store: CountingStore) -> list[MinuteState]:
    store.reads.clear()
    return [state async for state in ledger(store, "v1", FEED, DAY_NS, minute(MINUTES))]


async def test_a_bound_day_says_the_same_in_one_reading(store, autojump_clock):
    single = await states(store)
    assert len(store.reads) > MINUTES
    assert await bind_day(store, "v1", FEED, DAY_NS)
    assert await states(store) == single
    assert store.reads == [DIGEST]
    assert sum(len(state.records) for state in single) == MINUTES + 1
    assert not await bind_day(store, "v1", FEED, DAY_NS)


async def test_a_record_that_came_later_counts_and_one_that_is_gone_does_not(store, autojump_clock):
    """Mutant: believe the digest alone."""
    await bind_day(store, "v1", FEED, DAY_NS)
    await store.file(record(9, part=1, failed=3))
    await store.delete(QualityKey("v1", FEED, minute(11)).key)
    found = await states(store)
    assert (found[9].answer, found[9].reasons) == ("suspect", ("checksum",))
    assert (found[11].answer, found[11].reasons) == ("missing", ("no_record",))
    assert set(store.reads) == {DIGEST, QualityKey("v1", FEED, minute(9), 1).key}


async def test_a_mark_counts_beside_a_digest(store, autojump_clock):
    await bind_day(store, "v1", FEED, DAY_NS)
    await put_mark(store, Shortfall("v1", FEED, minute(5), {}, {}))
    assert (await states(store))[5].reasons == ("unarchived",)


@pytest.mark.parametrize("body", [b"", b"no zstd", b"\x28\xb5\x2f\xfd\x00"])
async def test_a_digest_that_cannot_be_read_is_done_without(store, autojump_clock, body):
    single = await states(store)
    store.objects[DIGEST] = body
    with pytest.raises(BadRecord):
        unbind(body)
    assert await states(store) == single


async def test_a_record_that_cannot_be_read_stays_out_of_the_digest_and_unreadable(store, autojump_clock):
    store.objects[QualityKey("v1", FEED, minute(3)).key] = b"{"
    other = quality.encode(record(4))
    store.objects[QualityKey("v1", FEED, minute(5)).key] = other  # says that it is about another minute
    await bind_day(store, "v1", FEED, DAY_NS)
    bound = unbind(store.objects[DIGEST])
    assert len(bound) == MINUTES - 1
    assert bound[RawKey(FEED, minute(4))] == other
    found = await states(store)
    assert (found[3].answer, found[3].reasons) == ("missing", ("unreadable_record",))


async def test_a_page_does_not_fetch_a_day(store, autojump_clock):
    await bind_day(store, "v1", FEED, DAY_NS)
    store.reads.clear()
    found = [state async for state in ledger(store, "v1", FEED, minute(20), minute(22))]
    assert [state.answer for state in found] == ["verified", "verified"]
    assert DIGEST not in store.reads
    assert len(store.reads) < 70


async def test_a_reprocess_binds_anew_what_has_other_records(store, autojump_clock):
    await bind_day(store, "v1", FEED, DAY_NS)
    changed = quality.encode(record(8, failed=2))
    store.objects[QualityKey("v1", FEED, minute(8)).key] = changed
    assert await bind_day(store, "v1", FEED, DAY_NS, anew=True)
    assert (await states(store))[8].reasons == ("checksum",)
    assert store.reads == [DIGEST]
    assert not await bind_day(store, "v1", FEED, DAY_NS, anew=True)


async def test_a_record_of_another_length_is_not_the_one_of_the_digest(store, autojump_clock):
    await bind_day(store, "v1", FEED, DAY_NS)
    store.objects[QualityKey("v1", FEED, minute(8)).key] = b"{"
    assert (await states(store))[8].reasons == ("unreadable_record",)
