import difflib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ssmd.environment.changes import Draft, default_symbol, put_symbol, remove_symbol, set_enabled
from ssmd.environment.load import inspect
from ssmd.environment.source import parse
from ssmd.errors import ConfigError
from tests.environment.sample import MINE, codes, inspected, source_of

FLOW = "apiVersion: ssmd/v1\nkind: Environment\nmetadata: {name: mine}\nspec: {feeds: {kraken: {symbols: [{name: BTC/USD, internal: BTCUSD}]}}, storage: {raw: {bucket: ssmd-mine-raw}, normalized: {bucket: ssmd-mine-normalized}}}\n"  # fmt: skip


def edited(text: str, edit: Callable[[Draft], str]) -> tuple[str, str]:
    """Return what an edit says, and the text after it, which is valid."""
    inspection = inspected(text)
    draft = Draft(inspection.source, inspection.root)
    said = edit(draft)
    assert codes(inspected(draft.text)) == []
    return said, draft.text


def lines(before: str, after: str) -> list[str]:
    diff = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line for line in diff if line[:3] not in {"---", "+++"} and not line.startswith("@@")]


def test_a_new_symbol_is_added_at_the_end_of_its_feed():
    said, text = edited(MINE, lambda draft: put_symbol(draft, "kraken", "XRP/USD", None, None))
    assert said == "feed/kraken symbol XRPUSD added"
    assert lines(MINE, text) == [
        "+        - name: XRP/USD",
        "+          internal: XRPUSD",
        "+          depth: l1",
    ]


def test_a_symbol_that_is_there_changes_only_in_what_is_given():
    said, text = edited(MINE, lambda draft: put_symbol(draft, "kraken", "ETH/USD", None, "l2"))
    assert said == "feed/kraken symbol ETHUSD changed: depth l2"
    assert lines(MINE, text) == ["-          depth: l1", "+          depth: l2"]
    said, text = edited(MINE, lambda draft: put_symbol(draft, "kraken", "SOL/USD", "XSOL", "l2"))
    assert said == "feed/kraken symbol XSOL changed: internal XSOL, depth l2"
    assert "- {name: SOL/USD, internal: XSOL, depth: l2} # in one line" in text


def test_the_same_again_changes_nothing():
    said, text = edited(MINE, lambda draft: put_symbol(draft, "kraken", "ETH/USD", "ETHUSD", "l1"))
    assert (said, text) == ("feed/kraken symbol ETHUSD unchanged", MINE)


def test_a_feed_that_is_not_there_is_made():
    said, text = edited(MINE, lambda draft: put_symbol(draft, "coinbase", "BTC-USD", "CBBTC", "l2"))
    assert said == "feed/coinbase symbol CBBTC added"
    assert lines(MINE, text) == [
        "+    coinbase:",
        "+      enabled: true",
        "+      symbols:",
        "+        - name: BTC-USD",
        "+          internal: CBBTC",
        "+          depth: l2",
    ]


def test_a_feed_without_a_list_of_symbols_gets_one():
    for empty in ("symbols: []", "symbols:", "symbols: ~"):
        text = MINE[: MINE.index("      symbols:")] + f"      {empty} # none\n\n" + MINE[MINE.index("  storage:") :]
        text = text.replace("[BTCUSD, ETHUSD]", '["*"]')
        _, after = edited(text, lambda draft: put_symbol(draft, "kraken", "XRP/USD", None, None))
        assert "      symbols: # none\n        - name: XRP/USD\n" in after


def test_in_a_file_of_one_line_a_symbol_is_added_in_that_line():
    said, text = edited(FLOW, lambda draft: put_symbol(draft, "kraken", "ETH/USD", None, None))
    assert said == "feed/kraken symbol ETHUSD added"
    assert "internal: BTCUSD}, {name: ETH/USD, internal: ETHUSD, depth: l1}]" in text


def test_our_name_of_another_symbol_is_not_taken_for_the_name_that_is_given():
    """On one exchange a name may read like our name for something else: then a new symbol is meant, not that one."""
    inspection = inspected(MINE)
    draft = Draft(inspection.source, inspection.root)
    assert put_symbol(draft, "kraken", "BTCUSD", "OTHER", None) == "feed/kraken symbol OTHER added"


@pytest.mark.parametrize("name", ["ETH/USD", "ETHUSD"])
def test_a_symbol_is_removed_by_either_of_its_names(name):
    text = MINE.replace("[BTCUSD, ETHUSD]", "[BTCUSD]")
    said, after = edited(text, lambda draft: remove_symbol(draft, "kraken", name))
    assert said == "feed/kraken symbol ETHUSD removed"
    assert lines(text, after) == ['-        - name: "ETH/USD"', "-          internal: 'ETHUSD'", "-          depth: l1"]


def test_added_and_removed_again_the_file_is_as_before():
    inspection = inspected(MINE)
    draft = Draft(inspection.source, inspection.root)
    put_symbol(draft, "kraken", "XRP/USD", None, None)
    remove_symbol(draft, "kraken", "XRP/USD")
    assert draft.text == MINE


def test_several_changes_of_one_draft_see_each_other():
    inspection = inspected(MINE)
    draft = Draft(inspection.source, inspection.root)
    put_symbol(draft, "coinbase", "BTC-USD", None, None)
    assert put_symbol(draft, "coinbase", "BTC-USD", None, None) == "feed/coinbase symbol BTCUSD unchanged"
    assert set_enabled(draft, "coinbase", enabled=False) == "feed/coinbase disabled"
    assert set_enabled(draft, "coinbase", enabled=False) == "feed/coinbase unchanged: disabled already"
    assert remove_symbol(draft, "coinbase", "BTCUSD") == "feed/coinbase symbol BTCUSD removed"
    assert remove_symbol(draft, "kraken", "SOLUSD") == "feed/kraken symbol SOLUSD removed"
    with pytest.raises(ConfigError, match="feed kraken has no symbol 'SOLUSD'"):
        remove_symbol(draft, "kraken", "SOLUSD")


def test_a_feed_is_switched_in_its_line():
    said, text = edited(MINE, lambda draft: set_enabled(draft, "kraken", enabled=False))
    assert said == "feed/kraken disabled"
    assert lines(MINE, text) == ["-      enabled: true # for now", "+      enabled: false # for now"]


def test_a_feed_that_does_not_say_whether_it_is_enabled_is():
    text = MINE.replace("      enabled: true # for now\n", "")
    assert edited(text, lambda draft: set_enabled(draft, "kraken", enabled=True)) == (
        "feed/kraken unchanged: enabled already",
        text,
    )
    assert lines(text, edited(text, lambda draft: set_enabled(draft, "kraken", enabled=False))[1]) == [
        "+      enabled: false"
    ]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda draft: remove_symbol(draft, "kraken", "ETH/USDT"), "feed kraken has no symbol 'ETH/USDT'; did you mean 'ETH/USD'?"),
        (lambda draft: remove_symbol(draft, "kraken", "x"), "feed kraken has no symbol 'x'; it has BTC/USD, ETH/USD, SOL/USD"),
        (lambda draft: remove_symbol(draft, "coinbase", "x"), "feed coinbase has no symbol 'x'; it has none"),
        (
            lambda draft: set_enabled(draft, "coinbase", enabled=True),
            "there is no feed 'coinbase'; there are kraken; `ssmd feed add coinbase NAME` makes one",
        ),
        (
            lambda draft: put_symbol(draft, "kraken", "BTC\x1b[31m", None, None),
            "'BTC\\x1b[31m' has a line break or an invisible character; only visible ones may be written",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_done_says_why_and_changes_nothing(edit, said):
    inspection = inspected(MINE)
    draft = Draft(inspection.source, inspection.root)
    with pytest.raises(ConfigError) as caught:
        edit(draft)
    assert (str(caught.value), draft.text) == (said, MINE)


def test_a_file_that_cannot_be_read_cannot_be_changed():
    with pytest.raises(ConfigError, match=r"^mine\.yaml:1:\d+: not YAML"):
        Draft(parse(b"a: [", "mine.yaml"), None)


@pytest.mark.parametrize(
    ("name", "symbol"), [("BTC/USD", "BTCUSD"), ("eth-usd", "ETHUSD"), ("1INCH/EUR", "1INCHEUR"), ("///", "")]
)
def test_our_name_is_made_of_the_letters_and_digits(name, symbol):
    assert default_symbol(name) == symbol


def test_windows_line_ends_stay():
    text = MINE.replace("\n", "\r\n")
    draft = Draft(source_of(text), None)
    put_symbol(draft, "kraken", "XRP/USD", None, None)
    set_enabled(draft, "kraken", enabled=False)
    assert draft.text.count("\n") == draft.text.count("\r\n") == text.count("\n") + 3


@pytest.mark.slow
def test_a_file_of_two_thousand_symbols_is_checked_and_changed_well_within_a_second_each():
    entries = "".join(f"        - name: S{at}/USD\n          internal: S{at}USD\n" for at in range(1_900))
    text = MINE.replace("        # the big one\n", entries + "        # the big one\n")
    started_s = time.thread_time()
    draft = Draft(source_of(text), None)
    inspect(Path("/nosuch/mine.yaml"), text.encode(), {}).checked()
    checked_s = time.thread_time()
    put_symbol(draft, "kraken", "XRP/USD", None, None)
    inspect(Path("mine.yaml"), draft.text.encode(), {}).checked()
    changed_s = time.thread_time()
    assert checked_s - started_s < 2  # read twice: under two names
    assert changed_s - checked_s < 1  # read once for the edit, its check and the inspection
