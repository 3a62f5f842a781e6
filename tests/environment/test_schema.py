from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from ssmd.environment.schema import DRAFT, file_schema, schema_text, whole_schema
from ssmd.environment.source import plain
from ssmd.environment.spec import PATTERNS, SIZE
from ssmd.errors import ConfigError
from ssmd.settings import parse_size
from tests.environment.sample import MINE, source_of
from tests.environment.test_extend import CHILD

ROOT = Path(__file__).resolve().parents[2]


def fits(text: str) -> bool:
    root = source_of(text).root
    assert root is not None
    return Draft202012Validator(file_schema()).is_valid(plain(root))


def test_the_shipped_schema_is_the_one_that_validation_works_with():
    assert (ROOT / "environments" / "schema.json").read_text() == schema_text()


@pytest.mark.parametrize("schema", [file_schema(), whole_schema()], ids=["file", "whole"])
def test_a_schema_is_a_schema(schema):
    Draft202012Validator.check_schema(schema)


def test_editors_are_told_the_draft():
    assert file_schema()["$schema"] == DRAFT == Draft202012Validator.META_SCHEMA["$schema"]


def test_a_whole_environment_fits():
    assert fits(MINE)


def test_without_a_base_everything_must_be_said():
    assert not fits(MINE.replace("      bucket: ssmd-mine-normalized\n", ""))
    assert not fits(CHILD.replace("extends: mine\n", ""))


def test_with_a_base_anything_may_be_left_out_at_any_depth():
    assert fits(CHILD)
    assert fits("apiVersion: ssmd/v1\nkind: Environment\nmetadata: {name: child}\nextends: mine\n")


@pytest.mark.parametrize(
    "change",
    [
        ("book_depth: 50", "book_depth: deep"),
        ("book_depth: 50", "book_dept: 50"),
        ("book_depth: 50", "symbols: [{name: BTC/USD}]"),
        ("extends: mine", "extends: ../mine"),
        ("retention_days: 3", "retention_days: x"),
        ("metadata: {name: child}\n", ""),
    ],
)
def test_with_a_base_what_is_said_must_still_be_right(change):
    assert not fits(CHILD.replace(*change))


def test_every_pattern_of_the_schema_has_words_for_people():
    text = schema_text().replace("\\\\", "\\")
    assert all(pattern in text for pattern in PATTERNS)

    def patterns(node: object) -> set[str]:
        if isinstance(node, list):
            return set().union(*map(patterns, node))
        if not isinstance(node, dict):
            return set()
        own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
        return own.union(*map(patterns, node.values()))

    assert patterns(file_schema()) <= set(PATTERNS)


@given(st.from_regex(SIZE, fullmatch=True))
def test_every_size_of_an_environment_is_one_for_the_settings(size):
    assert parse_size(size.removesuffix("\n"), "max_bytes") >= 0


@pytest.mark.parametrize(
    "size",
    [
        pytest.param("10gb", id="one spelling in reviewed files"),
        pytest.param("7", id="a unit says what is meant"),
        pytest.param(" 7GB ", id="no space around"),
        pytest.param("7  GB", id="one space between"),
        pytest.param("1234567890123456B", id="fifteen digits are enough"),
    ],
)
def test_the_settings_take_more_spellings_of_a_size_than_a_file(size):
    """On purpose: variables and flags are typed, files are reviewed and checked by editors."""
    assert parse_size(size, "x")
    assert not fits(MINE.replace("  # who", f'  jetstream: {{max_bytes: "{size}"}}\n  # who'))


@pytest.mark.parametrize("size", ["GB", "10GiB", "-1GB", "1e3GB", "", "1.GB", ".5GB"])
def test_neither_takes_what_is_no_size(size):
    with pytest.raises(ConfigError):
        parse_size(size, "x")
    assert not fits(MINE.replace("  # who", f'  jetstream: {{max_bytes: "{size}"}}\n  # who'))
