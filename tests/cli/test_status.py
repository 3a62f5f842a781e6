"""`ssmd env status` names each way in which what runs is not what is defined."""

import json

import pytest
from msgspec.structs import replace

from ssmd.actors.report import encode_config
from tests.cli.project import refusal, refused, report


@pytest.fixture
def status(ask):
    def run(*words):
        done = ask("env", "status", "lab", "--output", "json", *words)
        rows = {row["part"]: row for row in json.loads(done.out)}
        return done.code, rows

    return run


@pytest.fixture
def healthy(ask, repository, lab, live):
    """Return the bus of an environment that is applied, live, and run by one connector."""
    live.answer = report
    assert ask("env", "apply", "lab").code == 0
    return live


def test_when_everything_is_as_defined_the_code_is_zero(status, healthy, ask):
    code, rows = status()
    assert code == 0
    assert {part: row["state"] for part, row in rows.items()} == {
        "defined": "ok",
        "rendered": "ok",
        "committed": "ok",
        "live kraken": "ok",
        "connector kraken@pod-1": "ok",
    }
    assert rows["connector kraken@pod-1"]["detail"] == "runs revision 1: 2 live, 0 pending, 0 refused"
    assert ask("env", "status", "lab").out.startswith("state  part")


# files -------------------------------------------------------------------------------------------------------


def test_an_invalid_file_is_drift(status, lab, project):
    lab.write_text(lab.read_text().replace("ssmd-lab-raw", "ssmd-typo-raw"))
    code, rows = status()
    assert (code, rows["defined"]["state"]) == (1, "drift")
    assert "has 1 error: Storage bucket 'ssmd-typo-raw'" in rows["defined"]["detail"]
    assert rows["defined"]["fix"] == "ssmd env validate environments/lab.yaml"


def test_an_overlay_that_is_missing_or_stale_and_a_file_not_committed_are_drift(status, healthy, repository, lab):
    lab.write_text(lab.read_text().replace("retention_hours: 24", "retention_hours: 12"))
    code, rows = status()
    assert code == 1
    assert rows["rendered"]["state"] == "drift"
    assert "environment.yaml is different" in rows["rendered"]["detail"]
    assert rows["committed"]["detail"] == "environments/lab.yaml not committed"
    repository.git("rm", "-rq", "k8s/kustomize/overlays/lab")
    assert status()[1]["rendered"]["detail"] == "k8s/kustomize/overlays/lab is not there"


def test_without_git_or_a_running_system_there_is_nothing_to_compare_with(status, project, lab, ask, monkeypatch):
    assert ask("env", "apply", "lab", "--no-commit").code == 0
    code, rows = status()
    assert code == 0
    assert (rows["committed"]["state"], rows["live"]["state"]) == ("unknown", "unknown")
    monkeypatch.setenv("PATH", "/nosuch")
    code, rows = status()
    assert (code, rows["committed"]["state"]) == (0, "unknown")
    assert "git is not installed" in rows["committed"]["detail"]


# live --------------------------------------------------------------------------------------------------------


def drift(rows, part):
    assert rows[part]["state"] == "drift"
    assert rows[part]["fix"]
    return rows[part]["detail"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "there is no live copy"),
        (b"not json", "revision 2 is refused: "),
    ],
)
def test_a_live_copy_that_is_missing_or_unusable_is_drift(status, healthy, value, said):
    healthy.put("lab", "kraken", value)
    code, rows = status()
    assert code == 1
    assert said in drift(rows, "live kraken")


def test_a_live_copy_that_says_something_else_is_drift(status, healthy):
    healthy.put("lab", "kraken", encode_config(replace(healthy.live("lab"), book_depth=25, enabled=False)))
    code, rows = status()
    assert code == 1
    detail = "revision 2: enabled is false live, true in the file; book_depth is 25 live, 10 in the file"
    assert drift(rows, "live kraken") == detail


def test_a_live_feed_that_the_file_does_not_define_is_drift(status, healthy):
    healthy.put("lab", "foreign", encode_config(healthy.live("lab")))
    code, rows = status()
    assert code == 1
    assert drift(rows, "live foreign") == "revision 2 of a feed that the file does not define"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"revision": 7}, "runs revision 7, live is 1"),
        ({"reported_ns": 1}, "silent for "),
        ({"refused": (refused("ETHUSD", "delisted"),)}, "the exchange refuses ETHUSD: delisted"),
        ({"pending": ("ETHUSD",)}, "waits for ETHUSD"),
        ({"refused_config": refusal(2, b"x", "two shards")}, "refused revision 2 (two shards); runs revision 1"),
    ],
)
def test_a_connector_that_does_not_run_what_is_live_is_drift(status, healthy, more, said):
    healthy.tell("lab", replace(report("kraken", 1, healthy.live("lab")), **more))
    code, rows = status()
    assert code == 1
    assert said in drift(rows, "connector kraken@pod-1")


def test_no_connector_at_all_is_drift_unless_nothing_is_to_be_captured(status, ask, repository, lab, live):
    ask("env", "apply", "lab")
    code, rows = status()
    assert (code, drift(rows, "connector kraken")) == (1, "none reports")
    ask("feed", "disable", "kraken", "--env", "lab", "--yes")
    assert status()[1]["connector kraken"]["state"] == "ok"


def test_a_bus_that_cannot_be_reached_is_five_and_the_files_are_shown_all_the_same(status, healthy):
    healthy.down()
    code, rows = status()
    assert (code, rows["defined"]["state"], rows["live"]["state"]) == (5, "ok", "unknown")
    assert rows["live"]["fix"] == "ssmd doctor"


def test_an_environment_that_is_not_there_is_two(ask, project):
    done = ask("env", "status", "nosuch")
    assert (done.code, done.out) == (2, "")


def test_a_connector_of_a_feed_that_the_file_does_not_define_is_drift(status, healthy):
    healthy.tell("lab", report("foreign", 1, healthy.live("lab")))
    code, rows = status()
    assert (code, rows["connector foreign@pod-1"]["state"]) == (1, "drift")


def test_the_same_revision_of_a_bucket_that_was_made_again_is_not_the_same_configuration(status, healthy):
    other = replace(healthy.live("lab"), book_depth=25)
    healthy.tell("lab", report("kraken", healthy.revision("lab"), other))
    code, rows = status()
    assert (code, rows["connector kraken@pod-1"]["state"]) == (1, "drift")
    assert "says otherwise" in rows["connector kraken@pod-1"]["detail"]


def test_what_git_ignores_is_not_committed(status, healthy, repository):
    repository.git("rm", "-r", "--cached", "--quiet", "k8s")
    (repository.folder / ".gitignore").write_text("k8s/\n")
    repository.git("add", ".gitignore")
    repository.git("commit", "--quiet", "--message", "ignore")
    code, rows = status()
    assert (code, rows["committed"]["state"]) == (1, "drift")


def test_what_comes_from_the_bus_gives_the_terminal_no_orders(ask, healthy):
    healthy.tell("lab", report("kraken", 1, healthy.live("lab"), instance="pod\x1b[2J", pending=("\x1b]0;x\x07",)))
    assert "\x1b" not in ask("env", "status", "lab").out
