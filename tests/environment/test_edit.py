import copy
import difflib
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ssmd.environment.edit import append, remove, scalar_text, set_value
from ssmd.environment.source import Mapping, Node, Scalar, lookup, parse, plain
from ssmd.errors import ConfigError
from tests.environment.odd_yaml import TEXTS, VALUES, documents, paths_of
from tests.environment.sample import MINE, source_of

KRAKEN = ("spec", "feeds", "kraken")
SYMBOLS = (*KRAKEN, "symbols")
BOT = ("spec", "entitlements", 0)
PEPE = {"name": "PEPE/USD", "internal": "PEPEUSD", "depth": "l1"}


def hunks(before: str, after: str) -> list[str]:
    """Return the changed lines, with their signs and in their order, and the line before each place."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    lines = [line for line in difflib.unified_diff(old, new, n=0, lineterm="") if line[:3] not in {"---", "+++"}]
    return [line for line in lines if not line.startswith("@@")]


def after_line(text: str, line: str) -> str:
    """Return the line that precedes another one."""
    lines = text.splitlines(keepends=True)
    return lines[lines.index(line) - 1]


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        ((*KRAKEN, "enabled"), False, ["-      enabled: true # for now\n", "+      enabled: false # for now\n"]),
        ((*KRAKEN, "book_depth"), 50, ["-      book_depth: 25 # levels\n", "+      book_depth: 50 # levels\n"]),
        ((*SYMBOLS, 0, "depth"), "l1", ["-          depth: l2        # books too\n", "+          depth: l1        # books too\n"]),
        ((*SYMBOLS, 1, "internal"), "XETH", ["-          internal: 'ETHUSD'\n", "+          internal: XETH\n"]),
        (
            (*SYMBOLS, 2, "depth"), "l2",
            ["-        - {name: SOL/USD, internal: SOLUSD, depth: l1} # in one line\n",
             "+        - {name: SOL/USD, internal: SOLUSD, depth: l2} # in one line\n"],
        ),
        ((*KRAKEN, "shards"), 2, ["+      shards: 2\n"]),
        (("spec", "storage", "raw", "x"), 1, [
            "-    raw: {bucket: ssmd-mine-raw, retention_days: -1} # forever\n",
            "+    raw: {bucket: ssmd-mine-raw, retention_days: -1, x: 1} # forever\n",
        ]),
        ((*BOT, "feeds"), [], ["-      feeds: [kraken]\n", "+      feeds: []\n"]),
        ((*BOT, "symbols"), ["*"], [
            "-      symbols: [BTCUSD, ETHUSD] # no more\n", '+      symbols: ["*"] # no more\n',
        ]),
        (("spec", "jetstream"), {"max_bytes": "2GB"}, ["+  jetstream:\n", "+    max_bytes: 2GB\n"]),
        (("spec", "feeds", "coinbase"), {"enabled": True, "symbols": [PEPE]}, [
            "+    coinbase:\n", "+      enabled: true\n", "+      symbols:\n", "+        - name: PEPE/USD\n",
            "+          internal: PEPEUSD\n", "+          depth: l1\n",
        ]),
        (("spec", "feeds", "no"), {"symbols": []}, ['+    "no":\n', "+      symbols: []\n"]),
        ((*BOT, "expires_at"), "2027-01-31", ['+      expires_at: "2027-01-31"\n']),
    ],
)  # fmt: skip
def test_setting_a_value_changes_its_line_only(path, value, changed):
    assert hunks(MINE, set_value(source_of(MINE), path, value)) == changed


def test_an_added_item_stands_behind_the_last_one_and_before_the_comment_at_the_end():
    text = append(source_of(MINE), SYMBOLS, PEPE)
    assert hunks(MINE, text) == [
        "+        - name: PEPE/USD\n",
        "+          internal: PEPEUSD\n",
        "+          depth: l1\n",
    ]
    assert after_line(text, "        # the end of the symbols\n") == "          depth: l1\n"


def test_several_items_are_added_at_once():
    text = append(source_of(MINE), (*BOT, "symbols"), "SOLUSD", "XRPUSD")
    assert hunks(MINE, text)[1] == "+      symbols: [BTCUSD, ETHUSD, SOLUSD, XRPUSD] # no more\n"


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ((*SYMBOLS, 0), [
            "        - name: BTC/USD    # what they call it\n", "          internal: BTCUSD # what we call it\n",
            "          depth: l2        # books too\n",
        ]),
        ((*SYMBOLS, 1), ['        - name: "ETH/USD"\n', "          internal: 'ETHUSD'\n", "          depth: l1\n"]),
        ((*SYMBOLS, 2), ["        - {name: SOL/USD, internal: SOLUSD, depth: l1} # in one line\n"]),
        ((*KRAKEN, "book_depth"), ["      book_depth: 25 # levels\n"]),
        (("spec", "entitlements", 0), [
            "    - client_id: bot # the bot\n", "      type: trading\n", "      feeds: [kraken]\n",
            "      symbols: [BTCUSD, ETHUSD] # no more\n",
        ]),
    ],
)  # fmt: skip
def test_what_is_removed_takes_its_own_lines_along_and_no_comment_of_a_neighbour(path, gone):
    assert hunks(MINE, remove(source_of(MINE), path)) == ["-" + line for line in gone]


def test_an_item_of_a_list_in_one_line_goes_with_one_comma():
    for at, left in ((0, "[ETHUSD]"), (1, "[BTCUSD]")):
        assert f"symbols: {left} # no more" in remove(source_of(MINE), (*BOT, "symbols", at))


def test_added_and_removed_again_the_file_is_as_before():
    added = append(source_of(MINE), SYMBOLS, PEPE)
    assert remove(source_of(added), (*SYMBOLS, 3)) == MINE
    added = set_value(source_of(MINE), ("spec", "feeds", "coinbase"), {"symbols": [PEPE]})
    assert remove(source_of(added), ("spec", "feeds", "coinbase")) == MINE


def test_the_last_item_leaves_an_empty_list_and_the_next_one_makes_it_a_block_again():
    text = MINE
    for _ in range(3):
        text = remove(source_of(text), (*SYMBOLS, 0))
    assert "      symbols: []      # three of them\n" in text
    again = append(source_of(text), SYMBOLS, PEPE)
    assert "      symbols:      # three of them\n        - name: PEPE/USD\n" in again
    assert "# the end of the symbols" in again


def test_the_last_key_leaves_an_empty_mapping():
    assert remove(source_of("a:\n  # c\n  b: 1\n"), ("a", "b")) == "a: {}\n  # c\n"
    assert remove(source_of("a: {b: 1} # c\n"), ("a", "b")) == "a: {} # c\n"


CASES = {
    "items at the column of their key": ("a:\n- x\n# c\nb: 1\n", "a:\n- x\n- new\n# c\nb: 1\n"),
    "items far to the right": ("a:\n      - x\n# c\nb: 1\n", "a:\n      - x\n      - new\n# c\nb: 1\n"),
    "a dash alone on its line": ("a:\n  -\n    # n - o\n    x: 1\n", "a:\n  -\n    # n - o\n    x: 1\n  - new\n"),
    "a dash in the comment behind a dash": ("a:\n  - # b-c\n    x: 1\n", "a:\n  - # b-c\n    x: 1\n  - new\n"),
    "an empty last item": ("a:\n  - x\n  -\n# c\nb: 1\n", "a:\n  - x\n  -\n  - new\n# c\nb: 1\n"),
    "a list in a list": ("a:\n  - - x\n    - y\n", "a:\n  - - x\n    - y\n  - new\n"),
    "Windows line ends": ("a:\r\n  - x # c\r\nb: 1\r\n", "a:\r\n  - x # c\r\n  - new\r\nb: 1\r\n"),
    "no line end": ("a:\n  - x", "a:\n  - x\n  - new\n"),
    "no value": ("a: # c\nb: 1\n", "a: [new] # c\nb: 1\n"),
    "null": ("a: ~ # c\n", "a: [new] # c\n"),
    "an empty list": ("a: [] # c\nb: 1\n", "a: [new] # c\nb: 1\n"),
    "no key": ("b: 1\n# c\n", "b: 1\na: [new]\n# c\n"),
    "a list over lines": ("a: [\n  x, # c\n  y # d\n]\n", "a: [\n  x, # c\n  y, new # d\n]\n"),
    "a comma at the end": ("a: [x, ]\n", "a: [x, new, ]\n"),
    "a last item of several lines": ("a:\n  - x\n    y\n\n# c\n", "a:\n  - x\n    y\n  - new\n\n# c\n"),
    "a last item in a block of text": ("a:\n  - >-\n    x\n\n# c\n", "a:\n  - >-\n    x\n  - new\n\n# c\n"),
    "a document start": ("---\na:\n  - x\n", "---\na:\n  - x\n  - new\n"),
    "a document end": ("a:\n  - x\n...\n", "a:\n  - x\n  - new\n...\n"),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES)
def test_adding_keeps_to_the_layout_that_is_there(before, after):
    assert append(source_of(before), ("a",), "new") == after


REMOVALS = {
    "a dash alone on its line": ("a:\n  - x\n  -\n    # n - o\n    y: 1\n  - z\n", 1, "a:\n  - x\n  - z\n"),
    "an empty item": ("a:\n  - x\n  -\n  - z\n", 1, "a:\n  - x\n  - z\n"),
    "a negative number": ("a:\n  - -1\n  - -2\n", 0, "a:\n  - -2\n"),
    "a list": ("a:\n  - - x\n    - y\n  - z\n", 0, "a:\n  - z\n"),
    "the last one at the end of the file": ("a:\n  - x\n  - y", 1, "a:\n  - x\n"),
    "a line of a list over lines": ("a: [\n  x, # c\n  # about y\n  y, # d\n  z\n]\n", 1, "a: [\n  x, # c\n  # about y\n  z\n]\n"),
    "the last line of it": ("a: [\n  x, # c\n  y # d\n]\n", 1, "a: [\n  x, # c\n]\n"),
    "the last of two lines": ("a: [x,\n  y]\n", 1, "a: [x]\n"),
    "the last of two lines with a comment": ("a: [x, # c\n  y]\n", 1, "a: [x, # c\n  ]\n"),
    "the first before a comment": ("a: [x, # c\n  y]\n", 0, "a: [ # c\n  y]\n"),
    "one with a comma behind": ("a: [x, y, ]\n", 1, "a: [x, ]\n"),
    "the middle": ("a: [x, {b: 1}, 'z']\n", 1, "a: [x, 'z']\n"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "at", "after"), REMOVALS.values(), ids=REMOVALS)
def test_removing_keeps_to_the_layout_that_is_there(before, at, after):
    assert remove(source_of(before), ("a", at)) == after


def test_a_list_in_place_of_a_block_keeps_the_comment_of_its_key():
    text = "a:\n  - f: # c\n      - x # gone\n      - y\n    g: 1 # d\n"
    assert set_value(source_of(text), ("a", 0, "f"), []) == "a:\n  - f: [] # c\n    g: 1 # d\n"


def test_a_block_of_text_is_replaced_with_its_lines():
    assert set_value(source_of("a: >-\n  x\n  y\n\n# c\nb: 1\n"), ("a",), "z") == "a: z\n\n# c\nb: 1\n"


@pytest.mark.parametrize(
    "edit",
    [
        lambda source: append(source, ("b",), "x"),  # a number is no list
        lambda source: set_value(source, ("b", "c"), 1),  # and no mapping
        lambda source: remove(source, ("nosuch",)),
        lambda source: remove(source, ("a", 5)),
        lambda source: set_value(source, ("b",), "two\nlines"),
        lambda source: set_value(source, ("b",), "\x1b[31m"),
        lambda source: set_value(source, ("b",), "\udcff"),
        lambda source: set_value(source, ("b\n",), 1),
        lambda source: set_value(source, ("b",), float("nan")),
        lambda source: remove(source, ("d",)),  # stands there twice
    ],
)
def test_a_change_that_cannot_be_made_is_refused_and_changes_nothing(edit):
    source = source_of("a: [x]\nb: 1\nd: 1\nd: 2\n")
    before = copy.deepcopy(source)
    with pytest.raises(ConfigError) as caught:
        edit(source)
    assert source == before
    assert "\n" not in str(caught.value)


def test_a_layout_that_would_break_is_named_with_its_place():
    with pytest.raises(ConfigError, match=r"^mine\.yaml:2:5: a\[0\] is laid out in a way that this change would break"):
        remove(source_of("a:\n  - b: 1\n    c: 2\n"), ("a", 0, "b"))


@given(st.text(max_size=20) | TEXTS)
def test_a_text_is_written_so_that_it_is_read_back_as_the_same_text(value):
    try:
        written = scalar_text(value)
    except ConfigError:
        assert not value.isprintable()
        return
    for text in (f"a: {written}\n", f"a: [{written}, x]\n", f"a:\n  - {written} # c\n"):
        source = source_of(text)
        assert source.problems == ()
        assert (
            value in (read := plain(source.root)["a"])
            if isinstance(read := plain(source.root)["a"], list)
            else read == value
        )


def edited(data: Any, path: tuple[str | int, ...], how: str, value: Any) -> Any:
    """Return what the data should be after an edit."""
    data = copy.deepcopy(data)
    parent = data
    for step in path[:-1]:
        parent = parent[step]
    if how == "remove":
        del parent[path[-1]]
    elif how == "append":
        parent[path[-1]] = [*(parent[path[-1]] or []), value]
    else:
        parent[path[-1]] = value
    return data


def concerned(text: str, path: tuple[str | int, ...]) -> range:
    """Return the indexes of the lines of a node, from its key or dash to its last character; no comment around it."""
    root = parse(text.encode(), "f").root
    node, parent = lookup(root, path), lookup(root, path[:-1]) if path else None
    assert node is not None
    first = node.mark.line - 1
    if isinstance(parent, Mapping):
        first = parent.key(str(path[-1])).mark.line - 1
    elif parent is not None and not parent.is_flow:
        lines = text.splitlines()
        behind = last_line(parent.items[path[-1] - 1]) if path[-1] else parent.mark.line - 1
        first = next(at for at in range(behind, first + 1) if lines[at].lstrip().startswith("-"))
    return range(first, last_line(node))


def last_line(node: Node) -> int:
    """Return the number of the line on which a node ends, whatever comments follow."""
    if isinstance(node, Scalar) or node.is_flow or not node.items:
        return node.mark.end_line
    last = node.items[-1]
    return last_line(last[1]) if isinstance(last, tuple) else last_line(last)


def lines_kept(before: str, after: str) -> tuple[int, int]:
    """Return how many lines at the start and at the end are the same, byte for byte."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if old and not old[-1].endswith("\n") and old[-1] not in new:
        old[-1] += "\r\n" if "\r\n" in before else "\n"  # a line end may be added
    same = [mine == yours for mine, yours in zip(old, new, strict=False)]
    same_from_end = [mine == yours for mine, yours in zip(reversed(old), reversed(new), strict=False)]
    return [*same, False].index(False), [*same_from_end, False].index(False)


def may_change(text: str, path: tuple[str | int, ...], how: str) -> range | None:
    """Return which lines an edit may change. None: it may only add some."""
    root = parse(text.encode(), "f").root
    node, parent = lookup(root, path), lookup(root, path[:-1])
    if node is None:
        return concerned(text, path[:-1]) if getattr(parent, "is_flow", True) or not parent.items else None
    if how == "remove" and (parent.is_flow or len(parent.items) == 1):
        return concerned(text, path[:-1])
    if how == "append" and getattr(node, "items", ()) and not node.is_flow:
        return None
    return concerned(text, path)


@pytest.mark.slow
@given(documents(), st.data())
def test_an_edit_of_any_layout_does_what_is_wanted_and_touches_no_other_line(document, data):
    text, before = document
    source = parse(text.encode(), "f")
    assert source.problems == ()
    assert plain(source.root) == before
    path = data.draw(st.sampled_from(paths_of(before)))
    how = data.draw(st.sampled_from(["set", "append", "remove", "new"]))
    value = data.draw(VALUES)
    if how == "new":
        inside = lookup(source.root, path)
        path, how = ((*path, "new"), "set") if isinstance(inside, Mapping) else (("new",), "set")
    try:
        after = (
            {"set": set_value, "append": append}[how](source, path, value) if how != "remove" else remove(source, path)
        )
    except ConfigError:
        event(f"{how}: refused")
        return
    event(f"{how}: done")
    read_back = parse(after.encode(), "f")
    assert (read_back.problems, plain(read_back.root)) == ((), edited(before, path, how, value))
    lines = may_change(text, path, how)
    kept_first, kept_last = lines_kept(text, after)
    count = len(text.splitlines())
    if lines is None:
        assert kept_first + kept_last >= count
    else:
        assert kept_first >= lines.start
        assert kept_last >= count - lines.stop
