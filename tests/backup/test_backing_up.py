"""What is copied, what is not copied again, and what is never taken for a backup."""

from hashlib import sha256

import msgspec
import pytest
from msgspec.structs import replace

from ssmd.archive.shortfall import Shortfall, put_mark
from ssmd.backup.backing_up import Extra, Job, Unwatched, back_up
from ssmd.backup.inventory import UNDATED, Owner, newest_run, owner_of, read_part, read_run, run_ids
from ssmd.backup.restoring import extras_of
from ssmd.clock import NS_PER_MINUTE
from ssmd.errors import BadRecord, ConfigError, StoreDown
from ssmd.store.keys import KEPT_PREFIXES, MinuteKey, NormalizedKey, QualityKey, RangeKey, RawKey
from tests.backup.world import FILE, OWNER, hashes, site
from tests.reprocess.captured import FEED, at

RAW = RawKey(FEED, at(1))


@pytest.fixture
async def here(tmp_path, autojump_clock):
    return await site(tmp_path)


def test_every_kind_of_key_is_backed_up():
    minute = NS_PER_MINUTE
    keys = [RawKey("f", 0).key, RawKey("f", 0).manifest, QualityKey("v1", "f", 0).key, MinuteKey("v1", "f", 0).key]
    keys += [NormalizedKey("v1", "f", "trade", "X", 0).key, RangeKey("v1", "f", 0, minute).key]
    assert all(key.startswith(KEPT_PREFIXES) for key in keys)


async def test_everything_is_copied_as_it_is_and_listed_with_its_hash(here, autojump_clock):
    run = await here.run()
    assert hashes(here.place) == hashes(here.source)
    listed = {entry.key: entry for part in run.parts for entry in await read_part(here.place, part)}
    assert {key: entry.sha256 for key, entry in listed.items()} == hashes(here.source) | {
        FILE.key: sha256(FILE.body).hexdigest()
    }
    assert run.objects == run.copied == len(listed)
    assert run.size_bytes == run.copied_bytes == sum(len(here.place.objects[key]) for key in listed)
    assert (run.environment, run.source, run.problem_count) == ("lab", "simulator", 0)
    assert [(feed.feed, feed.first_minute, feed.complete_through) for feed in run.feeds] == [(FEED, at(0), at(4))]


async def test_holds_and_probes_are_left_out(here, autojump_clock):
    await here.source.create("holds/mine.json", b"{}")
    await here.source.create("probe/1", b"1")
    await here.run()
    assert not [key for key in here.place.objects if key.startswith(("holds", "probe"))]


async def test_a_second_run_copies_only_what_is_new_and_reads_nothing_else(here, autojump_clock):
    await here.run()
    late = [MinuteKey("v1", FEED, at(1)).key, RangeKey("v1", FEED, at(0), at(2)).key]
    for key in late:
        await here.source.create(key, b"{}")
    run = await here.run()
    assert here.copied() == late
    bodies = {key for key in here.source.reads if not key.startswith("quality/")}
    assert bodies & {key for key in hashes(here.source) if key.endswith("jsonl.zst")} == set()
    assert (run.copied, run.objects) == (2, len(hashes(here.source)) + 1)
    assert (await here.run()).copied == 0
    assert len(await run_ids(here.place)) == 3


async def test_a_day_that_did_not_change_is_listed_once(here, autojump_clock):
    one, two = await here.run(), await here.run()
    assert one.parts == two.parts
    assert len([key for key in here.place.objects if key.startswith("inventories/")]) == len(one.parts) == 2


async def test_what_is_not_complete_is_left_to_the_next_run_but_for_raw_data(here, autojump_clock):
    record = QualityKey.of("v1", RawKey(FEED, at(4))).key
    body = here.source.objects.pop(record)
    run = await here.run()
    (reach,) = run.feeds
    assert (reach.raw_through, reach.complete_through) == (at(4), at(3))
    late = {
        key
        for key in hashes(here.source)
        if "14-04." in key or key.endswith(("00-04.jsonl.zst", "00-04.manifest.json"))
    }
    assert {key for key in late if not key.startswith("raw/")}
    assert hashes(here.source).keys() - hashes(here.place).keys() == {key for key in late if not key.startswith("raw/")}
    here.source.objects[record] = body
    await here.run()
    assert hashes(here.place) == hashes(here.source)


async def test_an_object_being_sealed_is_left_to_the_next_run(here, autojump_clock):
    manifest = here.source.objects.pop(RawKey(FEED, at(4)).manifest)
    await here.run()
    assert RawKey(FEED, at(4)).key not in here.place.objects
    here.source.objects[RawKey(FEED, at(4)).manifest] = manifest
    await here.run()
    assert RawKey(FEED, at(4)).key in here.place.objects


@pytest.mark.parametrize("creates", [1, 2, 7, 19])
async def test_a_run_that_breaks_off_is_no_backup_and_the_next_one_goes_on(here, creates, autojump_clock):
    here.place.creates_left = creates
    with pytest.raises((StoreDown, ExceptionGroup)):
        await here.back_up()
    assert await newest_run(here.place) is None
    half = dict(here.place.objects)
    here.place.creates_left = 1 << 30
    run = await here.run()
    assert not set(here.place.creates) & half.keys()
    assert hashes(here.place) == hashes(here.source)
    assert run.objects == len(hashes(here.source)) + 1
    restored, into = await here.restore(run)
    assert (restored.problems, hashes(into)) == ([], hashes(here.source))


async def test_a_run_that_is_stopped_writes_no_statement(here, autojump_clock):
    class StopsAfter(Unwatched):
        done = 0
        total = 0

        def planned(self, objects, size_bytes):
            super().planned(objects, size_bytes)
            self.total = objects

        def advanced(self, size_bytes):
            super().advanced(size_bytes)
            self.done += 1

        @property
        def stops(self):
            return self.done >= 5

    watcher = StopsAfter()
    outcome = await back_up(Job(OWNER, (), (FILE,)), here.source, here.place, watcher)
    assert outcome.run is None
    assert await run_ids(here.place) == []
    assert 5 <= outcome.copied < watcher.total == len(hashes(here.source))


async def test_a_short_outage_of_either_store_is_waited_for(here, autojump_clock):
    here.place.faults.creates_failing_after_store = 3
    run = await here.run()
    assert run.problem_count == 0
    assert hashes(here.place) == hashes(here.source)


async def test_a_dry_run_writes_nothing_and_tells_how_much_there_is_to_do(here, autojump_clock):
    outcome = await here.back_up(is_dry=True)
    assert (outcome.run, here.place.objects) == (None, {})
    assert outcome.planned.objects == len(hashes(here.source))
    assert outcome.planned.size_bytes == sum(len(here.source.objects[key]) for key in hashes(here.source))


# damage ------------------------------------------------------------------------------------------------------


async def test_a_damaged_raw_object_is_told_by_its_manifest_and_not_copied(here, autojump_clock):
    here.source.objects[RAW.key] = here.source.objects[RAW.key][:-1] + b"?"
    run = await here.run()
    assert [(each.key, each.kind) for each in run.problems] == [(RAW.key, "damaged_source")]
    assert "its manifest says" in run.problems[0].detail
    assert RAW.key not in here.place.objects
    assert hashes(here.place).keys() == hashes(here.source).keys() - {RAW.key}


@pytest.mark.parametrize(
    "key",
    [RAW.key, RAW.manifest, QualityKey.of("v1", RAW).key, NormalizedKey("v1", FEED, "trade", "BTCUSD", at(1)).key],
)
async def test_an_object_damaged_later_never_replaces_its_good_copy(here, key, autojump_clock):
    good = hashes(here.source)
    await here.run()
    here.source.objects[key] = b"x" + here.source.objects[key][1:]
    run = await here.run()
    assert [(each.key, each.kind) for each in run.problems] == [(key, "damaged_source")]
    assert hashes(here.place) == good
    restored, into = await here.restore(run)  # the newest backup still has the good one
    assert (restored.problems, hashes(into)) == ([], good)


async def test_a_copy_that_was_cut_off_is_made_good_beside_it(here, autojump_clock):
    first = await here.run()
    here.place.objects[RAW.key] = here.place.objects[RAW.key][:-7]
    run = await here.run()
    assert [(each.key, each.kind) for each in run.problems] == [(RAW.key, "damaged_copy")]
    restored, into = await here.restore(run)
    assert (restored.problems, hashes(into)) == ([], hashes(here.source))
    assert [each.kind for each in (await here.restore(first))[0].problems] == ["damaged_in_backup"]
    assert (await here.run()).problem_count == 0


async def test_a_copy_that_is_gone_is_made_again(here, autojump_clock):
    await here.run()
    del here.place.objects[RAW.key]
    run = await here.run()
    assert (here.copied(), run.problem_count) == ([RAW.key], 0)


async def test_a_damaged_list_is_made_anew(here, autojump_clock):
    first = await here.run()
    part = next(part for part in first.parts if part.name != UNDATED)
    here.place.objects[part.key] = b"rubbish"
    run = await here.run()
    restored, into = await here.restore(run)
    assert (restored.problems, hashes(into)) == ([], hashes(here.source))
    assert (await here.restore(first))[0].problems[0].kind == "damaged_inventory"


async def test_a_damaged_statement_hides_no_other_one(here, autojump_clock):
    first = await here.run()
    second = await here.run()
    here.place.objects[f"runs/{second.id}.json"] = b"{"
    assert await newest_run(here.place) == first
    with pytest.raises(BadRecord, match=f"backup {second.id} cannot be read"):
        await read_run(here.place, second.id)


# what changes, what goes ---------------------------------------------------------------------------------------


async def test_an_object_that_was_rebuilt_is_kept_in_both_forms(here, autojump_clock):
    key = NormalizedKey("v1", FEED, "trade", "BTCUSD", at(1)).key
    other = here.source.objects[NormalizedKey("v1", FEED, "trade", "BTCUSD", at(4)).key]
    first, was = await here.run(), here.source.objects[key]
    here.source.objects[key] = other
    second = await here.run()
    assert second.problem_count == 0
    for run, body in ((first, was), (second, other)):
        assert (await here.restore(run))[1].objects[key] == body
    assert (await here.run()).copied == 0


async def test_an_environment_that_changed_is_kept_in_both_forms(here, autojump_clock):
    changed = Extra(FILE.key, b"kind: Environment # changed\n")
    runs = [await here.run(), await here.run(extras=(changed,)), await here.run()]
    held = [[extra.body for extra in (await extras_of(here.place, run))[0]] for run in runs]
    assert held == [[FILE.body], [changed.body], [FILE.body]]


async def test_what_retention_took_stays_in_the_earlier_backup(here, autojump_clock):
    good = hashes(here.source)
    first = await here.run()
    swept = [
        key
        for key in here.source.objects
        if "14-00." in key or key.endswith(("00-00.jsonl.zst", "00-00.manifest.json"))
    ]
    for key in swept:
        del here.source.objects[key]
    second = await here.run()
    assert second.gone == len(swept) > 2
    assert hashes(here.place) == good
    assert hashes((await here.restore(first))[1]) == good
    assert hashes((await here.restore(second))[1]) == hashes(here.source)
    assert (await here.run()).gone == 0


async def test_a_source_that_lost_everything_leaves_the_backups_as_they_are(here, autojump_clock):
    first = await here.run()
    count = len(here.source.objects)
    here.source.objects.clear()
    second = await here.run()
    assert (second.gone, second.objects) == (count, 1)
    assert (await here.restore(first))[0].objects == count


async def test_one_feed_alone_keeps_what_is_listed_of_the_others(here, autojump_clock):
    for key, body in list(here.source.objects.items()):
        if not key.startswith("raw/"):
            here.source.objects[key.replace(f"/{FEED}/", "/other/")] = body
    both = hashes(here.source)
    await here.run()
    for key in [key for key in here.source.objects if "/other/" in key]:
        del here.source.objects[key]
    run = await here.run(feeds=(FEED,))
    assert (run.gone, [feed.feed for feed in run.feeds]) == (0, [FEED, "other"])
    assert hashes((await here.restore(run))[1]) == both


# whose backups -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        (Owner(1, "prod", "simulator"), "holds backups of environment prod, not of lab"),
        (Owner(1, "lab", "exchange"), "holds data of the exchange, not of the simulator"),
        (Owner(2, "lab", "simulator"), "is of format 2, this ssmd knows 1"),
    ],
)
async def test_backups_of_two_systems_are_never_mixed(here, owner, said, autojump_clock):
    here.place.objects["backup.json"] = msgspec.json.encode(owner)
    before = dict(here.place.objects)
    with pytest.raises(ConfigError, match=said):
        await here.back_up()
    assert here.place.objects == before


async def test_a_place_says_whose_it_is(here, autojump_clock):
    await here.run()
    assert await owner_of(here.place) == OWNER


async def test_a_mark_that_was_taken_away_and_set_anew_is_no_damage(here, autojump_clock):
    mark = Shortfall("v1", FEED, at(1), {"trade": 9}, {"trade": 4})
    await put_mark(here.source, mark)
    await here.run()
    await here.source.delete(mark.key)
    await put_mark(here.source, replace(mark, archived={"trade": 5}))
    run = await here.run()
    assert run.problems == ()
    restored, into = await here.restore(run)
    assert (restored.problems, into.objects[mark.key]) == ([], here.source.objects[mark.key])
