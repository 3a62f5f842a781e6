"""Random archives, random changes between runs, random failures: the newest backup is always the whole source."""

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from ssmd.backup.backing_up import Job, back_up
from ssmd.backup.inventory import Run
from ssmd.backup.restoring import restore
from ssmd.clock import NS_PER_MINUTE
from ssmd.codec import blocks
from ssmd.errors import StoreDown
from ssmd.store.keys import MinuteKey, NormalizedKey, RangeKey
from ssmd.store.memory import MemoryStore
from tests.backup.world import OWNER, CountingStore, hashes

minute_ns = st.integers(0, 4_000).map(lambda hours: hours * 60 * NS_PER_MINUTE)
feed = st.sampled_from(["one", "two-2", "minutes", "trade"])
version = st.sampled_from(["v1", "v22"])
key = st.one_of(
    st.builds(
        NormalizedKey,
        version,
        feed,
        st.sampled_from(["trade", "quote", "book"]),
        st.sampled_from(["X", "2025"]),
        minute_ns,
    ),
    st.builds(MinuteKey, version, feed, minute_ns),
    st.builds(lambda v, f, at: RangeKey(v, f, at, at + NS_PER_MINUTE), version, feed, minute_ns),
).map(lambda found: found.key)
body = st.binary(max_size=3).map(lambda text: b'{"x":%d}' % len(text))
change = st.tuples(st.dictionaries(key, body, max_size=4), st.integers(0, 40))


@settings(max_examples=40)
@given(st.lists(change, min_size=1, max_size=4))
def test_the_newest_backup_restores_the_source_as_it_was(changes):
    trio.run(_all, changes, clock=MockClock(autojump_threshold=0))


async def _all(changes):
    source, place = CountingStore(), CountingStore()
    runs: list[tuple[Run, dict[str, str]]] = []
    for number, (objects, creates) in enumerate(changes):
        for name, content in objects.items():  # also in the place of others: a version that was rebuilt
            source.objects[name] = content if name.endswith("json") else blocks.compress(content)
        for name in list(source.objects)[:number]:
            del source.objects[name]
        runs += await _run(source, place, number, creates)
    for run, held in runs:
        into = MemoryStore()
        done = await restore(place, run, into)
        assert (done.problems, hashes(into)) == ([], held)
    assert hashes(source) == runs[-1][1]


async def _run(source, place, number, creates):
    """Back up with a place that fails after some creates, then with a sound one."""
    for left in (creates, 1 << 30):
        place.creates_left = left
        at_ns = NS_PER_MINUTE * (2 * number + (left > creates))
        try:
            outcome = await back_up(Job(OWNER), source, place, now=lambda at=at_ns: at)
        except (StoreDown, ExceptionGroup):
            continue
        assert outcome.problems == ()
        return [(outcome.run, hashes(source))]
    raise AssertionError("the sound place failed")
