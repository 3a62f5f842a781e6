import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ssmd.environment.scalars import is_ambiguous, typed
from ssmd.environment.source import MAX_FILE_BYTES, Mapping, Scalar, Sequence, elements, lookup, parse, plain
from tests.environment.sample import MINE, codes, inspected, unmarked


def first(marked: str) -> tuple[str, str]:
    """Return the code and hint of the first problem as YAML, after checking that it is at the mark."""
    text, places = unmarked(marked)
    problem = parse(text.encode(), "f.yaml").problems[0]
    assert (problem.mark.line, problem.mark.column) == places[""], problem
    return problem.code, problem.hint


@pytest.mark.parametrize(
    ("marked", "code", "hint"),
    [
        ("a: «»no", "ambiguous", 'write true or false, or "no" for the text'),
        ("a: «»on", "ambiguous", 'write true or false, or "on" for the text'),
        ("a: [x, «»Yes]", "ambiguous", 'write true or false, or "Yes" for the text'),
        ("«»y: 1", "ambiguous", 'write true or false, or "y" for the text'),
        ("a: «»010", "ambiguous", 'write a plain decimal number, or "010" for the text'),
        ("a: «»1:30", "ambiguous", 'write a plain decimal number, or "1:30" for the text'),
        ("a: «»1e3", "ambiguous", 'write a plain decimal number, or "1e3" for the text'),
        ("a: «»1_000", "ambiguous", 'write a plain decimal number, or "1_000" for the text'),
        ("a: «»0x1F", "ambiguous", 'write a plain decimal number, or "0x1F" for the text'),
        ("a: «»0o17", "ambiguous", 'write a plain decimal number, or "0o17" for the text'),
        ("a: «»!!str 1", "tag", "write the plain value"),
        ("a: «»!!python/object/apply:os.system [x]", "tag", "write the plain value"),
        ("a: «»&x 1", "alias", "write the value out"),
        ("a:\n  b: 1\n  c: «»*x", "alias", "write the value out"),
        ("a:\n  «»<<: {b: 1}", "merge", "write the values out"),
        ("a: 1\n«»---\nb: 1", "documents", ""),
        ("a:\n«»\tb: 1", "syntax", "indent with spaces"),
        ("«»\ufeffa: 1", "character", "save the file as UTF-8 without a byte order mark"),
        ("a: 1\nb: x«»\x00", "character", "delete it"),
        ("a: 1\nb: x«»\x1b[31m", "character", "delete it"),
        ("a: 1«»\x85b: 2", "character", "end lines with LF or CRLF"),
        ("a: 1«»\rb: 2", "character", "end lines with LF or CRLF"),
        ("a: x # «»\u202e", "character", "delete it"),
        ('a: «»"x\\n"', "character", "write it in one line of visible characters"),
        ('a: «»"\\x1b[31m"', "character", "write it in one line of visible characters"),
        ("a: «»l1\xa0", "character", "write it in one line of visible characters"),
        ("a: «»|\n  x\n  y\n", "character", "write it in one line of visible characters"),
        ("%YAML 1.1\n«»---\na: b", "directive", "delete the line with the %"),
        ("a: 1\n«»a: 2", "duplicate", "first f.yaml:1:1"),
        ('a: 1\n«»"a": 2', "duplicate", "first f.yaml:1:1"),
        ("«»1: x", "key", 'write "1" for the text'),
        ("«»~: x", "key", 'write "~" for the text'),
        ("«»true: x", "key", 'write "true" for the text'),
        ("? «»[a]\n: x", "key", ""),
        ("«»{a: 1}: x", "key", ""),
        ("a: [x«»", "syntax", ""),
        ("a: 'x«»", "syntax", ""),
        ("a: x\n b«»: y", "syntax", ""),
        ('a«»: "\\UFFFFFFFF"', "syntax", ""),
        ('a«»: "\\U00110000"', "syntax", ""),
        ("«»", "structure", "`ssmd env create NAME --from-template minimal` shows what one looks like"),
        (
            "«»# only a comment\n",
            "structure",
            "`ssmd env create NAME --from-template minimal` shows what one looks like",
        ),
        ("«»- a\n- b\n", "structure", "`ssmd env create NAME --from-template minimal` shows what one looks like"),
        ("«»plain words", "structure", "`ssmd env create NAME --from-template minimal` shows what one looks like"),
    ],
)
def test_s12_what_is_not_plain_yaml_is_refused_at_its_place(marked, code, hint):
    assert first(marked) == (code, hint)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_bytes_that_are_no_text_are_refused_at_their_place(newline):
    problem = parse(f"a: 1{newline}b: é".encode() + b"\xff", "f.yaml").problems[0]
    assert (problem.code, problem.mark.line, problem.mark.column) == ("encoding", 2, 5)
    assert "0xff" in problem.message


def test_both_a_file_in_utf_16_and_one_of_zeros_are_refused():
    assert [p.code for p in parse("a: 1".encode("utf-16"), "f").problems] == ["encoding"]
    assert [p.code for p in parse(b"\0" * 100, "f").problems] == ["character"]


def test_quotes_make_text_of_anything():
    text = 'a: ["no", \'010\', "1:30", "1e3", "~", "true", "<<", "5"]'
    source = parse(text.encode(), "f")
    assert source.problems == ()
    assert plain(source.root) == {"a": ["no", "010", "1:30", "1e3", "~", "true", "<<", "5"]}


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("12", 12), ("-1", -1), ("+3", 3), ("0", 0), ("1.5", 1.5), ("true", True), ("FALSE", False), ("~", None),
        ("null", None), ("", None), (".Inf", float("inf")), ("-.inf", float("-inf")), ("BTC/USD", "BTC/USD"),
        ("2027-01-31", "2027-01-31"), ("v1", "v1"), ("9" * 5000, "9" * 5000), ("1.2.3", "1.2.3"), ("nan", "nan"),
    ],
)  # fmt: skip
def test_an_unquoted_value_means_what_yaml_1_2_says(written, means):
    assert typed(written) == means
    assert type(typed(written)) is type(means)


@pytest.mark.parametrize(
    "word", ["BTC", "10GB", "l1", "kraken", "v1", "12", "-1", "0", "1.5", "nope", "only", "2027-01-31"]
)
def test_ordinary_values_are_not_taken_for_ambiguous(word):
    assert not is_ambiguous(word)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_value_knows_where_it_stands(newline):
    marked = "a: «a»x # c\nb:\n  - «b»'y'\n  - {c: «c»12}\nd:«d»\ne: [«e»z,\n  f]\n".replace("\n", newline)
    text, places = unmarked(marked)
    root = parse(text.encode(), "f").root
    paths = {"a": ("a",), "b": ("b", 0), "c": ("b", 1, "c"), "d": ("d",), "e": ("e", 0)}
    found = {name: lookup(root, path).mark for name, path in paths.items()}
    assert {name: (mark.line, mark.column) for name, mark in found.items()} == places
    assert text[found["b"].start : found["b"].end] == "'y'"
    assert text[found["d"].start : found["d"].end] == ""


def test_a_block_of_text_ends_with_its_last_visible_character():
    root = parse(b"a: >-\n  x\n\n\n# comment\nb: 1\n", "f").root
    mark = lookup(root, ("a",)).mark
    assert (mark.line, mark.column, mark.end_line, mark.end_column) == (1, 4, 2, 4)


def test_lookups_of_what_is_not_there_find_nothing():
    root = parse(b"a: [1, {b: 2}]", "f").root
    assert lookup(root, ("a", 1, "b")).value == 2
    for path in (("b",), ("a", 2), ("a", "b"), (0,), ("a", 0, "x")):
        assert lookup(root, path) is None
    assert elements(root, "nosuch") == ()


def test_of_a_duplicate_key_the_first_counts():
    assert plain(parse(b"a: 1\na: 2", "f").root) == {"a": 1}


def test_problems_do_not_stop_at_the_first():
    source = parse(b"a: no\nb: *x\nc: !t 1\nd: 010\na: 1\n1: x\n", "f")
    assert [p.code for p in source.problems] == ["ambiguous", "alias", "tag", "ambiguous", "duplicate", "key"]


BOMBS = {
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{n}: &{n} [" + ",".join([f"*{b}"] * 9) + "]\n" for n, b in zip("bcdefghi", "abcdefgh", strict=True)),
    "open brackets": "[" * 100_000,
    "nested maps": "{a: " * 60_000,
    "nested dashes": "- " * 120_000,
    "question marks": "? " * 120_000,
    "ten megabytes": "a" * 10_000_000,
    "one long word": "a" * 250_000,
    "a long quoted text": 'a: "' + "\\n" * 120_000 + '"',
    "blank lines in quotes": 'a: "' + "\n" * 250_000 + '"',
    "a long number": "a: " + "9" * 250_000,
    "commas": "a: [" + "," * 250_000,
    "colons": "a" + ":" * 250_000,
    "anchors": "a: " + "&a " * 80_000,
    "a long directive": "%" + "x" * 250_000,
}


@pytest.mark.parametrize("bomb", list(BOMBS.values()), ids=list(BOMBS))
def test_s12_a_bomb_is_a_problem_with_a_place_in_less_than_a_second(bomb):
    started_s = time.thread_time()
    problems = inspected(bomb).problems
    assert time.thread_time() - started_s < 1
    assert problems
    assert all(problem.mark.line >= 1 and problem.mark.column >= 1 for problem in problems)


@pytest.mark.slow
@pytest.mark.parametrize("line", ["a: 1\n", "k{}: 1\n", "[x]: \n", "- x\n", "{}: [no, *a]\n"])
def test_as_many_errors_as_a_file_can_hold_take_bounded_time(line):
    """Each of them is found: a file of this size is no accident, and a few seconds harm nobody."""
    text = "".join(line.format(at) for at in range(MAX_FILE_BYTES // 12))[:MAX_FILE_BYTES]
    started_s = time.thread_time()
    assert inspected(text).problems
    assert time.thread_time() - started_s < 10


def never_raises(content: bytes) -> None:
    inspection = inspected(content)
    assert (inspection.environment is None) == bool(inspection.problems)
    lines = inspection.source.text.split("\n")
    for problem in inspection.problems:
        assert problem.message
        if inspection.source.text:
            assert 1 <= problem.mark.line <= len(lines)
            assert 1 <= problem.mark.column <= len(lines[problem.mark.line - 1]) + 1


@given(st.binary(max_size=200))
def test_no_bytes_raise(content):
    never_raises(content)


@given(st.text(max_size=200))
@example("{a}")
@example("? a\n")
@example("a: .Inf")
@example("a: .NaN")
@example('extends: "../x"\n')
@example('extends: "a\\0"\n')
def test_no_text_raises(text):
    never_raises(text.encode(errors="surrogatepass"))


_PIECES = [
    *"{}[]:,-?&*!|>'\"%@`#~ \n\t", "\r\n", "- ", ": ", " #", "? ", "---\n", "...\n", "<<: ", "*a", "&a ", "!t ", "|\n",
    ">-\n ", "no", "010", "1e999", "0x", ".inf", "spec", "feeds:", "kraken", "symbols", "name: ", "extends: ", "mine",
    "null", "true", '"\\u0000"', '"\\ud800"', "%YAML 1.1\n", "\ufeff", "é", "😀",
]  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=25).map("".join))
def test_s12_no_soup_of_yaml_raises(text):
    never_raises(text.encode())


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Return a real environment after a few cuts, insertions, swaps and repetitions."""
    text = MINE
    for _ in range(draw(st.integers(1, 6))):
        lines = text.split("\n")
        a, b = sorted(draw(st.tuples(*[st.integers(0, max(0, len(lines) - 1))] * 2)))
        how = draw(st.sampled_from(["cut", "insert", "swap", "indent", "repeat", "drop"]))
        if how == "cut":
            start = draw(st.integers(0, len(text)))
            text = text[:start] + text[start + draw(st.integers(1, 30)) :]
        elif how == "insert":
            start = draw(st.integers(0, len(text)))
            text = text[:start] + draw(st.sampled_from(_PIECES) | st.text(max_size=5)) + text[start:]
        else:
            changed = {
                "swap": [*lines[:a], lines[b], *lines[a + 1 : b], lines[a], *lines[b + 1 :]] if a < b else lines,
                "indent": [*lines[:a], "  " + lines[a], *lines[a + 1 :]],
                "repeat": [*lines[:b], *lines[a : a + 5], *lines[b:]],
                "drop": [*lines[:a], *lines[b:]],
            }
            text = "\n".join(changed[how])
    return text


@given(mutated())
def test_no_damage_to_a_real_file_raises(text):
    never_raises(text.encode(errors="surrogatepass"))


def test_a_tree_is_made_of_mappings_lists_and_scalars_only():
    root = parse(MINE.encode(), "f").root
    seen: set[type] = set()

    def walk(node: object) -> None:
        seen.add(type(node))
        for item in getattr(node, "items", ()):
            for part in item if isinstance(item, tuple) else (item,):
                walk(part)

    walk(root)
    assert seen == {Mapping, Sequence, Scalar}
    assert not re.search("[«»]", MINE)


def test_the_whole_sample_is_valid():
    assert codes(inspected(MINE)) == []
