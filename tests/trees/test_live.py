"""What a command can see and change of a running system, on the bus in memory and a virtual clock."""

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import msgspec
import pytest
import trio
from msgspec.structs import replace

from ssmd.actors.report import BUCKET as STATUS
from ssmd.actors.report import Identity, RefusedSymbol
from ssmd.actors.standing import SlotState, Standing
from ssmd.actors.status_reporter import StatusReporter
from ssmd.actors.symbol_watcher import BUCKET, SymbolWatcher, WatchedFeed, config_key
from ssmd.bus.memory import MemoryBroker, MemoryDialer
from ssmd.errors import BusDown, ConfigError, Conflict
from ssmd.records import FeedConfig, SymbolSpec
from ssmd.supervisor import Backoff, Cell, ChildSpec, Strategy, Supervisor
from ssmd.trees import LiveCopy, LiveLink, Waited, live_link
from ssmd.trees.live import APPEAR_WITHIN_S
from tests.actors.fakes import BTC, ETH, SOL, virtual_now_ns

FILE = FeedConfig(symbols=(BTC,))
TWO = FeedConfig(symbols=(BTC, ETH))


class Far:
    """A connector without an exchange: it follows the live copy, and its one session does what the test says."""

    def __init__(self, dialer: MemoryDialer, instance: str = "one") -> None:
        self.config = Cell(FILE)
        self.standing = Standing(FILE, virtual_now_ns)
        self.applies_after_s = 0.5
        self.refuses: tuple[RefusedSymbol, ...] = ()
        feed = WatchedFeed("kraken", config_key("dev", "kraken"), {"v1"})
        who = Identity("dev", "kraken", instance, 1, 1, "0.1.0")
        backoff = Backoff(first_s=0.1, cap_s=2.0)
        children = [
            ChildSpec("watcher", lambda: SymbolWatcher(feed, dialer, self.config, self.standing), backoff),
            ChildSpec("reporter", lambda: StatusReporter(who, dialer, self.standing, virtual_now_ns), backoff),
        ]
        self.tree = Supervisor("far", Strategy.ONE_FOR_ONE, children)
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.tree.run)
                nursery.start_soon(self._apply)

    def kill(self) -> None:
        self._scope.cancel()

    async def _apply(self) -> None:
        seen = await self.config.wait_newer(0)
        while True:
            await trio.sleep(self.applies_after_s)
            refused = tuple(one for one in self.refuses if one.symbol in {s.symbol for s in seen.value.symbols})
            live = {spec.symbol for spec in seen.value.symbols} - {one.symbol for one in refused}
            before = set(self.standing.cell.get().slots[0].live)
            state = SlotState(seen.version, seen.value, tuple(live & before), tuple(live - before), refused)
            self.standing.tell(0, state)
            await trio.sleep(self.applies_after_s)
            self.standing.tell(0, replace(state, live=tuple(live), pending=()))
            seen = await self.config.wait_newer(seen.version)


class Scene:
    def __init__(self, dialer: MemoryDialer, link: LiveLink, nursery: trio.Nursery) -> None:
        self.dialer = dialer
        self.broker: MemoryBroker = dialer.broker
        self.link = link
        self.nursery = nursery

    def connector(self, instance: str = "one") -> Far:
        far = Far(self.dialer, instance)
        self.nursery.start_soon(far.run)
        return far

    async def put(self, config: FeedConfig) -> int:
        present = await self.link.copy("dev", "kraken")
        return await self.link.put("dev", "kraken", config, present.revision)

    async def wait(self, revision: int, *symbols: str, within_s: float = 30) -> Sequence[Waited]:
        return await self.link.wait("dev", "kraken", revision, symbols, within_s)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    dialer = MemoryDialer()
    async with trio.open_nursery() as nursery, dialer.connect() as bus:
        yield Scene(dialer, LiveLink(bus, virtual_now_ns), nursery)
        nursery.cancel_scope.cancel()


async def took(work: Awaitable[Sequence[Waited]]) -> tuple[float, list[tuple[str, str]]]:
    """Return how long a wait took, and each connector's state and detail."""
    began_s = trio.current_time()
    answers = await work
    return round(trio.current_time() - began_s, 1), [(answer.state, answer.detail) for answer in answers]


# the live copy -----------------------------------------------------------------------------------------------


async def test_a_copy_comes_back_as_it_was_put_with_the_revision_beside_it(autojump_clock):
    async with scene() as it:
        assert await it.link.copy("dev", "kraken") == LiveCopy(0, None)
        assert await it.link.put("dev", "kraken", replace(FILE, revision=99), 0) == 1
        assert await it.link.copy("dev", "kraken") == LiveCopy(1, FILE)
        stored = it.broker.buckets[BUCKET].last("dev.feeds.kraken").value
        assert msgspec.json.decode(stored)["revision"] == 0


async def test_only_the_first_of_two_changes_wins(autojump_clock):
    async with scene() as it:
        first = await it.link.put("dev", "kraken", FILE, 0)
        for expected in (0, first + 1):
            with pytest.raises(Conflict, match="feed kraken in environment dev"):
                await it.link.put("dev", "kraken", TWO, expected)
        assert await it.link.put("dev", "kraken", TWO, first) == 2


async def test_what_every_connector_would_refuse_is_not_put(autojump_clock):
    async with scene() as it:
        for bad in (FeedConfig((BTC, BTC)), FeedConfig((SymbolSpec("x", "../x"),)), FeedConfig((), normalizer="v99")):
            with pytest.raises(ConfigError):
                await it.link.put("dev", "kraken", bad, 0)
        assert await it.link.copies("dev") == {}


@pytest.mark.parametrize("bad", ["", "a.b", "*", ">", "a b", "x" * 33])
async def test_no_name_becomes_a_pattern(bad, autojump_clock):
    async with scene() as it:
        for call in (
            partial(it.link.copy, bad, "kraken"),
            partial(it.link.copy, "dev", bad),
            partial(it.link.copies, bad),
            partial(it.link.reports, bad),
            partial(it.link.remove, "dev", bad, 0),
            partial(it.link.put, "dev", bad, FILE, 0),
            partial(it.link.wait, bad, "kraken", 1, (), 1),
        ):
            with pytest.raises(ConfigError):
                await call()


async def test_a_copy_that_cannot_be_used_says_why(autojump_clock):
    async with scene() as it:
        it.broker.write(BUCKET, "dev.feeds.kraken", b'{"symbols":7}')
        copy = await it.link.copy("dev", "kraken")
        assert (copy.revision, copy.config) == (1, None)
        assert "Expected `array`, got `int`" in copy.problem


async def test_all_copies_of_an_environment_are_there_also_of_feeds_that_no_file_names(autojump_clock):
    async with scene() as it:
        await it.link.put("dev", "kraken", FILE, 0)
        await it.link.put("dev", "gone", TWO, 0)
        await it.link.put("prod", "kraken", TWO, 0)
        it.broker.write(BUCKET, "dev.feeds.bad", b"{")
        copies = await it.link.copies("dev")
        assert {feed: (copy.revision, copy.config) for feed, copy in copies.items()} == {
            "kraken": (1, FILE),
            "gone": (2, TWO),
            "bad": (4, None),
        }


async def test_a_removed_copy_is_gone_and_may_be_put_anew(autojump_clock):
    async with scene() as it:
        revision = await it.link.put("dev", "kraken", FILE, 0)
        for expected in (0, revision + 1):
            with pytest.raises(Conflict):
                await it.link.remove("dev", "kraken", expected)
        await it.link.remove("dev", "kraken", revision)
        assert await it.link.copy("dev", "kraken") == LiveCopy(0, None)
        assert await it.link.copies("dev") == {}
        await it.link.remove("dev", "kraken", 0)
        assert await it.link.put("dev", "kraken", TWO, 0) == 3


# what runs ---------------------------------------------------------------------------------------------------


async def test_reports_are_those_of_the_environment_and_nothing_else(autojump_clock):
    async with scene() as it:
        assert await it.link.reports("dev") == []
        it.connector("two")
        it.connector("one")
        await trio.sleep(1)
        it.broker.write(STATUS.name, "dev.connectors.kraken.three", b"not a report")
        it.broker.write(STATUS.name, "prod.connectors.kraken.one", b"{}")
        assert [(one.feed, one.instance) for one in await it.link.reports("dev")] == [
            ("kraken", "one"),
            ("kraken", "two"),
        ]


async def test_without_any_connector_a_wait_returns_with_nothing_when_one_should_have_reported(autojump_clock):
    async with scene() as it:
        assert await took(it.wait(await it.put(FILE))) == (APPEAR_WITHIN_S, [])


async def test_a_connector_that_has_just_started_is_waited_for(autojump_clock):
    async with scene() as it:
        revision = await it.put(FILE)

        async def start_late() -> None:
            await trio.sleep(3)
            it.connector("one")

        it.nursery.start_soon(start_late)
        took_s, answers = await took(it.wait(revision))
    assert 3 <= took_s < APPEAR_WITHIN_S
    assert answers == [("running", "")]


async def test_a_wait_ends_when_every_connector_runs_it_and_the_symbols_are_not_pending_any_more(autojump_clock):
    async with scene() as it:
        it.connector("one")
        it.connector("two").applies_after_s = 2.0
        await trio.sleep(10)
        assert await took(it.wait(await it.put(TWO), "ETHUSD")) == (4.0, [("running", ""), ("running", "")])
        without = replace(TWO, symbols=(ETH,))
        assert await took(it.wait(await it.put(without))) == (2.0, [("running", ""), ("running", "")])


async def test_a_symbol_that_the_exchange_refuses_ends_the_wait_and_is_told(autojump_clock):
    async with scene() as it:
        it.connector().refuses = (RefusedSymbol("ETHUSD", "Currency pair not supported"),)
        await trio.sleep(10)
        took_s, answers = await took(it.wait(await it.put(TWO), "ETHUSD"))
        assert took_s <= 1
        assert answers == [("running", "the exchange refuses ETHUSD (Currency pair not supported)")]


async def test_a_connector_that_refuses_the_revision_ends_the_wait_at_once(autojump_clock):
    async with scene() as it:
        it.connector()
        await trio.sleep(10)
        revision = await it.put(replace(TWO, shards=2))
        took_s, answers = await took(it.wait(revision, "ETHUSD"))
        assert took_s <= 0.2
        assert answers == [("refused", "normalizer and shards change only with a restart of the connector")]


async def test_a_wait_gives_up_in_time_and_says_what_is_missing(autojump_clock):
    async with scene() as it:
        far = it.connector()
        await trio.sleep(10)
        far.applies_after_s = 20
        before = (await it.link.copy("dev", "kraken")).revision
        revision = await it.put(TWO)
        assert await took(it.wait(revision, "ETHUSD", within_s=3)) == (3, [("behind", f"runs revision {before}")])
        await trio.sleep(20)
        expected = "waits for the exchange to confirm ETHUSD"
        assert await took(it.wait(revision, "ETHUSD", "BTCUSD", within_s=3)) == (3, [("behind", expected)])


async def test_a_later_revision_will_do(autojump_clock):
    async with scene() as it:
        it.connector()
        await trio.sleep(10)
        revision = await it.put(TWO)
        await it.put(replace(TWO, symbols=(BTC, ETH, SOL)))
        took_s, answers = await took(it.wait(revision, "ETHUSD"))
        assert 1 <= took_s <= 2
        assert answers == [("running", "")]


async def test_whoever_runs_it_runs_it_though_a_later_one_was_refused(autojump_clock):
    async with scene() as it:
        it.connector()
        await trio.sleep(10)
        revision = await it.put(TWO)

        async def spoil() -> None:
            await trio.sleep(0.1)
            it.broker.write(BUCKET, "dev.feeds.kraken", b"{")

        it.nursery.start_soon(spoil)
        took_s, answers = await took(it.wait(revision, "ETHUSD"))
        assert answers == [("refused", answers[0][1])], "while it is not there yet, the refusal is the news"
        assert took_s < 1
        await trio.sleep(2)
        assert (await it.link.reports("dev"))[0].revision == revision


async def test_a_silent_connector_holds_nobody_up(autojump_clock):
    async with scene() as it:
        it.connector("one")
        dead = it.connector("two")
        await trio.sleep(10)
        dead.kill()
        took_s, answers = await took(it.wait(await it.put(TWO), "ETHUSD"))
        assert 9.5 <= took_s <= 15.1
        assert answers == [("running", ""), ("silent", "no report for 15 s")]
        assert (await took(it.wait(await it.put(FILE))))[0] == 0.5


async def test_a_connector_that_leaves_is_not_waited_for(autojump_clock):
    async with scene() as it:
        far = it.connector()
        far.applies_after_s = 5
        await trio.sleep(20)
        revision = await it.put(TWO)

        async def leave() -> None:
            await trio.sleep(1)
            far.tree.drain()

        it.nursery.start_soon(leave)
        assert await took(it.wait(revision)) == (1, [])


async def test_a_bucket_made_again_is_not_mistaken_for_the_old_one(autojump_clock):
    """Mutant: `report.revision >= revision`; a connector that still ran 5 was said to run the new 1 or 2."""
    async with scene() as it:
        far = it.connector()
        for symbols in ((ETH,), (SOL,), (ETH, SOL), (BTC, SOL), (BTC,)):
            await it.put(FeedConfig(symbols))
        await trio.sleep(10)
        far.applies_after_s = 3
        it.broker.delete_bucket(BUCKET)
        assert await it.link.copy("dev", "kraken") == LiveCopy(0, None)
        for expected, config in enumerate((TWO, FeedConfig((ETH,))), 1):
            revision = await it.put(config)
            assert revision == expected
            took_s, answers = await took(it.wait(revision, "ETHUSD"))
            assert 3 <= took_s <= 7
            assert answers == [("running", "")]
            assert (await it.link.reports("dev"))[0].revision == revision


async def test_an_old_report_whose_number_lies_between_two_new_ones_does_not_count(autojump_clock):
    async with scene() as it:
        far = it.connector()
        for symbols in ((ETH,), (SOL,)):
            await it.put(FeedConfig(symbols))
        await trio.sleep(10)
        far.applies_after_s = 1e9
        it.broker.delete_bucket(BUCKET)
        first = await it.put(TWO)
        for symbols in ((ETH,), (BTC,)):
            await it.put(FeedConfig(symbols))
        assert await took(it.wait(first, within_s=5)) == (5, [("behind", "runs revision 2")])


async def test_an_old_refusal_with_the_same_number_does_not_count(autojump_clock):
    async with scene() as it:
        far = it.connector()
        it.broker.write(BUCKET, "dev.feeds.kraken", b"{")
        await trio.sleep(10)
        assert (await it.link.reports("dev"))[0].refused_config.revision == 1
        far.applies_after_s = 2
        it.broker.delete_bucket(BUCKET)
        took_s, answers = await took(it.wait(await it.put(TWO), "ETHUSD"))
        assert 4 <= took_s <= 4.5
        assert answers == [("running", "")]


async def test_a_bus_that_goes_away_during_a_wait_is_an_outage(autojump_clock):
    async with scene() as it:
        it.connector().applies_after_s = 1e9
        await trio.sleep(10)
        revision = await it.put(TWO)

        async def lose() -> None:
            await trio.sleep(1)
            it.broker.down()

        it.nursery.start_soon(lose)
        with pytest.raises(BusDown):
            await it.wait(revision)


@pytest.mark.slow
async def test_without_a_bus_the_link_says_so_at_once():
    with trio.fail_after(5), pytest.raises(BusDown):
        async with live_link("nats://127.0.0.1:1"):
            pass
