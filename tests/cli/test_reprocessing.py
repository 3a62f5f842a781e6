"""`ssmd reprocess` from outside: times, exit codes, what is printed where."""

import json
from pathlib import Path

import pytest
import trio

from ssmd.cli.reprocessing import rfc3339, span_ns, time_ns
from ssmd.errors import ConfigError
from ssmd.store.objects import local_store
from tests.cli.commands import ssmd
from tests.reprocess.world import START_NS, World, archive

DAY = 86_400 * 10**9
SPAN = ("--feed", "kraken", "--start", "2025-12-06T14:00Z", "--end", "2025-12-06T14:10Z", "--version", "v1")


@pytest.fixture(scope="module")
def world() -> World:
    return World(10, frames_per_minute=30).capture()


@pytest.fixture
def data(tmp_path, world) -> tuple[str, str]:
    trio.run(world.store_raw, local_store(tmp_path / "data"))
    return "--data-dir", str(tmp_path / "data")


def test_a_bare_date_as_the_end_includes_that_day():
    start, end = span_ns("2025-12-01", "2025-12-01")
    assert (rfc3339(start), end - start) == ("2025-12-01T00:00:00Z", DAY)
    assert rfc3339(span_ns("2025-11-01", "2025-12-01")[1]) == "2025-12-02T00:00:00Z"


def test_a_time_as_the_end_is_not_included_and_any_zone_will_do():
    assert time_ns("--end", "2025-12-06T14:00Z", is_end=True) == START_NS
    assert time_ns("--start", "2025-12-06T15:00:00+01:00") == START_NS


@pytest.mark.parametrize(
    "text", ["tomorrow", "2025-13-01", "2025-12-06T14:00", "2025-12-06T14:00:30Z", "0001-01-01T00:00Z"]
)
def test_what_is_no_whole_minute_is_refused(text):
    with pytest.raises(ConfigError, match=r"--start is"):
        time_ns("--start", text)


def test_an_end_before_the_start_is_refused():
    with pytest.raises(ConfigError, match="is not after"):
        span_ns("2025-12-02", "2025-12-01")


def test_the_future_is_left_out_with_a_word(capfd):
    assert span_ns("2025-12-01", "2999-12-01")[1] < time_ns("--end", "2999-12-01")
    assert "lies in the future; taken up to" in capfd.readouterr().err


def test_the_result_is_on_stdout_and_the_progress_on_stderr(ask, data, world):
    done = ask("reprocess", *SPAN, *data, "-o", "json")
    assert done.code == 0, done.err
    result = json.loads(done.out)
    assert (result["minutes"], result["complete"], result["problems"]) == (10, True, [])
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [lines[0]["state"], lines[-1]["state"]] == ["start", "end"]
    assert lines[-1]["minutes"] == lines[-1]["of_minutes"] == 10
    assert trio.run(archive, local_store(Path(data[1]))) == world.expected()


def test_a_dry_run_writes_nothing(ask, data):
    done = ask("reprocess", *SPAN, *data, "--dry-run")
    assert done.code == 0
    assert "dry run, nothing written" in done.out
    assert trio.run(archive, local_store(Path(data[1]))) == {}


def test_problems_are_one_and_named(ask, data):
    trio.run(local_store(Path(data[1])).delete, "raw/kraken/2025/12/06/14/00-03.jsonl.zst")
    done = ask("reprocess", *SPAN, *data)
    assert done.code == 1
    assert "raw/kraken/2025/12/06/14/00-03.jsonl.zst: missing_object" in done.err
    assert done.out.startswith("done  9 minutes")


def test_a_time_without_raw_data_is_one(ask, tmp_path):
    done = ask("reprocess", *SPAN, "--data-dir", str(tmp_path))
    assert (done.code, "no_raw_data" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--version", "v9"), "known are v1"),
        (("--parallel", "0"), "allowed are 1 to 64"),
        (("--feed", "nyse"), "known are kraken"),
    ],
)
def test_what_cannot_be_done_is_two(ask, data, words, said):
    given = dict(zip(SPAN[::2], SPAN[1::2], strict=True)) | {words[0]: words[1]}
    done = ask("reprocess", *(word for pair in given.items() for word in pair), *data)
    assert (done.code, said in done.err) == (2, True), done.err


@pytest.mark.slow
def test_the_script_of_the_original_is_the_same_command(data):
    done = ssmd("reprocess", "run", *SPAN, *data, "--parallel", "2")
    assert done.returncode == 0, done.stderr
