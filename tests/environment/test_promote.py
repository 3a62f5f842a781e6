from pathlib import Path

import pytest

from ssmd.environment.changes import Draft
from ssmd.environment.diff import differences
from ssmd.environment.load import Inspection, inspect
from ssmd.environment.promote import promote, renamed
from ssmd.errors import ConfigError
from tests.environment.sample import CATALOG, MINE, codes, inspected, place_of
from tests.environment.test_changes import FLOW, lines
from tests.environment.test_extend import CHILD

THEIRS = """\
apiVersion: ssmd/v1
kind: Environment
metadata: {name: theirs}
spec:
  feeds:
    kraken:
      book_interval_ms: 250
      symbols:
        - {name: XRP/USD, internal: XRPUSD}
        - {name: BTC/USD, internal: BTCUSD, depth: l2}
        - {name: ETH/USD, internal: ETHUSD, depth: l2}
    coinbase:
      enabled: false
      symbols:
        - {name: BTC-USD, internal: CBBTC, depth: l1}
  storage:
    raw: {bucket: ssmd-theirs-raw, retention_days: 1}
    normalized: {bucket: ssmd-theirs-normalized, retention_days: 1}
  jetstream: {max_bytes: 99GB}
"""


def promoted(ours: str, theirs: str, name: str = "mine") -> str:
    """Return our text with the feeds of theirs; it is valid, and differs from theirs in no feed."""
    inspection, other = inspected(ours, f"/nosuch/{name}.yaml"), inspected(theirs, "/nosuch/theirs.yaml").checked()
    draft = Draft(inspection.source, inspection.root)
    promote(draft, inspection.checked(), other)
    after = inspected(draft.text, f"/nosuch/{name}.yaml")
    assert codes(after) == []
    assert [each for each in differences(after.checked(), other) if each.path.startswith("feeds")] == []
    return draft.text


def test_feeds_and_symbols_are_taken_over_line_by_line_and_all_else_stays():
    text = promoted(MINE, THEIRS)
    assert lines(MINE, text) == [
        "+          depth: l2",
        "+        - name: XRP/USD",
        "+          internal: XRPUSD",  # the diff takes ETH/USD's old depth for XRP/USD's
        "-        - {name: SOL/USD, internal: SOLUSD, depth: l1} # in one line",
        "-      book_depth: 25 # levels",
        "+      book_depth: 10 # levels",
        "+      book_interval_ms: 250",
        "+    coinbase:",
        "+      enabled: false",
        "+      symbols:",
        "+        - name: BTC-USD",
        "+          internal: CBBTC",
        "+          depth: l1",
    ]


def test_promoted_twice_nothing_more_changes():
    once = promoted(MINE, THEIRS)
    assert promoted(once, THEIRS) == once


@pytest.mark.parametrize("ours", [MINE.replace("[BTCUSD, ETHUSD]", '["*"]'), FLOW], ids=["many lines", "one line"])
def test_there_and_back_the_feeds_are_as_before(ours):
    there = promoted(ours, THEIRS)
    back = promoted(there, ours)
    assert differences(inspected(back).checked(), inspected(ours).checked()) == []


def test_symbols_that_are_all_other_ones_keep_the_layout_of_the_list():
    ours = MINE.replace("[BTCUSD, ETHUSD]", '["*"]')
    other = (
        THEIRS.replace("BTC/USD", "AVAX/USD")
        .replace("ETH/USD", "DOGE/USD")
        .replace("BTCUSD", "AVAX")
        .replace("ETHUSD", "DOGE")
    )
    text = promoted(ours, other)
    assert "        # the big one\n\n        # the second one\n        - name: XRP/USD\n" in text
    assert "        # the end of the symbols\n" in text


def test_two_symbols_may_change_places():
    other = (
        THEIRS.replace("internal: BTCUSD", "internal: X")
        .replace("internal: ETHUSD", "internal: BTCUSD")
        .replace("internal: X,", "internal: ETHUSD,")
    )
    promoted(MINE, other)


def test_a_candidate_that_theirs_does_not_have_goes():
    promoted(MINE.replace("      book_depth", "      candidate_normalizer: v2 # soon\n      book_depth"), THEIRS)


def test_an_environment_without_feeds_takes_over_nothing():
    empty = THEIRS[: THEIRS.index("    kraken:")].rstrip("\n") + " {}\n" + THEIRS[THEIRS.index("  storage:") :]
    assert "  feeds: {}\n" in promoted(MINE[: MINE.index("  # who")], empty)


def test_what_a_client_of_ours_still_needs_is_not_taken_away_in_silence():
    """The result is invalid, and so it is refused: the message names the client."""
    inspection, other = inspected(MINE), inspected(THEIRS.replace("ETHUSD", "XETH"), "/nosuch/theirs.yaml").checked()
    draft = Draft(inspection.source, inspection.root)
    promote(draft, inspection.checked(), other)
    assert [problem.message for problem in inspected(draft.text).problems] == [
        "Client 'bot' is entitled to symbol 'ETHUSD', which no feed of the entry has"
    ]


def child_of(folder: Path) -> Inspection:
    (folder / "mine.yaml").write_text(MINE)
    return inspect(folder / "child.yaml", CHILD.encode(), CATALOG)


def test_symbols_that_are_taken_over_are_not_promoted_into_the_file(tmp_path):
    inspection = child_of(tmp_path)
    draft = Draft(inspection.source, inspection.root)
    line, column = place_of(MINE, "- name: BTC/USD")
    with pytest.raises(ConfigError, match=rf"kraken\.symbols is taken over from .*mine\.yaml:{line}:{column}; change"):
        promote(draft, inspection.checked(), inspected(THEIRS, "/nosuch/theirs.yaml").checked())


def test_a_copy_gets_a_name_and_buckets_of_its_own_and_keeps_its_comments():
    text = renamed(MINE, "yours.yaml", "yours")
    assert lines(MINE, text) == [
        "-  name: mine        # also the file's name",
        "+  name: yours        # also the file's name",
        "-    raw: {bucket: ssmd-mine-raw, retention_days: -1} # forever",
        "+    raw: {bucket: ssmd-yours-raw, retention_days: -1} # forever",
        "-      bucket: ssmd-mine-normalized",
        "+      bucket: ssmd-yours-normalized",
    ]
    assert codes(inspected(text, "/nosuch/yours.yaml")) == []
