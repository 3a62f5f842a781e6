from collections.abc import Mapping
from pathlib import Path

import pytest

from ssmd.environment.changes import Draft, put_symbol, remove_symbol, set_enabled
from ssmd.environment.clients import Client, add_client, remove_client
from ssmd.environment.extend import MAX_CHAIN
from ssmd.environment.load import Inspection, inspect
from ssmd.errors import ConfigError
from tests.environment.sample import CATALOG, MINE, unmarked

CHILD = """\
apiVersion: ssmd/v1
kind: Environment
metadata: {name: child}
extends: mine
spec:
  feeds:
    kraken:
      book_depth: 50
  storage:
    raw: {bucket: ssmd-child-raw, retention_days: 3}
    normalized: {bucket: ssmd-child-normalized}
"""


def read_all(folder: Path, files: Mapping[str, str]) -> Inspection:
    """Write files of YAML and inspect the last one."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    path = folder / f"{list(files)[-1]}.yaml"
    return inspect(path, path.read_bytes(), CATALOG)


def test_what_a_file_does_not_say_is_taken_from_its_base(tmp_path):
    environment = read_all(tmp_path, {"mine": MINE, "child": CHILD}).checked()
    feed = environment.spec.feeds["kraken"]
    assert environment.name == "child"
    assert (feed.book_depth, [symbol.name for symbol in feed.symbols]) == (50, ["BTC/USD", "ETH/USD", "SOL/USD"])
    assert environment.spec.storage.raw.retention_days == 3
    assert environment.spec.storage.normalized.retention_days == 30
    assert [entry.client_id for entry in environment.spec.entitlements] == ["bot", "people"]


def test_a_list_is_replaced_as_a_whole(tmp_path):
    child = CHILD.replace("book_depth: 50", "symbols: [{name: XRP/USD, internal: XRPUSD}]") + "  entitlements: []\n"
    environment = read_all(tmp_path, {"mine": MINE, "child": child}).checked()
    assert [symbol.name for symbol in environment.spec.feeds["kraken"].symbols] == ["XRP/USD"]
    assert environment.spec.feeds["kraken"].book_depth == 25
    assert environment.spec.entitlements == ()


def test_a_feed_of_its_own_stands_beside_those_of_the_base(tmp_path):
    child = CHILD.replace("    kraken:", "    coinbase: {symbols: []}\n    kraken:")
    assert set(read_all(tmp_path, {"mine": MINE, "child": child}).checked().spec.feeds) == {"kraken", "coinbase"}


def test_the_nearest_of_a_chain_of_three_wins(tmp_path):
    middle = CHILD.replace("child", "middle").replace("50", "75")
    last = CHILD.replace("extends: mine", "extends: middle").replace("      book_depth: 50\n", "      shards: 2\n")
    environment = read_all(tmp_path, {"mine": MINE, "middle": middle, "child": last}).checked()
    feed = environment.spec.feeds["kraken"]
    assert (feed.book_depth, feed.shards, len(feed.symbols)) == (75, 2, 3)


def extending(name: str, base: str) -> str:
    return MINE.replace("mine", name).replace("\nspec:", f"\nextends: «»{base}\nspec:", 1)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a"], "Circular dependency: a -> a"),
        (["a", "b"], "Circular dependency: b -> a -> b"),
        (["a", "b", "c"], "Circular dependency: c -> b -> a -> c"),
    ],
)
def test_a_circle_is_named_as_a_whole_where_it_closes(tmp_path, names, said):
    texts = {name: extending(name, names[at - 1]) for at, name in enumerate(names)}
    inspection = read_all(tmp_path, {name: unmarked(text)[0] for name, text in texts.items()})
    [problem] = inspection.problems
    closing = problem.mark
    assert problem.message == said
    assert closing.file == str(tmp_path / f"{names[0]}.yaml")
    assert (closing.line, closing.column) == unmarked(texts[names[0]])[1][""]


def test_a_circle_that_the_file_is_not_part_of_is_found_too(tmp_path):
    files = {"a": extending("a", "b"), "b": extending("b", "a"), "c": extending("c", "a")}
    inspection = read_all(tmp_path, {name: unmarked(text)[0] for name, text in files.items()})
    assert [problem.message for problem in inspection.problems] == ["Circular dependency: a -> b -> a"]


def test_a_chain_too_long_to_follow_is_refused_as_such(tmp_path):
    files = {"e0": MINE.replace("mine", "e0")}
    files |= {f"e{at}": unmarked(extending(f"e{at}", f"e{at - 1}"))[0] for at in range(1, MAX_CHAIN + 2)}
    [problem] = read_all(tmp_path, files).problems
    assert problem.message.endswith("is a long way to look for a value")
    assert problem.allowed == f"at most {MAX_CHAIN} environments"


def test_a_chain_of_the_allowed_length_is_followed(tmp_path):
    files = {"e1": MINE.replace("mine", "e1")}
    files |= {f"e{at}": unmarked(extending(f"e{at}", f"e{at - 1}"))[0] for at in range(2, MAX_CHAIN + 1)}
    read_all(tmp_path, files).checked()


def test_a_base_that_is_not_there_is_reported_at_its_name(tmp_path):
    marked = CHILD.replace("extends: mine", "extends: «»mine")
    text, places = unmarked(marked)
    [problem] = read_all(tmp_path, {"child": text}).problems  # not: everything that the base would have had is missing
    assert problem.message == "Environment 'mine' to extend not found"
    assert problem.hint == f"{tmp_path}/mine.yaml cannot be read: No such file or directory"
    assert (problem.mark.line, problem.mark.column) == places[""]


@pytest.mark.parametrize(
    "name", ["../mine", "/etc/passwd", "", "[mine]", "{a: b}", "5", "''", '"a\\0"', "Mine", "mine.yaml"]
)
def test_a_base_is_an_environment_of_the_same_folder_and_nothing_else(tmp_path, name):
    text, places = unmarked(CHILD.replace("extends: mine", f"extends:{' «»' if name else '«»'}{name}"))
    problem = read_all(tmp_path, {"mine": MINE, "child": text}).problems[0]
    assert problem.message.startswith("extends is ") or problem.code == "character"
    assert (problem.mark.line, problem.mark.column) == places[""]


def test_what_is_wrong_in_the_base_is_reported_with_its_file_and_place(tmp_path):
    base, places = unmarked(MINE.replace("name: SOL/USD", "name: «name»SOL/USDX").replace("# who", "«key»x: 1 #"))
    found = read_all(tmp_path, {"mine": base, "child": CHILD}).problems
    assert [(p.code, p.mark.file, p.mark.line, p.mark.column) for p in found] == [
        ("not_listed", str(tmp_path / "mine.yaml"), *places["name"]),
        ("unknown_key", str(tmp_path / "mine.yaml"), *places["key"]),
    ]


def test_a_base_that_cannot_be_read_is_one_problem_in_its_file(tmp_path):
    found = read_all(tmp_path, {"mine": "a: [", "child": CHILD}).problems
    assert (found[-1].code, found[-1].mark.file) == ("syntax", str(tmp_path / "mine.yaml"))


def test_a_bucket_that_is_taken_over_is_wrong_for_the_file_not_for_its_base(tmp_path):
    text, places = unmarked(CHILD.replace("name: child", "name: «»child").replace("bucket: ssmd-child-normalized", ""))
    [problem] = read_all(tmp_path, {"mine": MINE, "child": text}).problems
    assert problem.message == "Storage bucket 'ssmd-mine-normalized' does not match naming convention"
    assert (problem.mark.file, problem.mark.line) == (str(tmp_path / "child.yaml"), places[""][0])
    assert problem.hint.endswith(f"add spec.storage.normalized.bucket: ssmd-child-normalized to {tmp_path}/child.yaml")


def test_both_buckets_that_are_taken_over_are_reported(tmp_path):
    child = CHILD[: CHILD.index("  storage:")]
    found = read_all(tmp_path, {"mine": MINE, "child": child}).problems
    assert [p.path for p in found] == ["spec.storage.raw.bucket", "spec.storage.normalized.bucket"]


@pytest.mark.parametrize("line", ["apiVersion: ssmd/v1\n", "kind: Environment\n", "metadata: {name: child}\n"])
def test_what_a_file_is_stands_in_the_file_itself(tmp_path, line):
    found = read_all(tmp_path, {"mine": MINE, "child": CHILD.replace(line, "")}).problems
    assert [p.message for p in found] == [f"the environment has no {line.partition(':')[0]}"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda draft: put_symbol(draft, "kraken", "XRP/USD", None, None),
        lambda draft: put_symbol(draft, "kraken", "BTC/USD", "XBT", None),
        lambda draft: remove_symbol(draft, "kraken", "BTC/USD"),
        lambda draft: remove_client(draft, "bot"),
        lambda draft: add_client(draft, Client("new", "display")),
        lambda draft: draft.remove(("spec", "feeds", "kraken", "enabled")),
    ],
)
def test_what_is_taken_over_is_not_edited_here_but_where_it_stands(tmp_path, edit):
    inspection = read_all(tmp_path, {"mine": MINE, "child": CHILD})
    draft = Draft(inspection.source, inspection.root)
    with pytest.raises(ConfigError, match=r"is taken over from .*mine\.yaml:\d+:\d+; change it there"):
        edit(draft)
    assert draft.text == CHILD


def test_what_stands_in_the_file_itself_can_be_edited_beside_a_base(tmp_path):
    inspection = read_all(tmp_path, {"mine": MINE, "child": CHILD})
    draft = Draft(inspection.source, inspection.root)
    assert set_enabled(draft, "kraken", enabled=False) == "feed/kraken disabled"
    assert put_symbol(draft, "coinbase", "BTC-USD", "CBBTC", None) == "feed/coinbase symbol CBBTC added"
    after = inspect(inspection.path, draft.text.encode(), CATALOG).checked()
    assert after.spec.feeds["kraken"].enabled is False
    assert len(after.spec.feeds["kraken"].symbols) == 3
    assert set(after.spec.feeds) == {"kraken", "coinbase"}
