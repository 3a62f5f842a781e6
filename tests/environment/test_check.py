import pytest

from ssmd.environment.check import MAX_SYMBOLS, check_feed
from ssmd.errors import ConfigError
from ssmd.records import FeedConfig, SymbolSpec

BTC = SymbolSpec("BTC/USD", "BTCUSD")


def test_a_good_configuration_passes():
    check_feed("kraken", FeedConfig(symbols=(BTC, SymbolSpec("ETH/USD", "ETHUSD", "l2"))), {"v1"})


@pytest.mark.parametrize(
    ("feed", "config", "said"),
    [
        ("kra ken", FeedConfig(symbols=(BTC,)), "feed name 'kra ken'"),
        ("kraken", FeedConfig(symbols=(BTC,), normalizer="v9"), "normalizer is 'v9'; known are v1"),
        ("kraken", FeedConfig(symbols=(BTC,), candidate_normalizer="v9"), "candidate_normalizer is 'v9'; known are v1"),
        ("kraken", FeedConfig(symbols=(BTC,), candidate_normalizer="v1"), "which is the normalizer already"),
        ("kraken", FeedConfig(symbols=(BTC, BTC)), "'BTC/USD' stands there 2 times"),
        ("kraken", FeedConfig(symbols=(BTC, SymbolSpec("XBT/USD", "BTCUSD"))), "symbol 'BTCUSD' stands there 2 times"),
        ("kraken", FeedConfig(symbols=(SymbolSpec("BTC/USD", "btc/usd"),)), "symbol 'btc/usd' is not made of"),
        ("kraken", FeedConfig(symbols=(SymbolSpec("BTC/USD", "BTC.>"),)), "is not made of"),
        ("kraken", FeedConfig(symbols=(BTC,) * (MAX_SYMBOLS + 1)), f"at most {MAX_SYMBOLS}"),
    ],
)
def test_a_bad_one_says_what_and_what_is_allowed(feed, config, said):
    with pytest.raises(ConfigError) as caught:
        check_feed(feed, config, {"v1"})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        FeedConfig(symbols=(BTC,), book_depth=0),
        FeedConfig(symbols=(BTC,), book_depth=-10),
        FeedConfig(symbols=(BTC,), book_depth=10**9),
        FeedConfig(symbols=(BTC,), book_interval_ms=-1),
        FeedConfig(symbols=(BTC,), book_interval_ms=10**12),
        FeedConfig(symbols=(BTC,), shards=0),
        FeedConfig(symbols=(SymbolSpec("", "BTCUSD"),)),
        FeedConfig(symbols=(SymbolSpec("B" * 10_000, "BTCUSD"),)),
    ],
)
def test_a_live_copy_is_held_to_the_limits_of_the_file(config):
    """A value from the bus has seen no environment file."""
    with pytest.raises(ConfigError):
        check_feed("kraken", config, {"v1"})
