"""What must hold beyond the structure; and the run over a file in which almost everything is wrong."""

import time
from pathlib import Path

import pytest

from ssmd.environment.catalog import FeedFacts
from ssmd.environment.load import inspect
from ssmd.environment.rules import MAX_SUGGESTED
from tests.environment.sample import CATALOG, MINE, codes, inspected, unmarked

WRONG = """\
apiVersion: ssmd/v1
kind: «kind»Deployment
metadata:
  name: wrong
spec:
  feeds:
    kraken:
      enabled: «no»no
      book_depth: «deep»500
      normalizer: «version»v7
      shards: «type»many
      «unknown»book_interval: 100
      symbols:
        - name: «xbt»XBT/USD
          internal: BTCUSD
          depth: «l3»l3
        - {name: ETH/USD, internal: «illegal»eth/usd}
        - {name: SOL/USD, internal: SOLUSD}
        - {name: «twice»SOL/USD, internal: «internal»SOLUSD}
        - {name: «xyz»XYZ/USD, internal: XYZUSD}
        - «missing»{name: XRP/USD}
        - {name: DOGE/USD, internal: DOGEUSD, «duplicate»name: AVAX/USD}
    «feed»krakn:
      symbols: []
  storage:
    raw: {bucket: «typo»ssmd-typo-raw, retention_days: «zero»0}
    normalized:
      bucket: «shared»ssmd-wrong-normalized
  jetstream:
    max_bytes: «bytes»1B
    retention_hours: «alias»*hours
  entitlements:
    - {client_id: bot, type: trading, feeds: [«nofeed»bitstamp], symbols: ["*"]}
    - {client_id: «again»bot, type: display, feeds: [kraken], symbols: [«nosymbol»SOLUSDT]}
    - {client_id: «ghost»ghost-bot, feeds: [kraken], symbols: ["*"]}
    - {client_id: «kind of client»who, type: «client type»admin, feeds: [kraken], symbols: ["*"], expires_at: «date»2027-02-30}
"""

SEEN = {
    "kind": ("kind is 'Deployment'", "Environment", ""),
    "no": (
        "no means different things to different YAML readers",
        "",
        'write true or false, or "no" for the text',
    ),
    "deep": ("Feed 'kraken' offers no book of 500 levels", "at most 100", ""),
    "version": ("normalizer 'v7' does not exist", "v1, v2", ""),
    "type": ("shards is 'many'", "a whole number, 1 to 64", "Connections that share the symbols; changes at a restart."),
    "unknown": ("unknown field 'book_interval'", "", "did you mean 'book_interval_ms'?"),
    "xbt": ("Symbol 'XBT/USD' not available on feed 'kraken'", "a name in a list made for the tests", "write BTC/USD"),
    "l3": ("depth is 'l3'", "l1 or l2", ""),
    "illegal": ("internal is 'eth/usd'", "text, A-Z, 0-9, _ and -, at most 32", "What ssmd calls it: BTCUSD."),
    "twice": ("Symbol 'SOL/USD' is used twice on feed 'kraken'", "once", "first at {file}:{sol}"),
    "internal": ("Internal name 'SOLUSD' is used twice on feed 'kraken'", "once", "first at {file}:{solusd}"),
    "xyz": (
        "Symbol 'XYZ/USD' not available on feed 'kraken'",
        "a name in a list made for the tests",
        "`ssmd symbol search XYZ --feed kraken` searches, --online asks the exchange",
    ),
    "missing": ("symbols[5] has no internal", "", "add internal: What ssmd calls it: BTCUSD"),
    "duplicate": ("'name' stands here a second time", "", "first {file}:{doge}"),
    "feed": ("Feed 'krakn' is not known", "coinbase, kraken", "did you mean 'kraken'?"),
    "typo": ("Storage bucket 'ssmd-typo-raw' does not match naming convention", "ssmd-wrong-raw", "write ssmd-wrong-raw"),
    "zero": ("retention_days 0 would keep nothing", "-1 (forever) or at least 1", ""),
    "shared": (
        "Storage bucket 'ssmd-wrong-normalized' is shared with environment 'other'",
        "a bucket of its own",
        "see {folder}/other.yaml:2:27",
    ),
    "bytes": ("max_bytes 1B is not sensible", "10MB to 100TB", ""),
    "alias": ("the alias *hours is not allowed", "", "write the value out"),
    "nofeed": ("Client 'bot' is entitled to feed 'bitstamp', which is not defined", "", "feeds are kraken, krakn"),
    "again": ("Client 'bot' is defined twice", "once", "first at {file}:{bot}; a further grant has no type"),
    "nosymbol": (
        "Client 'bot' is entitled to symbol 'SOLUSDT', which no feed of the entry has",
        "",
        "did you mean 'SOLUSD'?",
    ),
    "ghost": (
        "Client 'ghost-bot' referenced in entitlements but not defined",
        "",
        "give it a type: display, non-display or trading",
    ),
    "client type": ("type is 'admin'", "display or non-display or trading", ""),
    "date": ("expires_at 2027-02-30 is no date of the calendar", "a day and a time that exist", ""),
}  # fmt: skip


def test_every_error_of_a_file_is_reported_in_one_run_with_its_place_and_a_way_out(tmp_path):
    (tmp_path / "other.yaml").write_text("spec:\n  storage: {raw: {bucket: ssmd-wrong-normalized}}\n")
    file = tmp_path / "wrong.yaml"
    more = WRONG
    for name, part in {
        "sol": "SOL/USD, internal: SOLUSD}\n", "solusd": "SOLUSD}\n        - {name: «twice»",
        "doge": "name: DOGE/USD", "bot": "bot, type: trading",
    }.items():  # fmt: skip
        more = more.replace(part, f"«{name}»{part}", 1)
    text, places = unmarked(more)
    at = {name: f"{line}:{column}" for name, (line, column) in places.items()}
    at |= {"file": str(file), "folder": str(tmp_path)}
    found = {
        (p.mark.line, p.mark.column): (p.message, p.allowed, p.hint)
        for p in inspect(file, text.encode(), CATALOG).problems
    }
    assert found == {places[name]: (said, allowed, hint.format_map(at)) for name, (said, allowed, hint) in SEEN.items()}
    assert len(found) >= 14


BROKEN = """\
apiVersion: ssmd/v1
kind: Environment
metadata:
  name: broken
spec:
  feeds:
    kraken:
      symbols:
        - name: BTC/USD
          internal: BTCUSD
        - name: «xyz»XYZ/USD
          internal: XYZUSD
  entitlements:
    - client_id: «ghost»ghost-bot
      feeds: [kraken]
      symbols: ["*"]
  storage:
    raw:
      bucket: «typo»ssmd-typo-raw
    normalized:
      bucket: ssmd-broken-normalized
"""


def test_the_broken_example_of_the_design_has_its_three_errors_word_for_word():
    text, places = unmarked(BROKEN)
    found = inspected(text, "/nosuch/broken.yaml").problems
    assert [problem.message for problem in found] == [
        "Symbol 'XYZ/USD' not available on feed 'kraken'",
        "Client 'ghost-bot' referenced in entitlements but not defined",
        "Storage bucket 'ssmd-typo-raw' does not match naming convention",
    ]
    assert [(p.mark.line, p.mark.column) for p in found] == [places["xyz"], places["ghost"], places["typo"]]


def test_without_a_list_of_names_no_symbol_is_called_unknown():
    facts = {"kraken": FeedFacts(frozenset(), "no list", lambda name: name)}
    assert codes(inspect(Path("/nosuch/broken.yaml"), unmarked(BROKEN)[0].encode(), facts)) == [
        "unknown_client",
        "bucket",
    ]


def test_without_a_catalog_any_feed_may_be():
    text = MINE.replace("kraken", "anything")
    assert inspect(Path("/nosuch/mine.yaml"), text.encode(), {}).problems == ()


def changed(old: str, marked: str) -> list[tuple[str, bool]]:
    """Return the codes of what a change makes wrong, and whether each is at the mark."""
    text, places = unmarked(MINE.replace(old, marked, 1))
    return [(p.code, (p.mark.line, p.mark.column) == places.get("")) for p in inspected(text).problems]


def test_a_candidate_is_another_version_than_the_normalizer():
    assert changed("      book_depth", "      candidate_normalizer: v2\n      book_depth") == []
    assert changed("      book_depth", "      candidate_normalizer: «»v1\n      book_depth") == [("normalizer", True)]


@pytest.mark.parametrize("size", ["10MB", "1.5GB", "100TB", "10 GB"])
def test_a_sensible_stream_size_passes(size):
    assert changed("  # who may", f"  jetstream: {{max_bytes: {size}}}\n  # who may") == []


@pytest.mark.parametrize("size", ["9MB", "0B", "101TB", "999999999999999TB"])
def test_a_stream_size_far_from_any_disk_is_refused(size):
    assert changed("  # who may", f"  jetstream: {{max_bytes: «»{size}}}\n  # who may") == [("size", True)]


@pytest.mark.parametrize("days", ["-1", "1", "36500"])
def test_a_retention_is_forever_or_days(days):
    assert changed("retention_days: 30", f"retention_days: {days}") == []


@pytest.mark.parametrize(
    ("days", "code"), [("0", "retention"), ("-2", "value"), ("36501", "value"), ("false", "value")]
)
def test_another_retention_is_refused(days, code):
    assert changed("retention_days: 30", f"retention_days: «»{days}") == [(code, True)]


def test_more_symbols_than_one_feed_may_have_are_refused():
    many = "".join(f"        - {{name: S{at}, internal: S{at}}}\n" for at in range(2_001))
    text = MINE.replace("        # the big one\n", many)
    problem = next(p for p in inspect(Path("/nosuch/mine.yaml"), text.encode(), {}).problems)
    assert (problem.message, problem.allowed) == ("Feed 'kraken' has 2004 symbols", "at most 2000")


def test_a_client_whose_type_is_left_empty_is_not_defined():
    assert changed("client_id: bot # the bot\n      type: trading", "client_id: «»bot\n      type:") == [
        ("unknown_client", True)
    ]


def test_a_client_may_have_further_grants_without_a_type():
    further = "    - {client_id: bot, feeds: [kraken], symbols: [SOLUSD], data_types: [trade]}\n    # people\n"
    assert changed("    # people\n", further) == []


def test_a_glob_may_name_symbols_to_come_with_a_warning_that_names_the_feeds():
    text = MINE.replace("[BTCUSD, ETHUSD]", '[BTCUSD, "PEPE*"]')
    inspection = inspected(text)
    assert inspection.problems == ()
    assert [warning.message for warning in inspection.warnings] == ["'PEPE*' matches no symbol of kraken yet"]


def test_a_glob_is_matched_against_the_feeds_of_its_entry_only():
    text = MINE.replace("  feeds:\n", "  feeds:\n    coinbase: {symbols: [{name: BTC-USD, internal: CBBTC}]}\n", 1)
    assert [w.message for w in inspected(text.replace('["*"]', '["CB*"]')).warnings] == [
        "'CB*' matches no symbol of kraken yet"
    ]


def test_an_environment_without_a_feed_is_legal_with_a_warning():
    text = "apiVersion: ssmd/v1\nkind: Environment\nmetadata: {name: e}\nspec:\n  feeds: {}\n  storage:\n"
    text += "    raw: {bucket: ssmd-e-raw}\n    normalized: {bucket: ssmd-e-normalized}\n"
    inspection = inspected(text, "/nosuch/e.yaml")
    assert (codes(inspection), [w.code for w in inspection.warnings]) == ([], ["empty"])


@pytest.mark.parametrize("when", ["2027-01-31", "2027-01-31T12:00Z", "2028-02-29T23:59:59Z"])
def test_a_grant_may_end_at_a_date_or_a_time(when):
    assert changed('symbols: ["*"]', f'symbols: ["*"]\n      expires_at: {when}') == []


@pytest.mark.parametrize(("when", "code"), [("2027-02-29", "date"), ("2027-01-31T25:00Z", "date"), ("90d", "value")])
def test_a_time_that_does_not_exist_is_refused(when, code):
    assert changed('symbols: ["*"]', f'symbols: ["*"]\n      expires_at: «»{when}') == [(code, True)]


def test_one_place_shows_the_most_basic_problem_of_a_value_only():
    """Not legal, and so not known either; not of the right form, and so not sensible either."""
    assert changed("25", "«»2000") == [("value", True)]
    assert changed("name: mine", "name: «»Mine") == [("value", True)]


def test_two_thousand_wrong_names_are_reported_in_less_than_a_second():
    facts = {"kraken": FeedFacts(frozenset(f"S{at}X/USD" for at in range(1_500)), "a list", lambda name: name)}
    symbols = "".join(f"        - {{name: S{at}/USD, internal: S{at}USD}}\n" for at in range(1_900))
    text = MINE.replace("        # the big one\n", symbols)
    started_s = time.thread_time()
    problems = inspect(Path("/nosuch/mine.yaml"), text.encode(), facts).problems
    assert time.thread_time() - started_s < 1
    assert len(problems) == 1_903
    assert sum("did you mean" in problem.hint for problem in problems) <= MAX_SUGGESTED
