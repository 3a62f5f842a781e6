from pathlib import Path

import pytest

from ssmd.environment.load import MAX_FILE_BYTES, find, load
from ssmd.errors import ConfigError
from ssmd.records import FeedConfig, SymbolSpec

GOOD = """\
apiVersion: ssmd/v1
kind: Environment
metadata:
  name: mine
spec:
  feeds:
    kraken:
      symbols:
        - name: BTC/USD   # a comment
          internal: BTCUSD
          depth: l2
        - {name: ETH/USD, internal: ETHUSD}
      book_depth: 25
  storage:
    raw: {bucket: ssmd-mine-raw}
    normalized: {bucket: ssmd-mine-normalized, retention_days: 30}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    return path


def refused(file: Path, content: str | bytes) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load(str(file))
    return str(caught.value)


def test_a_file_becomes_what_a_feed_runs_with(file):
    environment = load(str(file))
    assert environment.name == "mine"
    assert environment.spec.feeds["kraken"].config() == FeedConfig(
        symbols=(SymbolSpec("BTC/USD", "BTCUSD", "l2"), SymbolSpec("ETH/USD", "ETHUSD", "l1")), book_depth=25
    )
    assert environment.spec.jetstream.retention_hours == 24


@pytest.mark.parametrize("name", ["dev", "demo"])
def test_the_shipped_environments_are_valid_and_found_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(name).name == name


def test_an_environment_of_the_working_folder_comes_before_a_shipped_one(file, tmp_path, monkeypatch):
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "dev.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert load("dev").name == "mine"


def test_an_unknown_name_says_which_there_are():
    with pytest.raises(ConfigError, match=r"'nosuch' not found; there are demo, dev"):
        find("nosuch")


@pytest.mark.parametrize("name", ["", "a b", "dev;rm", "dév", "x" * 33, ".."])
def test_a_name_that_is_no_token_never_becomes_a_path(name):
    with pytest.raises(ConfigError, match="give a name made of letters"):
        find(name)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("book_depth: 25", "book_dept: 25", "book_dept"),
        ("book_depth: 25", "book_depth: deep", "Expected `int`, got `str` - at `$.spec.feeds[...].book_depth`"),
        ("book_depth: 25", "book_depth: 0", ">= 1"),
        ("book_depth: 25", "book_depth: 5000", "<= 1000"),
        ("depth: l2", "depth: l3", "l3"),
        ("internal: BTCUSD", "internal: BTC/USD", "regex"),
        ("internal: BTCUSD", "internal: ../BTC", "regex"),
        ("bucket: ssmd-mine-raw", "bucket: Other_Bucket", "regex"),
        ("kind: Environment", "kind: Deployment", "Deployment"),
        ("apiVersion: ssmd/v1", "apiVersion: ssmd/v2", "ssmd/v2"),
        ("  name: mine\n", "  name: mine\n  name: yours\n", "duplicate key"),
        ("name: mine", "name: &n mine", "aliases, anchors and tags are not allowed"),
        ("name: mine", "name: !!python/object:os.system mine", "aliases, anchors and tags are not allowed"),
        ("spec:", "spec", "not plain YAML"),
    ],
)
def test_anything_wrong_is_refused_with_the_file_and_the_place(file, old, new, said):
    message = refused(file, GOOD.replace(old, new, 1))
    assert said in message
    assert str(file) in message
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b"", b"- a\n- b\n", b"plain words", b"\x00"])
def test_a_file_that_is_something_else_altogether_is_refused_in_one_line(file, content):
    message = refused(file, content)
    assert str(file) in message
    assert "\n" not in message


def test_an_alias_bomb_is_refused_before_it_grows(file):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        bomb += f"{name}: &{name} [" + ",".join([f"*{before}"] * 9) + "]\n"
    assert "not allowed" in refused(file, bomb)


def test_a_file_of_ten_megabytes_is_refused_unread(file):
    assert f"at most {MAX_FILE_BYTES}" in refused(file, b"#" * 10_000_000)


def test_deep_nesting_is_refused_not_a_crash(file):
    refused(file, "spec: " + "[" * 20_000)


def test_a_folder_is_no_environment(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(f"{tmp_path}/")
