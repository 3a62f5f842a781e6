"""The way back: every byte as it was, nothing overwritten, nothing damaged let through."""

import pytest

from ssmd.backup.inventory import UNDATED
from ssmd.errors import StoreDown
from ssmd.reprocess.verify import VerifySpec, verify
from ssmd.store.keys import RawKey
from tests.backup.world import CountingStore, hashes, site
from tests.reprocess.captured import FEED, at

RAW = RawKey(FEED, at(1))


@pytest.fixture
async def here(tmp_path, autojump_clock):
    return await site(tmp_path)


@pytest.fixture
async def run(here):
    return await here.run()


async def test_what_comes_back_is_equal_and_proved_by_verify(here, run, autojump_clock):
    done, into = await here.restore(run)
    assert (done.problems, hashes(into)) == ([], hashes(here.source))
    assert (done.objects, done.found, done.planned) == (len(hashes(here.source)), 0, len(hashes(here.source)))
    assert into.objects.keys() == hashes(here.source).keys()  # and nothing beside them
    report = await verify(into, VerifySpec(FEED, "v1", at(0), at(5)))
    assert (report.findings, report.minutes) == ([], 4)


async def test_a_second_restore_finds_everything_there(here, run, autojump_clock):
    _, into = await here.restore(run)
    done, _ = await here.restore(run, into)
    assert (done.objects, done.found, done.problems) == (0, len(hashes(here.source)), [])


@pytest.mark.parametrize("creates", [0, 3, 11])
async def test_a_restore_that_breaks_off_goes_on(here, run, creates, autojump_clock):
    into = CountingStore()
    into.creates_left = creates
    with pytest.raises((StoreDown, ExceptionGroup)):
        await here.restore(run, into)
    into.creates_left = 1 << 30
    done, _ = await here.restore(run, into)
    assert (done.problems, done.found, hashes(into)) == ([], creates, hashes(here.source))


async def test_an_object_of_another_size_in_the_way_stops_it_before_anything_is_written(here, run, autojump_clock):
    into = CountingStore()
    into.objects[RAW.key] = b"mine"
    done, _ = await here.restore(run, into)
    assert [(each.key, each.kind) for each in done.problems] == [(RAW.key, "different")]
    assert into.objects == {RAW.key: b"mine"}


async def test_an_object_of_the_same_size_in_the_way_is_named_and_left_alone(here, run, autojump_clock):
    into = CountingStore()
    mine = into.objects[RAW.key] = b"x" * len(here.source.objects[RAW.key])
    done, _ = await here.restore(run, into)
    assert [(each.key, each.kind) for each in done.problems] == [(RAW.key, "different")]
    assert into.objects[RAW.key] == mine


async def test_what_the_system_has_beside_the_backup_stays(here, run, autojump_clock):
    into = CountingStore()
    into.objects[RawKey(FEED, at(9)).key] = b"newer"
    done, _ = await here.restore(run, into)
    assert (done.problems, into.objects[RawKey(FEED, at(9)).key]) == ([], b"newer")


async def test_a_damaged_copy_is_named_and_not_let_through(here, run, autojump_clock):
    here.place.objects[RAW.key] = b"x" + here.place.objects[RAW.key][1:]
    here.place.objects.pop(RAW.manifest)
    done, into = await here.restore(run)
    assert [(each.key, each.kind) for each in done.problems] == [
        (RAW.key, "damaged_in_backup"),
        (RAW.manifest, "missing_in_backup"),
    ]
    assert hashes(into) == {k: v for k, v in hashes(here.source).items() if k not in {RAW.key, RAW.manifest}}


async def test_a_damaged_list_is_named_and_nothing_is_written(here, run, autojump_clock):
    part = next(part for part in run.parts if part.name != UNDATED)
    here.place.objects[part.key] = here.place.objects[part.key][:-1]
    done, into = await here.restore(run)
    assert ([each.kind for each in done.problems], into.objects) == (["damaged_inventory"], {})
