import os
import re
from pathlib import Path

import pytest

from ssmd.environment.load import find, inspect, load
from ssmd.environment.problem import Problem
from ssmd.environment.source import MAX_FILE_BYTES
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


@pytest.mark.parametrize("name", ["dev", "demo", "homelab", "staging", "prod"])
def test_the_shipped_environments_are_valid_and_found_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(name).name == name


def test_an_environment_of_the_working_folder_comes_before_a_shipped_one(file, tmp_path, monkeypatch):
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "dev.yaml").write_text(GOOD.replace("mine", "dev"))
    monkeypatch.chdir(tmp_path)
    assert load("dev").spec.feeds["kraken"].book_depth == 25


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
        ("book_depth: 25", "book_dept: 25", "unknown field 'book_dept' (did you mean 'book_depth'?)"),
        ("book_depth: 25", "book_depth: deep", "book_depth is 'deep' (allowed: a whole number, 1 to 1000; "),
        ("book_depth: 25", "book_depth: 0", "book_depth is 0 (allowed: a whole number, 1 to 1000; "),
        ("depth: l2", "depth: l3", "depth is 'l3' (allowed: l1 or l2)"),
        ("internal: BTCUSD", "internal: ../BTC", "internal is '../BTC' (allowed: text, A-Z, 0-9, _ and -, at most 32"),
        ("bucket: ssmd-mine-raw", "bucket: Other", "does not match naming convention (allowed: ssmd-mine-raw; write "),
        ("kind: Environment", "kind: Deployment", "kind is 'Deployment' (allowed: Environment)"),
        ("apiVersion: ssmd/v1", "apiVersion: ssmd/v2", "apiVersion is 'ssmd/v2' (allowed: ssmd/v1; "),
        ("  name: mine\n", "  name: mine\n  name: yours\n", "'name' stands here a second time (first "),
        ("name: mine", "name: &n mine", "the anchor &n is not allowed (write the value out)"),
        ("name: mine", "name: !!python/object:os.system mine", "is not allowed (write the plain value)"),
        ("spec:", "spec", "not YAML: while scanning a simple key could not find expected ':'"),
    ],
)
def test_anything_wrong_is_refused_with_the_file_and_the_place(file, old, new, said):
    message = refused(file, GOOD.replace(old, new, 1))
    assert said in message
    assert re.match(rf"{re.escape(str(file))}:\d+:\d+: ", message)
    assert "\n" not in message


@pytest.mark.parametrize("content", [b"\xff\xfe\x00binary", b"", b"- a\n- b\n", b"plain words", b"\x00"])
def test_a_file_that_is_something_else_altogether_is_refused_in_one_line(file, content):
    message = refused(file, content)
    assert str(file) in message
    assert "\n" not in message


def test_a_file_of_ten_megabytes_is_refused_unread(file):
    assert f"the file has 10000000 bytes (allowed: at most {MAX_FILE_BYTES})" in refused(file, b"#" * 10_000_000)


def test_a_folder_is_no_environment(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(f"{tmp_path}/")


def test_the_first_problem_says_how_many_more_there_are_and_how_to_see_them(file):
    message = refused(file, GOOD.replace("25", "0").replace("l2", "l3").replace("30", "x"))
    assert message.startswith(f"{file}:11:18: depth is 'l3' (allowed: l1 or l2)")
    assert message.endswith(f"; and 2 more, `ssmd env validate {file}` shows all")


def test_text_that_is_not_written_yet_is_inspected_for_the_place_where_it_will_stand(tmp_path):
    path = tmp_path / "mine.yaml"
    assert inspect(path, GOOD.encode(), {}).checked().name == "mine"
    assert not path.exists()


def test_in_a_folder_of_environments_the_name_leads_to_the_file(tmp_path):
    path = tmp_path / "environments" / "yours.yaml"
    [problem] = inspect(path, GOOD.encode(), {}).problems
    assert problem.message == "the environment is named 'mine' in a file named yours.yaml"
    assert problem.hint == "rename the file to mine.yaml, or the environment to yours"
    assert (problem.mark.line, problem.mark.column) == (4, 9)


def test_two_environments_of_a_folder_never_share_a_bucket(file):
    (file.parent / "copy.yaml").write_text(GOOD)
    found = load_problems(file)
    assert [p.message for p in found] == [
        f"Storage bucket 'ssmd-mine-{kind}' is shared with environment 'copy'" for kind in ("raw", "normalized")
    ]


@pytest.mark.parametrize("content", [b"", b"\xff ssmd-mine-raw", b"a: [ssmd-mine-raw", b"ssmd-mine-raw" * 100_000])
def test_a_neighbour_that_is_no_environment_does_no_harm(file, content):
    (file.parent / "other.yaml").write_bytes(content)
    (file.parent / "folder.yaml").mkdir()
    (file.parent / "dangling.yaml").symlink_to("nowhere")
    (file.parent / "circle.yaml").symlink_to("circle.yaml")
    assert load_problems(file) == ()


def test_a_neighbour_that_may_not_be_read_does_no_harm(file, monkeypatch):
    other = file.parent / "other.yaml"
    other.write_text(GOOD)

    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    content = file.read_bytes()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert inspect(file, content, {}).problems == ()


def load_problems(file: Path) -> tuple[Problem, ...]:
    return inspect(file, file.read_bytes(), {}).problems


def test_a_pipe_is_no_environment_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match="is no file"):
        load(str(tmp_path / "pipe.yaml"))
