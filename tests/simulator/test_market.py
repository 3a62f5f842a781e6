from collections import Counter

import pytest

from ssmd.errors import ConfigError
from ssmd.simulator.kraken import frames
from ssmd.simulator.kraken.requests import Params
from ssmd.simulator.kraken.topic import Data, Topic
from ssmd.simulator.market import Market, MarketSettings
from ssmd.simulator.pairs import fixed, listed_pairs
from tests.simulator.peer import RebuiltBook, exact

STAMP = "2026-01-01T00:00:00.000000Z"


class Ear:
    def __init__(self) -> None:
        self.heard: list[Data] = []

    def deliver(self, data: Data) -> None:
        self.heard.append(data)


def topic_of(symbol: str, seed: int = 1, trade_share: float = 0.1) -> Topic:
    pair = listed_pairs((symbol,))[symbol]
    return Topic(Market(pair, frames.level_text(pair), MarketSettings(seed, 1000, trade_share, 600)))


def follow(symbol: str, depth: int, steps: int) -> tuple[RebuiltBook, list[Data], Topic]:
    topic, ear, params = topic_of(symbol), Ear(), Params("book", (symbol,), depth)
    book = RebuiltBook(depth)
    assert book.apply(exact(topic.snapshot(params, STAMP)))
    topic.add(ear, params)
    for _ in range(steps):
        topic.step(STAMP)
    assert all(book.apply(exact(data.text)) for data in ear.heard)
    return book, ear.heard, topic


@pytest.mark.parametrize("symbol", ["BTC/USD", "YFI/USD", "PEPE/USD", "GALA/USD", "NEW/EUR"])
@pytest.mark.parametrize("depth", [10, 25])
def test_every_update_of_a_cut_book_verifies_and_deletes_only_known_levels(symbol, depth):
    book, heard, topic = follow(symbol, depth, 800)
    assert len(heard) > 600
    assert book.unknown_deletes == 0
    true = topic.market.book
    price, qty = topic.market.pair.price_text, topic.market.pair.qty_text
    for name, side in (("bids", true.bids), ("asks", true.asks)):
        assert book.sides[name] == {price(side.ticks(key)): qty(side.levels[key].units) for key in side.keys[:depth]}


@pytest.mark.parametrize("depth", [500, 1000])
def test_deep_books_verify_too(depth):
    book, _, _ = follow("ETH/USD", depth, 100)
    assert len(book.sides["bids"]) == pytest.approx(min(depth, 600), abs=20)


def test_levels_that_fall_out_of_the_depth_are_not_deleted():
    topic, ear, params = topic_of("BTC/USD"), Ear(), Params("book", ("BTC/USD",), 10)
    book = RebuiltBook(10**6)
    book.apply(exact(topic.snapshot(params, STAMP)))
    topic.add(ear, params)
    for _ in range(300):
        topic.step(STAMP)
    assert not all(book.apply(exact(data.text)) for data in ear.heard)


def test_updates_have_the_recorded_mixture_of_levels():
    _, heard, _ = follow("BTC/USD", 10, 3000)
    sizes = Counter(data.text.count('"price"') for data in heard)
    share = {size: count / len(heard) for size, count in sizes.items()}
    assert share[1] == pytest.approx(0.63, abs=0.06)
    assert share[2] == pytest.approx(0.33, abs=0.06)
    assert max(sizes) <= 6


def test_equal_seeds_give_equal_frames_and_other_seeds_others():
    def texts(seed: int) -> list[str]:
        topic, ear = topic_of("ETH/USD", seed), Ear()
        for channel in ("book", "trade", "ticker"):
            topic.add(ear, Params(channel, ("ETH/USD",)))
        for _ in range(200):
            topic.step(STAMP)
        return [data.text for data in ear.heard]

    assert texts(7) == texts(7)
    assert texts(7) != texts(8)


def test_who_listens_does_not_change_what_happens():
    one, two = topic_of("BTC/USD"), topic_of("BTC/USD")
    one.add(Ear(), Params("book", ("BTC/USD",), 1000))
    for _ in range(200):
        one.step(STAMP)
        two.step(STAMP)
    assert one.market.book.asks.texts(600) == two.market.book.asks.texts(600)


def test_the_taker_buys_above_the_middle_and_sells_below_and_ids_have_no_hole():
    topic = topic_of("SOL/USD", trade_share=0.5)
    ids, several = [], 0
    for _ in range(2000):
        middle = (topic.market.book.asks.keys[0] - topic.market.book.bids.keys[0]) / 2
        step = topic.market.step()
        several += len(step.prints) > 1
        for done in step.prints:
            ids.append(done.trade_id)
            assert (done.ticks > middle) == (done.side == "buy")
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert ids[0] == 1000 + len(topic.market.history)
    assert several > 100


@pytest.mark.parametrize("symbol", ["BTC/USD", "GALA/USD", "SHIB/USD"])
def test_the_book_never_crosses_nor_runs_dry(symbol):
    market = topic_of(symbol, trade_share=0.3).market
    for _ in range(3000):
        market.step()
        market.book.take_changes()
        assert market.book.spread_ticks() > 0
        assert -market.book.bids.keys[-1] > 0
    assert min(len(market.book.bids.keys), len(market.book.asks.keys)) > 100


@pytest.mark.parametrize(
    ("number", "digits", "text"), [(635000, 1, "63500.0"), (1, 8, "0.00000001"), (8200, 0, "8200"), (0, 5, "0.00000")]
)
def test_numbers_carry_exactly_the_digits_of_the_pair(number, digits, text):
    assert fixed(number, digits) == text


def test_any_well_formed_symbol_can_be_listed_and_nothing_else():
    assert "NEW/EUR" in listed_pairs(("NEW/EUR",))
    assert len(listed_pairs(())) >= 60
    for symbol in ("btc/usd", "BTCUSD", "BTC/US D", ""):
        with pytest.raises(ConfigError, match="form BTC/USD"):
            listed_pairs((symbol,))
