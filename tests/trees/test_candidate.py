"""A candidate normalizer beside the primary one: its archive is its version's reprocess, and the primary never notices."""

from collections import Counter
from collections.abc import Mapping

import msgspec
import pytest
import trio

from ssmd import metrics
from ssmd.clock import NS_PER_MINUTE, minute_of
from ssmd.codec.packing import unpack
from ssmd.protocols.base import TradePrint
from ssmd.protocols.decoder import VERSIONS, FeedDecoder
from ssmd.reprocess.run import Job, reprocess
from ssmd.store.keys import NormalizedKey, QualityKey
from ssmd.store.memory import MemoryStore
from tests.actors.fakes import START_NS, virtual_now_ns
from tests.reprocess.live import LiveSystem
from tests.reprocess.world import FEED

OTHER_SIDE = {"buy": "sell", "sell": "buy"}


class OtherSide(FeedDecoder):
    """A second version: the other side of each trade, and none of every fifth."""

    def _trade(self, draft, print_: TradePrint) -> None:
        if int(print_.trade_id) % 5:
            super()._trade(draft, msgspec.structs.replace(print_, side=OTHER_SIDE[print_.side]))


class Raises(FeedDecoder):
    def feed(self, record):
        if record.seq % 100 == 99:
            raise RuntimeError("planted")
        return super().feed(record)


@pytest.fixture(autouse=True)
def _versions(monkeypatch):
    monkeypatch.setitem(VERSIONS, "v2", OtherSide)
    monkeypatch.setitem(VERSIONS, "v3", Raises)


def archived(store: MemoryStore, version: str, since_ns: int = 0) -> Mapping[str, bytes]:
    head = f"normalized/{version}/"
    keys = (NormalizedKey.parse(key) for key in store.objects if key.startswith(head) and key.endswith(".capnp.zst"))
    return {key.key: store.objects[key.key] for key in keys if key.minute_ns >= since_ns}


def events_of(objects: Mapping[str, bytes]) -> dict[tuple[str, int, int], object]:
    parsed = ((NormalizedKey.parse(key), body) for key, body in objects.items())
    return {(e.conn, e.seq, e.n): e for key, body in parsed for e in unpack(key.type, body)}


def verdicts() -> Counter[str]:
    found: Counter[str] = Counter()
    for family in metrics.CANDIDATE_EVENTS.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                found[sample.labels["verdict"]] += int(sample.value)
    return found


async def reprocessed(store: MemoryStore, version: str) -> MemoryStore:
    raw_only = MemoryStore()
    raw_only.objects = {key: body for key, body in store.objects.items() if key.startswith("raw/")}
    span = Job(FEED, version, START_NS, minute_of(virtual_now_ns()) + NS_PER_MINUTE)
    assert (await reprocess(span, lambda: raw_only)).problems == []
    return raw_only


@pytest.mark.slow
async def test_a_candidates_archive_and_ledger_are_what_a_reprocess_with_its_version_gives(
    tmp_path, monkeypatch, seed, autojump_clock
):
    async with trio.open_nursery() as nursery:
        system = LiveSystem(tmp_path, nursery, monkeypatch, seed, candidate="v2")
        await system.start("archiver", "connector")
        await trio.sleep(150)  # so it begins in the middle of a connection, with the primary's books
        before = verdicts()
        begun_ns = minute_of(virtual_now_ns())
        await system.start("candidate")
        await trio.sleep(70)
        await system.crash("candidate")
        await trio.sleep(50)
        await system.crash("connector")
        await trio.sleep(70)
        await system.stop()
        nursery.cancel_scope.cancel()
    store = system.store
    again = await reprocessed(store, "v2")
    for version, since_ns in (("v1", 0), ("v2", begun_ns)):
        alone = again if version == "v2" else await reprocessed(store, version)
        assert events_of(archived(store, version, since_ns)) == events_of(archived(alone, version, since_ns))
    assert len(archived(store, "v2", begun_ns)) > 20
    _same_ledger(store, again, begun_ns)
    _verdicts_are(verdicts() - before, store)
    for stream, head in (("marketdata-candidate", "candidate.v2.kraken."), ("marketdata", "md.kraken.")):
        messages = system.dialer.broker.streams[stream]._messages.values()
        assert messages
        assert all(message.subject.startswith(head) for message in messages)


def _same_ledger(store: MemoryStore, again: MemoryStore, begun_ns: int) -> None:
    """The first minutes apart: what the other version had seen before is not known there."""

    def ledger(objects: Mapping[str, bytes]) -> dict[str, bytes]:
        return {key: body for key, body in objects.items() if key.startswith("quality/v2/")}

    live = {key: body for key, body in ledger(store.objects).items() if QualityKey.parse(key).minute_ns >= begun_ns}
    assert len(live) >= 3
    assert {key: ledger(again.objects)[key] for key in live} == live


def _verdicts_are(counted: Counter[str], store: MemoryStore) -> None:
    """What was counted live is what both archives tell; a crash of the candidate may count a batch a second time."""
    second = archived(store, "v2")
    since_ns = min(NormalizedKey.parse(key).minute_ns for key in second)
    ours, theirs = events_of(second), events_of(archived(store, "v1", since_ns))
    wanted = Counter(
        "added" if name not in theirs else "removed" if name not in ours else
        "same" if ours[name] == theirs[name] else "changed"
        for name in ours.keys() | theirs.keys()
    )  # fmt: skip
    assert wanted["changed"] > 50 < wanted["removed"]
    for verdict, count in wanted.items():
        assert count <= counted[verdict] <= count * 1.2, (verdict, wanted, counted)


@pytest.mark.slow
async def test_a_candidate_that_raises_reaches_nobody(tmp_path, monkeypatch, seed, autojump_clock):
    async with trio.open_nursery() as nursery:
        system = LiveSystem(tmp_path, nursery, monkeypatch, seed, candidate="v3")
        await system.start("archiver", "connector", "candidate")
        await trio.sleep(130)
        await system.stop()
        nursery.cancel_scope.cancel()
    alone = await reprocessed(system.store, "v1")
    assert events_of(archived(system.store, "v1")) == events_of(archived(alone, "v1"))
    assert len(archived(system.store, "v1")) > 20
