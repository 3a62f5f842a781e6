"""STYLE.md section 2: half of the functions within 10 lines, nine in ten within 35, no file above 350."""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
HALF_WITHIN: Final = 10
NINE_IN_TEN_WITHIN: Final = 35
FILE_WITHIN: Final = 350


def function_lines(source: str) -> list[int]:
    """Return the length of every function of a file, from `def` to its last line."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, functions)]
    return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes]


def share_within(lengths: Iterable[int], limit: int) -> float:
    lengths = list(lengths)
    return sum(length <= limit for length in lengths) / len(lengths) if lengths else 1.0


def too_long_functions(lengths: list[int]) -> list[str]:
    half, nine = share_within(lengths, HALF_WITHIN), share_within(lengths, NINE_IN_TEN_WITHIN)
    print(f"{len(lengths)} functions: {half:.0%} within {HALF_WITHIN} lines, {nine:.0%} within {NINE_IN_TEN_WITHIN}")  # noqa: T201  shown by -s and with a failure
    complaints = []
    if half < 0.5:
        complaints.append(f"only {half:.0%} of the functions are within {HALF_WITHIN} lines")
    if nine < 0.9:
        complaints.append(f"only {nine:.0%} of the functions are within {NINE_IN_TEN_WITHIN} lines")
    return complaints


def too_long_files(sources: dict[str, str]) -> list[str]:
    sizes = {path: len(source.splitlines()) for path, source in sources.items()}
    longest = max(sizes, key=lambda path: sizes[path])
    print(f"{len(sizes)} files, the longest has {sizes[longest]} lines: {longest}")  # noqa: T201  shown by -s and with a failure
    return [f"{path} has {size} lines, allowed are {FILE_WITHIN}" for path, size in sizes.items() if size > FILE_WITHIN]


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted((ROOT / "ssmd").rglob("*.py"))}


def test_functions_stay_short(sources: dict[str, str]) -> None:
    assert too_long_functions([length for source in sources.values() for length in function_lines(source)]) == []


def test_files_stay_short(sources: dict[str, str]) -> None:
    assert too_long_files(sources) == []


def _function(lines: int) -> str:
    return "def planted():\n" + "    pass\n" * (lines - 1)


def test_a_function_is_counted_from_def_to_its_last_line() -> None:
    assert function_lines(_function(12)) == [12]
    assert function_lines("@cache\nasync def planted():\n    return (\n        1\n    )\n") == [4]


def test_too_many_functions_above_ten_lines_are_found() -> None:
    assert too_long_functions([10, 10, 10, 11, 11]) == []
    assert len(too_long_functions([10, 10, 11, 11, 11])) == 1


def test_more_than_one_in_ten_functions_above_35_lines_is_found() -> None:
    assert too_long_functions([35] + [1] * 8 + [36]) == []
    assert len(too_long_functions([36] + [1] * 8 + [36])) == 1


def test_a_file_above_350_lines_is_found() -> None:
    assert too_long_files({"full.py": "pass\n" * 350}) == []
    assert too_long_files({"long.py": "pass\n" * 351}) == ["long.py has 351 lines, allowed are 350"]
