import pytest

from ssmd.environment.problem import did_you_mean, dotted
from ssmd.environment.source import parse
from ssmd.environment.structure import check_structure
from tests.environment.sample import MINE, inspected, place_of, unmarked


@pytest.mark.parametrize(
    ("old", "marked", "said"),
    [
        ("kind: Environment", "kind: «»Deployment", "kind is 'Deployment' (allowed: Environment)"),
        ("ssmd/v1", "«»ssmd/v2", "apiVersion is 'ssmd/v2' (allowed: ssmd/v1; did you mean 'ssmd/v1'?)"),
        ("book_depth: 25", "«»book_dept: 25", "unknown field 'book_dept' (did you mean 'book_depth'?)"),
        ("spec:", "«»specs: 1\nspec:", "unknown field 'specs' (did you mean 'spec'?)"),
        (
            "metadata:",
            "metadata:\n  «»owner: me",
            "unknown field 'owner' (known are name)",
        ),
        ("depth: l1}", "depth: «»l3}", "depth is 'l3' (allowed: l1 or l2)"),
        ("25", "«»deep", "book_depth is 'deep' (allowed: a whole number, 1 to 1000; Levels per side of a published book.)"),
        ("25", "«»'25'", "book_depth is '25' (allowed: a whole number, 1 to 1000; write it without quotes)"),
        ("25", "«»25.0", "book_depth is 25.0 (allowed: a whole number, 1 to 1000; Levels per side of a published book.)"),
        ("25", "«»true", "book_depth is true (allowed: a whole number, 1 to 1000; Levels per side of a published book.)"),
        ("25", "«»0", "book_depth is 0 (allowed: a whole number, 1 to 1000; Levels per side of a published book.)"),
        ("25", "«»[25]", "book_depth is a list (allowed: a whole number, 1 to 1000; Levels per side of a published book.)"),
        (
            "enabled: true",
            "enabled: «»'false'",
            "enabled is 'false' (allowed: true or false; write it without quotes)",
        ),
        (
            "internal: BTCUSD",
            "internal: «»btcusd",
            "internal is 'btcusd' (allowed: text, A-Z, 0-9, _ and -, at most 32; write BTCUSD)",
        ),
        (
            "internal: SOLUSD",
            "internal: «»5",
            'internal is 5 (allowed: text, A-Z, 0-9, _ and -, at most 32; put it in quotes for text: "5")',
        ),
        (
            "name: SOL/USD",
            "name: «»" + "X" * 100,
            f"name is '{'X' * 60}' (allowed: text, 1 to 32 characters; What the exchange calls it: BTC/USD.)",
        ),
        (
            "internal: SOLUSD",
            "internal: «»../SOL",
            "internal is '../SOL' (allowed: text, A-Z, 0-9, _ and -, at most 32; What ssmd calls it: BTCUSD.)",
        ),
        ("type: display", "type: «»admin", "type is 'admin' (allowed: display or non-display or trading)"),
        ("- {name: SOL/USD, internal: SOLUSD, depth: l1}", "- «»SOL/USD", "symbols[2] is 'SOL/USD' (allowed: a mapping of keys to values; One captured symbol.)"),
        ("feeds: [kraken]\n      symbols: [B", "feeds: «»kraken\n      symbols: [B", "feeds is 'kraken' (allowed: a list)"),
        ("  normalized:\n", "  «»normal:\n", "unknown field 'normal' (did you mean 'normalized'?)"),
    ],
)  # fmt: skip
def test_a_deviation_says_what_was_seen_what_is_allowed_and_what_to_do(old, marked, said):
    text, places = unmarked(MINE.replace(old, marked, 1))
    problems = [p for p in inspected(text).problems if (p.mark.line, p.mark.column) == places[""]]
    assert [problem.line().partition(": ")[2] for problem in problems] == [said]


def test_each_missing_key_is_reported_at_the_key_that_lacks_it():
    text, places = unmarked(
        "«root»apiVersion: ssmd/v1\nspec:\n  feeds: {«feed»kraken: {}}\n  «storage»storage:\n    «raw»raw: {}\n"
    )
    found = {problem.path: problem for problem in inspected(text).problems}
    assert {path: (problem.mark.line, problem.mark.column) for path, problem in found.items()} == {
        "kind": places["root"],
        "metadata": places["root"],
        "spec.feeds.kraken.symbols": places["feed"],
        "spec.storage.normalized": places["storage"],
        "spec.storage.raw.bucket": places["raw"],
    }
    assert found["kind"].hint == "add kind: Environment"
    assert found["spec.feeds.kraken.symbols"].message == "kraken has no symbols"


def test_a_missing_key_of_a_list_item_is_reported_at_the_item_beside_the_misspelled_one():
    text, places = unmarked(MINE.replace("{name: SOL/USD", "«item»{«key»nam: SOL/USD"))
    found = [(p.code, (p.mark.line, p.mark.column), p.hint) for p in inspected(text).problems]
    assert found == [
        ("missing", places["item"], "add name: What the exchange calls it: BTC/USD"),
        ("unknown_key", places["key"], "did you mean 'name'?"),
    ]


def test_the_structure_alone_gives_every_missing_key_once():
    root = parse(b"a: 1", "f").root
    found = sorted((p.code, p.path) for p in check_structure(root))
    missing = [("missing", key) for key in ("apiVersion", "kind", "metadata", "spec")]
    assert found == [*missing, ("unknown_key", "a")]


def test_a_feed_whose_name_is_not_legal_is_reported_once_at_its_name():
    text, places = unmarked(MINE.replace("feeds:\n", "feeds:\n    «»Kra ken: {symbols: []}\n", 1))
    [problem] = inspected(text).problems
    assert (problem.mark.line, problem.mark.column) == places[""]
    assert problem.message == "the name 'Kra ken' in feeds is not legal"


def test_problems_stand_in_the_order_of_the_file():
    text = MINE.replace("25", "0").replace("ssmd/v1", "ssmd/v9").replace("30", "x")
    marks = [(p.mark.line, p.mark.column) for p in inspected(text).problems]
    assert marks == sorted(marks)
    assert marks[0] == place_of(text, "ssmd/v9")


def test_paths_read_as_people_write_them():
    assert dotted(("spec", "feeds", "kraken", "symbols", 0, "name")) == "spec.feeds.kraken.symbols[0].name"
    assert dotted(()) == ""


@pytest.mark.parametrize(
    ("word", "hint"),
    [("bok_depth", "did you mean 'book_depth'?"), ("x", "none is near"), ("admin", "none is near")],
)
def test_a_suggestion_is_near_or_not_made(word, hint):
    assert did_you_mean(word, ["book_depth", "trading", "display"], otherwise="none is near") == hint


def test_among_many_words_the_nearest_has_the_same_first_letter():
    words = [f"{letter}{at}/USD" for letter in "ABC" for at in range(100)] + ["BTC/USD"]
    assert did_you_mean("BTV/USD", words) == "did you mean 'BTC/USD'?"
    assert did_you_mean("XTC/USD", words) == ""
