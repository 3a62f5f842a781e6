"""The six steps of the original design: fix a normalizer bug, rebuild, compare, let readers use it, delete the old one."""

import json
from collections.abc import Callable

import msgspec
import pytest
import trio

from ssmd.archive.reading import archived_events
from ssmd.archive.shortfall import Shortfall, put_mark
from ssmd.clock import NS_PER_S, now_ns
from ssmd.environment.load import load
from ssmd.model import EVENT_TYPES, Event
from ssmd.protocols.base import TradePrint
from ssmd.protocols.decoder import VERSIONS, FeedDecoder, Versions
from ssmd.reprocess.day_diff import Wanted
from ssmd.reprocess.diff import compare_versions
from ssmd.reprocess.hold import hold_names
from ssmd.reprocess.prune import holdings, prune
from ssmd.reprocess.run import Job, reprocess
from ssmd.store.base import Hold
from ssmd.store.keys import hold_key
from ssmd.store.memory import MemoryStore
from ssmd.store.objects import local_store
from tests.cli.conftest import ask, clean, lab, project  # noqa: F401  the fixtures of commands
from tests.reprocess.test_kill import content
from tests.reprocess.world import FEED, START_NS, World

MINUTES = 12
OTHER_SIDE = {"buy": "sell", "sell": "buy"}


class WithBug(FeedDecoder):
    """Takes the side of a trade for the maker's."""

    def _trade(self, draft, print_: TradePrint) -> None:
        super()._trade(draft, msgspec.structs.replace(print_, side=OTHER_SIDE[print_.side]))


TWO: Versions = {"v1": WithBug, "v2": FeedDecoder}
SPAN = ("--feed", FEED, "--start", "2025-12-06T14:00Z", "--end", "2025-12-06T14:12Z")


@pytest.fixture(scope="module")
def world() -> World:
    return World(MINUTES).capture((4, 0))


async def rebuilt(world: World, store) -> None:
    """Steps 1 to 3: the archive of v1 holds a bug, v2 mends it, the range is reprocessed."""
    await world.store_raw(store)
    for version in TWO:
        summary = await reprocess(Job(FEED, version, START_NS, world.end_ns), lambda: store, versions=TWO)
        assert summary.is_well


async def test_the_diff_shows_exactly_the_intended_change(world, autojump_clock):
    store = MemoryStore()
    await rebuilt(world, store)
    found = await compare_versions(lambda: store, Wanted(FEED, "v1", "v2", START_NS, world.end_ns, sample=2))
    trades = sum(each.new for each in found.series if each.type == "trade")
    assert trades > 20
    assert (found.added, found.removed, found.changed) == (0, 0, trades)
    assert {(each.type, *each.fields) for each in found.series if each.fields} == {("trade", "side")}
    assert all(each.old == each.new for each in found.series)
    assert {(f.name, f.old, f.new) for example in found.samples for f in example.fields} == {("side", "sell", "buy")}
    assert found.problems == []


async def test_equal_versions_are_equal_without_a_look_into_their_objects(world, autojump_clock):
    store = MemoryStore()
    await rebuilt(world, store)
    found = await compare_versions(lambda: store, Wanted(FEED, "v2", "v2", START_NS, world.end_ns))
    assert found.is_equal
    assert found.minutes == found.identical_minutes > 0
    assert found.events_from == found.events_to > 100


@pytest.mark.slow
def test_the_whole_workflow_by_commands(world, tmp_path, lab, ask, monkeypatch):  # noqa: F811
    store = local_store(tmp_path / "data")
    trio.run(rebuilt, world, store)
    monkeypatch.setitem(VERSIONS, "v2", FeedDecoder)  # so that an environment may name it
    place = ("--data-dir", str(tmp_path / "data"), "--env", "lab")

    same = ask("reprocess", "--version", "v2", *SPAN, *place, "-o", "json")  # v2 is there already
    assert (same.code, json.loads(same.out)["complete"]) == (0, True)

    said = ask("reprocess", "diff", "--from", "v1", "--to", "v2", *SPAN, *place, "-o", "json")
    assert said.code == 1
    report = json.loads(said.out)
    assert {(each["type"], *each["fields"]) for each in report["series"] if each["fields"]} == {("trade", "side")}
    assert ask("reprocess", "diff", "--from", "v2", "--to", "v2", *SPAN, *place).code == 0

    refused = ask("reprocess", "prune", "--version", "v1", *place, "--yes")
    assert (refused.code, "v1 is in use" in refused.err) == (2, True)

    promoted = ask("reprocess", "promote", "--version", "v2", *place, "--no-live")
    assert (promoted.code, promoted.out) == (0, "feed/kraken readers use v2\n")
    assert load("lab").spec.feeds["kraken"].served == "v2"
    lab.write_text(lab.read_text().replace("serve_version: v2", "serve_version: v2\n      normalizer: v2"))
    assert load("lab").spec.feeds["kraken"].normalizer == "v2"

    before = content(tmp_path / "data")
    unsaid = ask("reprocess", "prune", "--version", "v1", *place)
    assert (unsaid.code, "--yes goes on without asking" in unsaid.err) == (2, True)
    shown = ask("reprocess", "prune", "--version", "v1", *place, "--dry-run")
    assert shown.code == 0
    assert "version v1 would be pruned: " in shown.out
    assert f"1 ranges, {MINUTES} records of minutes, {MINUTES} of the quality ledger" in shown.out
    assert content(tmp_path / "data") == before
    pruned = ask("reprocess", "prune", "--version", "v1", *place, "--yes")
    assert pruned.code == 0
    assert "version v1 pruned" in pruned.out
    assert content(tmp_path / "data") == without(before, "v1")
    assert trio.run(_events, store, "v2")

    again = ask("reprocess", "prune", "--version", "v1", *place, "--yes")
    assert (again.code, "nothing of version v1" in again.err) == (2, True)
    compared = ask("reprocess", "diff", "--from", "v1", "--to", "v2", *SPAN, *place)
    assert (compared.code, "nothing of feed kraken in version v1; it may have been pruned" in compared.err) == (2, True)
    proved = ask("verify", "--version", "v1", *SPAN, *place)
    assert (proved.code, "nothing of kraken in version v1: it was pruned" in proved.err) == (1, True)
    assert "there is nothing of" not in ask("verify", *SPAN, *place).err
    assert ask("feed", "gaps", "kraken", "--start", "2025-12-06T14:00Z", "--end", "2025-12-06T14:12Z", *place).code == 0
    lab.write_text(lab.read_text().replace("normalizer: v2", "normalizer: v1"))
    gaps = ask("feed", "gaps", "kraken", "--start", "2025-12-06T14:00Z", "--end", "2025-12-06T14:12Z", *place)
    assert (gaps.code, "no quality ledger of kraken in version v1; it may have been pruned" in gaps.err) == (0, True)
    assert "not_yet_archived" in gaps.out


@pytest.mark.slow
def test_a_version_is_not_pruned_while_nothing_else_has_its_minutes(world, tmp_path, lab, ask, monkeypatch):  # noqa: F811
    store = local_store(tmp_path / "data")
    trio.run(rebuilt, world, store)
    monkeypatch.setitem(VERSIONS, "v3", FeedDecoder)
    lab.write_text(lab.read_text().replace("    kraken:\n", "    kraken:\n      normalizer: v3\n", 1))
    place = ("--data-dir", str(tmp_path / "data"), "--env", "lab")
    assert ask("reprocess", "prune", "--version", "v2", *place, "--yes").code == 0
    refused = ask("reprocess", "prune", "--version", "v1", *place, "--yes")
    assert (refused.code, "no other version has what" in refused.err) == (2, True)
    assert trio.run(_events, store, "v1")
    assert ask("reprocess", "prune", "--version", "v1", *place, "--yes", "--force").code == 0
    assert trio.run(store.list, "normalized/") == []
    assert trio.run(store.list, "quality/") == []


def test_nobody_is_led_to_a_version_that_holds_nothing(tmp_path, lab, ask):  # noqa: F811
    place = ("--data-dir", str(tmp_path / "data"), "--env", "lab")
    refused = ask("reprocess", "promote", "--version", "v2", *place, "--no-live")
    assert (refused.code, "is complete for no range" in refused.err) == (2, True)


def without(objects: dict[str, bytes], version: str) -> dict[str, bytes]:
    gone = (f"normalized/{version}/", f"quality/{version}/")
    return {key: body for key, body in objects.items() if not key.startswith(gone)}


@pytest.mark.parametrize("version", ["../v1", "v1/kraken", "", "x" * 33])
def test_what_is_no_version_is_refused_before_anything_is_deleted(version, tmp_path, lab, ask):  # noqa: F811
    refused = ask("reprocess", "prune", f"--version={version}", "--data-dir", str(tmp_path), "--env", "lab", "--yes")
    assert (refused.code, "write one such as v1" in refused.err) == (2, True)


async def test_what_a_version_holds_is_counted_and_nothing_else_of_the_store_is_touched(world, autojump_clock):
    store = MemoryStore()
    await rebuilt(world, store)
    foreign = {
        "normalized/v2/kraken/trade/BTCUSD/2025/12/06/notes.txt": b"mine",
        "quality/v2/kraken/2025/12/06/notes.txt": b"mine",
        "quality/v2/other/2025/12/06/14-00.json": b"{}",
        "holds/mine.json": b"{}",
    }
    store.objects |= foreign
    await put_mark(store, Shortfall("v2", FEED, START_NS, {}, {}))
    before, counts = dict(store.objects), []
    found = await holdings(store, "v2", FEED)
    assert (found.ranges, found.records, found.quality) == (1, MINUTES, MINUTES + 1)
    await prune(store, "v2", FEED, counts.append)
    assert sum(counts) == found.total
    assert store.objects == without(before, "v2") | foreign
    assert (await holdings(store, "v2", FEED)).total == 0


@pytest.mark.parametrize("after", [0, 1, 10, MINUTES + 5, 2 * MINUTES + 3])
async def test_a_prune_that_was_cut_off_anywhere_is_finished_by_the_next_one(world, autojump_clock, after):
    store = MemoryStore()
    await rebuilt(world, store)
    before = dict(store.objects)
    with trio.CancelScope() as scope:
        store.delete = _cutting_off(store.delete, scope, after=after)
        await prune(store, "v2", FEED)
    del store.delete
    assert scope.cancelled_caught
    assert (await holdings(store, "v2", FEED)).total  # so the command does not take it for done
    await prune(store, "v2", FEED)
    assert store.objects == without(before, "v2")


async def test_a_version_of_which_only_the_ledger_is_left_is_still_there_to_be_pruned(world, autojump_clock):
    store = MemoryStore()
    await rebuilt(world, store)
    before = dict(store.objects)
    for key in [key for key in store.objects if key.startswith("normalized/v2/")]:
        del store.objects[key]
    assert (await holdings(store, "v2", FEED)).total == MINUTES
    await prune(store, "v2", FEED)
    assert store.objects == without(before, "v2")


def test_a_version_that_is_being_made_is_not_pruned(world, tmp_path, lab, ask, monkeypatch):  # noqa: F811
    store = local_store(tmp_path / "data")
    trio.run(rebuilt, world, store)
    name = hold_names("v2", FEED)[0]
    hold = Hold(name, FEED, START_NS, world.end_ns, expires_ns=now_ns() + 60 * NS_PER_S)
    trio.run(store.create, hold_key(name), msgspec.json.encode(hold))
    before = content(tmp_path / "data")
    place = ("--data-dir", str(tmp_path / "data"), "--env", "lab")
    refused = ask("reprocess", "prune", "--version", "v2", *place, "--yes")
    assert (refused.code, "a reprocess of kraken v2 is at work" in refused.err) == (2, True)
    assert content(tmp_path / "data") == before
    assert ask("reprocess", "prune", "--version", "v2", *place, "--yes", "--force").code == 0
    assert content(tmp_path / "data") == without({k: v for k, v in before.items() if k != hold_key(name)}, "v2")


async def test_a_prune_that_was_cut_off_leaves_nothing_that_is_served_or_taken_for_done(world, autojump_clock):
    """Mutant: delete the objects first."""
    store = MemoryStore()
    await rebuilt(world, store)
    whole = dict(store.objects)
    with trio.CancelScope() as scope:
        store.delete = _cutting_off(store.delete, scope, after=40)
        await prune(store, "v2", FEED)
    del store.delete
    assert scope.cancelled_caught
    assert not [
        key for key in store.objects if key.startswith(("normalized/v2/kraken/ranges", "normalized/v2/kraken/minutes"))
    ]
    assert [key for key in store.objects if key.startswith("normalized/v2/")]
    await reprocess(Job(FEED, "v2", START_NS, world.end_ns), lambda: store, versions=TWO)
    assert store.objects == whole


def _cutting_off(delete: Callable, scope: trio.CancelScope, after: int) -> Callable:
    count = iter(range(after))

    async def cut_off(key: str) -> None:
        if next(count, None) is None:
            scope.cancel()
        await delete(key)

    return cut_off


async def _events(store, version: str) -> list[Event]:
    return [event for kind in EVENT_TYPES for event in await archived_events(store, version, FEED, kind)]
