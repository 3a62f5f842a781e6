"""The six steps of the original design: fix a normalizer bug, rebuild, compare, let readers use it, delete the old one."""

import json
from collections.abc import Callable

import msgspec
import pytest
import trio

from ssmd.environment.load import load
from ssmd.model import EVENT_TYPES, Event
from ssmd.protocols.base import TradePrint
from ssmd.protocols.decoder import VERSIONS, FeedDecoder, Versions
from ssmd.reprocess import archived_events
from ssmd.reprocess.diff import Wanted, compare_versions
from ssmd.reprocess.prune import prune
from ssmd.reprocess.run import Job, reprocess
from ssmd.store.memory import MemoryStore
from ssmd.store.objects import local_store
from tests.cli.conftest import ask, clean, lab, project  # noqa: F401  the fixtures of commands
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
    found = await compare_versions(store, Wanted(FEED, "v1", "v2", START_NS, world.end_ns, sample=2))
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
    found = await compare_versions(store, Wanted(FEED, "v2", "v2", START_NS, world.end_ns))
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

    unsaid = ask("reprocess", "prune", "--version", "v1", *place)
    assert (unsaid.code, "--yes goes on without asking" in unsaid.err) == (2, True)
    pruned = ask("reprocess", "prune", "--version", "v1", *place, "--yes")
    assert pruned.code == 0
    assert "version v1 pruned" in pruned.out
    assert trio.run(store.list, "normalized/v1/") == []
    assert trio.run(_events, store, "v2")


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


def test_nobody_is_led_to_a_version_that_holds_nothing(tmp_path, lab, ask):  # noqa: F811
    place = ("--data-dir", str(tmp_path / "data"), "--env", "lab")
    refused = ask("reprocess", "promote", "--version", "v2", *place, "--no-live")
    assert (refused.code, "is complete for no range" in refused.err) == (2, True)


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
