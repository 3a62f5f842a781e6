"""`ssmd env promote`."""

import pytest


def test_a_target_that_is_not_there_becomes_a_copy_with_a_name_of_its_own(ask, lab, project):
    done = ask("env", "promote", "lab", "--to", "next", "--yes")
    assert (done.code, done.out) == (0, "env/next created in environments/next.yaml from lab\n")
    assert done.err.startswith("next does not exist yet: it becomes a copy of lab")
    text = project.file("next").read_text()
    assert "ssmd-next-raw" in text
    assert text == lab.read_text().replace("name: lab", "name: next").replace("ssmd-lab", "ssmd-next")


def test_an_existing_target_takes_the_feeds_and_keeps_the_rest(ask, lab, project):
    before = project.file("prod").read_text()
    done = ask("env", "promote", "lab", "--to", "prod", "--yes")
    assert (done.code, done.out) == (0, "env/prod has the feeds and symbols of lab\n")
    assert "- feeds.kraken.symbols[SOL/USD].depth: l" in done.err
    assert "kept: storage, retention, stream and entitlements of prod" in done.err
    after = project.file("prod").read_text()
    assert after.split("  storage:")[1] == before.split("  storage:")[1]
    rows = ask("symbol", "list", "--env", "prod", "-o", "name").out
    assert rows == ask("symbol", "list", "--env", "lab", "-o", "name").out
    assert (
        ask("env", "promote", "lab", "--to", "prod", "--yes").err == "prod has the feeds and symbols of lab already\n"
    )


@pytest.mark.parametrize("to", ["staging", "next"])
def test_a_dry_run_shows_what_would_be_written_and_writes_nothing(ask, lab, project, to):
    before = project.tree()
    done = ask("env", "promote", "lab", "--to", to, "--dry-run")
    assert done.code == 0
    assert ("+++ b/environments/staging.yaml" if to == "staging" else "name: next") in done.out
    assert project.tree() == before


@pytest.mark.parametrize(
    ("source", "to", "code", "said"),
    [
        ("lab", "picky", 1, "✗ Client 'bot' is entitled to symbol 'SOLUSD'"),
        ("nosuch", "dev", 2, "environment 'nosuch' not found"),
        ("lab", "NO", 2, "environment name is 'NO'"),
        ("lab", "../x", 2, "x cannot be"),
        ("broken", "dev", 2, "environments/broken.yaml:1:1"),
    ],
)
def test_what_cannot_be_promoted_changes_nothing(ask, lab, project, source, to, code, said):
    picky = lab.read_text().replace("lab", "picky").replace("BTC/USD", "SOL/USD").replace("BTCUSD", "SOLUSD")
    client = "\n    - client_id: bot\n      type: display\n      feeds: [kraken]\n      symbols: [SOLUSD]\n"
    project.file("picky").write_text(picky.replace("entitlements: []", f"entitlements:{client}"))
    project.file("broken").write_text("x")
    assert ask("env", "validate", "picky").code == 0
    before = project.tree()
    done = ask("env", "promote", source, "--to", to, "--yes")
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert project.tree() == before
