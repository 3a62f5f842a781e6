"""`ssmd feed|symbol|client`: what they do to the file. What they do to a running system: test_live_change.py."""

import os
import pty
import stat
import subprocess
import sys
import threading

import pytest

from ssmd.cli.files import locked, replace_text
from ssmd.errors import ConfigError, Conflict
from tests.cli.commands import SSMD

FILE_ONLY = ("--env", "lab", "--no-live")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("feed list --env lab", "kraken"),
        ("feed add kraken AVAX/USD --depth l1 --env lab", "feed/kraken symbol AVAXUSD added"),
        ("feed remove kraken ETH/USD --env lab --yes", "feed/kraken symbol ETHUSD removed"),
        ("feed enable kraken --env lab", "feed/kraken unchanged: enabled already"),
        ("symbol map BTC/USD BTCUSD --feed kraken --env lab", "feed/kraken symbol BTCUSD unchanged"),
        ("symbol map DOGE/USD DOGEUSD --env lab", "feed/kraken symbol DOGEUSD added"),
        ("symbol list --env lab", "BTC/USD"),
        ("symbol validate --env lab", ""),
        ("client add research-bot --type non-display --env lab", "client/research-bot added as non-display"),
        ("client list --env prod", "research"),
        ("env validate prod", "Environment 'prod' is valid."),
        ("env diff dev prod", "feeds.kraken"),
        ("env promote dev --to staging --yes", "env/staging has the feeds and symbols of dev"),
        ("env status prod", "environments/prod.yaml is valid"),
    ],
)
def test_the_commands_of_the_design_work_as_they_are_spelled(ask, lab, words, said):
    done = ask(*words.split())
    assert done.code in {0, 1} if words.startswith(("env diff", "env status")) else done.code == 0, done.err
    assert said in done.out


def test_several_symbols_are_one_change(ask, lab):
    done = ask("feed", "add", "kraken", "SOL/USD", "DOGE/USD", "--depth", "l2", "--env", "lab")
    assert done.out == "feed/kraken symbol SOLUSD added\nfeed/kraken symbol DOGEUSD added\n"
    gone = ask("feed", "remove", "kraken", "SOLUSD", "DOGE/USD", "--env", "lab", "--yes")
    assert gone.out == "feed/kraken symbol SOLUSD removed\nfeed/kraken symbol DOGEUSD removed\n"


def test_of_several_symbols_one_that_cannot_be_added_leaves_all_out(ask, lab):
    before = lab.read_bytes()
    assert ask("feed", "add", "kraken", "SOL/USD", "XYZ/USD", "--env", "lab").code == 1
    assert ask("feed", "remove", "kraken", "ETH/USD", "XYZ/USD", "--env", "lab", "--yes").code == 2
    assert ask("feed", "add", "kraken", "SOL/USD", "DOGE/USD", "--internal", "X", "--env", "lab").code == 2
    assert lab.read_bytes() == before


def test_a_client_of_the_design_is_added_entitled_and_revoked(ask, lab):
    before = lab.read_text()
    assert ask("client", "add", "research-bot", "--type", "non-display", "--env", "lab").code == 0
    done = ask("client", "entitle", "research-bot", "--feed", "kraken", "--symbols", "BTC*", "--env", "lab")
    assert done.out == "client/research-bot may read BTC* on kraken\n"
    assert "research-bot,non-display,kraken,BTC*" in ask("client", "list", "--env", "lab", "-o", "csv").out
    done = ask("client", "revoke", "research-bot", "--feed", "kraken", "--env", "lab", "--yes")
    assert (done.code, done.out) == (0, "client/research-bot may no longer read kraken\n")
    assert ask("client", "remove", "research-bot", "--env", "lab", "--yes").code == 0
    assert lab.read_text() == before


def test_a_feed_that_is_not_there_cannot_be_enabled(ask, project):
    done = ask("feed", "enable", "coinbase", "--env", "staging")
    assert (done.code, done.out) == (2, "")
    assert "there is no feed 'coinbase'; there are kraken; `ssmd feed add coinbase NAME` makes one" in done.err


# nothing by halves -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("feed add kraken XYZ/USD", 1, "✗ Symbol 'XYZ/USD' not available on feed 'kraken'"),
        ("feed add nosuch X/USD", 1, "✗ Feed 'nosuch' is not known"),
        ("feed add kraken SOL/USD --internal b!d", 1, "would have 1 error; nothing was changed"),
        ("symbol map SOL/USD BTCUSD --feed kraken", 1, "BTCUSD"),
        ("feed remove kraken NO/SUCH --yes", 2, "feed kraken has no symbol 'NO/SUCH'"),
        ("symbol unmap ETHUSDD --yes", 2, "did you mean"),
        ("feed add kraken SOL/USD --timeout soon", 2, "for example 30s"),
        ("feed add kraken SOL/USD --wait", 2, "--wait: nothing runs in ssmd-data"),
        ("client add dev!bot --type display", 1, "would have 1 error; nothing was changed"),
        ("client entitle nobody --feed kraken --symbols *", 2, "there is no client 'nobody'"),
        ("client entitle nobody --feed kraken --symbols ,", 2, "--symbols is empty"),
        ("client entitle nobody --feed kraken --symbols * --types tick", 2, "allowed are trade, quote, book"),
        ("client entitle nobody --feed kraken --symbols * --expires soon", 2, "such as 90d"),
        ("client entitle nobody --feed kraken --symbols * --expires 2020-01-31", 2, "which is over"),
        ("client revoke nobody --feed kraken --yes", 2, "there is no client 'nobody'"),
    ],
)
def test_an_edit_that_cannot_be_made_changes_nothing(ask, lab, project, words, code, said):
    before = project.tree()
    done = ask(*words.split(), "--env", "lab")
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert project.tree() == before


@pytest.mark.parametrize(
    "words",
    [
        "feed add kraken SOL/USD",
        "feed remove kraken ETH/USD",
        "feed disable kraken",
        "symbol map SOL/USD SOLUSD",
        "symbol unmap ETHUSD",
        "client add bot --type display",
    ],
)
def test_a_dry_run_prints_the_difference_and_writes_nothing(ask, lab, project, words):
    before = project.tree()
    done = ask(*words.split(), "--env", "lab", "--dry-run")
    assert done.code == 0, done.err
    assert done.out.startswith("--- a/environments/lab.yaml\n+++ b/environments/lab.yaml\n@@ ")
    assert project.tree() == before


def test_only_the_lines_of_the_change_change(ask, lab):
    before = lab.read_text()
    assert ask("feed", "add", "kraken", "SOL/USD", "--depth", "l2", *FILE_ONLY).code == 0
    added = "        - name: SOL/USD\n          internal: SOLUSD\n          depth: l2\n"
    assert lab.read_text().replace(added, "") == before
    assert added in lab.read_text()


def test_line_ends_mode_and_a_link_stay_as_they_are(ask, lab, project):
    target = project.folder / "elsewhere.yaml"
    target.write_bytes(lab.read_bytes().replace(b"\n", b"\r\n"))
    target.chmod(0o640)
    lab.unlink()
    lab.symlink_to(target)
    assert ask("feed", "add", "kraken", "SOL/USD", *FILE_ONLY).code == 0
    assert lab.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    content = target.read_bytes()
    assert b"SOLUSD" in content
    assert content.count(b"\n") == content.count(b"\r\n")


def test_a_read_only_file_is_left_alone(ask, lab):
    lab.chmod(0o444)
    before = lab.read_bytes()
    done = ask("feed", "add", "kraken", "SOL/USD", *FILE_ONLY)
    assert (done.code, done.out) == (2, "")
    assert "lab.yaml is read-only; nothing was changed" in done.err
    assert lab.read_bytes() == before


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("nosuch", "environment 'nosuch' not found; there are "),
        ("./nosuch.yaml", "nosuch.yaml cannot be read: No such file"),
        ("./nosuch/x.yaml", "folder nosuch cannot be opened: No such file"),
        ("environments", "environment 'environments' not found"),
        ("./environments", "cannot be read: Is a directory"),
        ("lab.yaml", "lab.yaml cannot be read: No such file"),
        ("environments/lab.yaml/x", "cannot be opened: Not a directory"),
    ],
)
def test_a_file_that_is_not_there_is_two_with_its_name(ask, lab, env, said):
    done = ask("feed", "add", "kraken", "SOL/USD", "--env", env, "--no-live")
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_a_file_given_by_its_path_is_changed_in_its_place(ask, lab, project, monkeypatch):
    monkeypatch.chdir("/")
    assert ask("feed", "add", "kraken", "SOL/USD", "--env", str(lab), "--no-live").code == 0
    assert "SOLUSD" in lab.read_text()


def test_an_environment_that_comes_with_ssmd_is_not_changed(ask, project):
    project.file("dev").unlink()
    done = ask("feed", "add", "kraken", "SOL/USD", "--env", "dev", "--no-live")
    assert (done.code, done.out) == (2, "")
    assert "comes with ssmd" in done.err
    assert "`ssmd env create NAME --from-template dev` makes it your own" in done.err


# asking ------------------------------------------------------------------------------------------------------

DESTRUCTIVE = [
    ("feed remove kraken ETH/USD", "ETH/USD"),
    ("feed disable kraken", "kraken"),
    ("symbol unmap ETHUSD", "ETHUSD"),
    ("client revoke bot --feed kraken", "bot"),
    ("client remove bot", "bot"),
    ("env promote dev --to lab", "y"),
    ("env promote dev --to new", "y"),
]


@pytest.fixture
def bot(ask, lab):
    assert ask("client", "add", "bot", "--type", "display", "--env", "lab").code == 0
    assert ask("client", "entitle", "bot", "--feed", "kraken", "--symbols", "*", "--env", "lab").code == 0
    return lab


def words_of(words):
    return (*words.split(), *(() if words.startswith("env") else ("--env", "lab")))


@pytest.mark.parametrize("words", [words for words, _ in DESTRUCTIVE])
def test_without_a_terminal_what_destroys_needs_yes(ask, bot, project, words):
    before = project.tree()
    done = ask(*words_of(words))
    assert (done.code, done.out) == (2, "")
    assert "there is no terminal to ask on; --yes goes on without asking, --dry-run shows the change" in done.err
    assert project.tree() == before
    assert ask(*words_of(words), "--yes").code == 0
    assert project.tree() != before


@pytest.mark.parametrize(("words", "answer"), DESTRUCTIVE)
def test_a_person_is_asked_and_only_the_right_answer_counts(ask, bot, project, monkeypatch, words, answer):
    before = project.tree()
    master, slave = pty.openpty()
    try:
        with os.fdopen(slave, "r") as terminal:
            monkeypatch.setattr(sys, "stdin", terminal)
            os.write(master, b"yes, of course\n")
            refused = ask(*words_of(words))
            assert project.tree() == before
            os.write(master, f"{answer}\n".encode())
            done = ask(*words_of(words))
    finally:
        os.close(master)
    assert refused.code == 2
    assert "not confirmed; nothing was changed" in refused.err
    assert done.code == 0
    assert project.tree() != before


# several at the same time ------------------------------------------------------------------------------------


def test_a_change_by_somebody_else_in_between_is_a_conflict(lab):
    before = lab.read_bytes()
    lab.write_text("theirs")
    with pytest.raises(Conflict, match=r"lab\.yaml was changed meanwhile by somebody else; nothing was written"):
        replace_text(lab, before, "ours")
    assert lab.read_text() == "theirs"


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(lab, monkeypatch):
    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    before = sorted(lab.parent.iterdir())
    content = lab.read_bytes()
    with pytest.raises(ConfigError, match="No space left on device"):
        replace_text(lab, content, "x")
    assert (lab.read_bytes(), sorted(lab.parent.iterdir())) == (content, before)


async def test_who_waits_too_long_for_the_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr("ssmd.cli.files.LOCK_WITHIN_S", 0.1)
    async with locked(tmp_path):
        with pytest.raises(Conflict, match=r"another ssmd command has been changing .* for 0\.1 s; try again"):
            async with locked(tmp_path):
                pass


@pytest.mark.slow
def test_of_commands_at_the_same_time_no_edit_is_lost(lab):
    names = ("SOL/USD", "DOT/USD", "ADA/USD", "LINK/USD")
    found = []

    def add(name):
        words = (*SSMD, "feed", "add", "kraken", name, *FILE_ONLY)
        found.append(subprocess.run(words, capture_output=True, text=True, check=False))

    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [done.returncode for done in found] == [0] * len(names), [done.stderr for done in found]
    assert all(name in lab.read_text() for name in names)
