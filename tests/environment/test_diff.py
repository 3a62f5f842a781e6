import pytest

from ssmd.environment.diff import BY_CONVENTION, Difference, config_differences, differences, undone
from ssmd.environment.spec import Environment
from ssmd.records import FeedConfig, SymbolSpec
from tests.environment.sample import MINE, inspected

REORDERED = """\
spec:
  entitlements:
    - {symbols: ['*'], feeds: ["kraken"], type: display, name: The people, client_id: people}
    - {symbols: [ETHUSD, BTCUSD], feeds: [kraken], type: trading, client_id: bot}
  storage:
    normalized: {retention_days: 30, bucket: ssmd-yours-normalized}
    raw: {bucket: ssmd-yours-raw}
  feeds:
    kraken:
      shards: 1
      book_depth: 25
      symbols:
        - {depth: l1, internal: SOLUSD, name: SOL/USD}
        - {internal: ETHUSD, name: ETH/USD}
        - {name: BTC/USD, internal: BTCUSD, depth: l2}
metadata: {name: yours}
kind: Environment
apiVersion: ssmd/v1
"""


def environment(text: str, name: str = "mine") -> Environment:
    return inspected(text, f"/nosuch/{name}.yaml").checked()


def test_order_comments_quotes_defaults_and_names_do_not_count():
    assert differences(environment(MINE), environment(REORDERED, "yours")) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("book_depth: 25", "book_depth: 50", [Difference("feeds.kraken.book_depth", "25", "50")]),
        ("enabled: true", "enabled: false", [Difference("feeds.kraken.enabled", "true", "false")]),
        ("depth: l2  ", "depth: l1  ", [Difference("feeds.kraken.symbols[BTC/USD].depth", "l2", "l1")]),
        ("internal: SOLUSD", "internal: XSOL", [Difference("feeds.kraken.symbols[SOL/USD].internal", "SOLUSD", "XSOL")]),
        (
            "        - {name: SOL/USD, internal: SOLUSD, depth: l1} # in one line\n", "",
            [
                Difference("feeds.kraken.symbols[SOL/USD].internal", "SOLUSD", None),
                Difference("feeds.kraken.symbols[SOL/USD].depth", "l1", None),
            ],
        ),
        ("retention_days: 30", "retention_days: 31", [Difference("storage.normalized.retention_days", "30", "31")]),
        ("[BTCUSD, ETHUSD]", "[BTCUSD]", [Difference("entitlements[bot].symbols", "BTCUSD, ETHUSD", "BTCUSD")]),
        ("[BTCUSD, ETHUSD]", "[]", [Difference("entitlements[bot].symbols", "BTCUSD, ETHUSD", "none")]),
        ("type: trading", "type: display", [Difference("entitlements[bot].type", "trading", "display")]),
        ("  # who", "  jetstream: {max_bytes: 1GB}\n  # who", [Difference("jetstream.max_bytes", "10GB", "1GB")]),
        ("book_depth: 25", "candidate_normalizer: v2\n      book_depth: 25", [Difference("feeds.kraken.candidate_normalizer", None, "v2")]),
    ],
)  # fmt: skip
def test_each_field_that_differs_is_named_with_both_values(old, new, found):
    assert differences(environment(MINE), environment(MINE.replace(old, new, 1))) == found


def test_a_feed_of_one_side_only_differs_in_every_field():
    more = MINE.replace("  feeds:\n", "  feeds:\n    coinbase: {symbols: []}\n", 1)
    found = differences(environment(MINE), environment(more))
    assert {each.path.split(".")[1] for each in found} == {"coinbase"}
    assert {each.left for each in found} == {None}
    assert Difference("feeds.coinbase.symbols", None, "none") in found


def test_a_bucket_named_after_its_environment_differs_from_no_other_such():
    mine = environment(MINE)
    raw = mine.spec.storage.raw
    assert raw.bucket != BY_CONVENTION
    assert differences(mine, mine) == []


@pytest.mark.parametrize("is_swapped", [False, True])
def test_the_order_of_the_entries_of_one_client_does_not_count(is_swapped):
    a = "    - {client_id: bot, feeds: [kraken], symbols: [SOLUSD], data_types: [trade, quote]}\n"
    b = "    - {client_id: bot, feeds: [kraken], symbols: [SOLUSD], data_types: [book]}\n"
    one = MINE.replace("    # people\n", a + b)
    other = MINE.replace("    # people\n", b + a.replace("trade, quote", "quote, trade"))
    if is_swapped:
        other = other.replace("  entitlements:\n", "  entitlements:\n" + a, 1).replace("    # people\n", "").replace(a.replace("trade, quote", "quote, trade"), "", 1)  # fmt: skip
    assert differences(environment(one), environment(other)) == []


BTC, ETH = SymbolSpec("BTC/USD", "BTCUSD", "l2"), SymbolSpec("ETH/USD", "ETHUSD")


def test_what_runs_and_what_is_defined_differ_in_words():
    here, there = FeedConfig(symbols=(BTC, ETH)), FeedConfig(symbols=(BTC,), revision=7, enabled=False)
    assert config_differences(here, there) == [
        "symbol ETH/USD is not there live, ETHUSD l1 in the file",
        "enabled is false live, true in the file",
    ]
    assert config_differences(here, FeedConfig(symbols=(ETH, BTC), revision=9)) == []


def test_what_somebody_else_changed_live_is_what_we_neither_began_with_nor_want():
    before, ours = FeedConfig(symbols=(BTC,)), FeedConfig(symbols=(BTC, ETH))
    assert undone(before, ours, before) == []
    assert undone(before, ours, ours) == []
    assert undone(before, ours, FeedConfig(symbols=(BTC,), book_depth=25)) == ["book_depth is 25 live, 10 here"]
    assert undone(before, ours, FeedConfig(symbols=())) == ["symbol BTC/USD is not there live, BTCUSD l2 here"]
