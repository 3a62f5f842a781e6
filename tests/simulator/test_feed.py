"""The pace of the feed in virtual time: a session whose queue nobody empties shows what was sent."""

import json

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from ssmd.simulator import Fault, SimulatorConfig
from ssmd.simulator.kraken.venue import KrakenVenue
from ssmd.simulator.ledger import Ledger
from ssmd.simulator.session import Session

SUBSCRIBE = '{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD","ETH/USD"],"snapshot":false}}'


class NoWire:
    def abort(self) -> None:
        pass


class Listening:
    """A venue with one subscribed client; `count()` tells how many data frames were queued."""

    def __init__(self, rate_per_s: float) -> None:
        self.venue = KrakenVenue(SimulatorConfig(rate_per_s=rate_per_s), lambda: 1_700_000_000_000_000_000)
        self._session = Session(0, NoWire(), Ledger(None), 1 << 30)
        self.client = self.venue.join(self._session)
        self.client.receive(SUBSCRIBE)
        self._before = self._session.summary().queued

    def count(self) -> int:
        return self._session.summary().queued - self._before


@pytest.mark.parametrize("rate", [0.5, 7, 50])
async def test_a_minute_holds_sixty_times_the_rate(rate, autojump_clock, nursery):
    feed = Listening(rate)
    nursery.start_soon(feed.venue.run)
    await trio.sleep(60)
    assert feed.count() == pytest.approx(60 * rate, abs=1)
    nursery.cancel_scope.cancel()


async def test_nothing_happens_while_nobody_listens_and_nothing_is_caught_up(autojump_clock, nursery):
    feed = Listening(50)
    nursery.start_soon(feed.venue.run)
    feed.client.leave()
    await trio.sleep(3600)
    assert feed.count() == 0
    again = feed.venue.join(feed.client.session)
    again.receive(SUBSCRIBE)
    before = feed.count()
    await trio.sleep(1)
    assert feed.count() - before == pytest.approx(50, abs=1)
    nursery.cancel_scope.cancel()


async def test_a_pause_is_quiet_and_is_not_caught_up(autojump_clock, nursery):
    feed = Listening(50)
    nursery.start_soon(feed.venue.run)
    await trio.sleep(10)
    before = feed.count()
    feed.venue.inject(Fault("pause", numbers=(30,)))
    await trio.sleep(29.9)
    assert feed.count() == before
    await trio.sleep(10.1)
    assert feed.count() - before == pytest.approx(500, abs=2)
    nursery.cancel_scope.cancel()


async def test_a_burst_lasts_as_long_as_it_says(autojump_clock, nursery):
    feed = Listening(10)
    nursery.start_soon(feed.venue.run)
    await trio.sleep(1)
    before = feed.count()
    feed.venue.inject(Fault("burst", numbers=(1000, 2)))
    await trio.sleep(10)
    assert feed.count() - before == pytest.approx(2000 + 80, abs=25)
    nursery.cancel_scope.cancel()


async def test_a_silence_withholds_data_until_its_end(autojump_clock, nursery):
    feed = Listening(50)
    nursery.start_soon(feed.venue.run)
    feed.venue.inject(Fault("silence", symbol="BTC/USD", numbers=(10,)))
    await trio.sleep(20)
    withheld = [out for out in feed.client.session._queue if out.withheld]
    assert all(b"BTC/USD" in out.frame for out in withheld)
    assert len(withheld) == pytest.approx(250, abs=60)
    nursery.cancel_scope.cancel()


async def test_a_pause_that_is_prolonged_ends_at_its_later_end(autojump_clock, nursery):
    feed = Listening(50)
    nursery.start_soon(feed.venue.run)
    for _ in range(3):
        feed.venue.inject(Fault("pause", numbers=(10,)))
        await trio.sleep(5)
    before = feed.count()
    await trio.sleep(4.9)
    assert feed.count() == before
    await trio.sleep(1)
    assert feed.count() > before
    nursery.cancel_scope.cancel()


WORDS = st.sampled_from(["subscribe", "unsubscribe", "ping", "book", "trade", "ticker", "instrument", "BTC/USD", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | WORDS,
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["channel", "symbol", "depth", "snapshot"]), inner),
)
REQUESTS = st.fixed_dictionaries({}, optional={"method": WORDS | VALUES, "params": VALUES, "req_id": VALUES})


@pytest.mark.slow
@settings(max_examples=30)
@given(message=st.text() | st.binary() | VALUES.map(json.dumps) | REQUESTS.map(json.dumps))
async def test_no_message_of_a_client_raises(message):
    feed = Listening(50)
    feed.client.receive(message)
    assert feed.count() >= 1
    feed.client.leave()


async def test_deeply_nested_json_is_just_malformed():
    feed = Listening(50)
    feed.client.receive("[" * 100_000)
    feed.client.receive('{"method":' * 100_000)
    assert feed.count() == 2
