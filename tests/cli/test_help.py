"""What the command line says of itself, and how it answers what it does not understand."""

import re
import shlex
import socket
from collections.abc import Iterator
from typing import get_args

import pytest
from cyclopts import App

from ssmd.cli.app import application
from ssmd.cli.commands.run import Role
from ssmd.trees import RoleName, claim
from tests.cli.commands import ssmd

ANSI = "\x1b"
EXAMPLE = re.compile(r"^\W*[Ee]xample: (.*?)\W*$", re.MULTILINE)


def commands(tree: App, *above: str) -> Iterator[tuple[str, ...]]:
    """Give the words of every command, nouns too."""
    for name in tree:
        if not name.startswith("-"):
            yield (*above, name)
            yield from commands(tree[name], *above, name)


EVERY = sorted(commands(application()))
VERBS = [words for words in EVERY if not any(other[:-1] == words for other in EVERY)]


def test_the_tree_holds_what_the_design_names():
    design = (
        "env create|env validate|env apply|env diff|env promote|env status|feed list|feed add|feed remove|feed enable|"
        "symbol map|symbol list|symbol validate|client add|client entitle|client revoke|client list"
    )
    assert {tuple(words.split()) for words in design.split("|")} <= set(VERBS)
    assert {("up",), ("run",), ("simulate",), ("sub",), ("cat",), ("doctor",), ("config", "show")} <= set(VERBS)


@pytest.mark.slow
def test_help_of_a_real_process_names_every_command_and_an_example():
    done = ssmd("--help")
    assert done.returncode == 0
    listed = re.findall(r"^  ([a-z]+): ", done.stdout, re.MULTILINE)
    assert {words[0] for words in EVERY} <= set(listed)
    assert "Example: ssmd up --demo" in done.stdout
    assert ANSI not in done.stdout


@pytest.mark.parametrize("words", [*EVERY, ("simulate", "kraken")], ids=" ".join)
def test_each_command_explains_itself_with_an_example_that_parses(ask, words):
    done = ask(*words, "--help")
    assert (done.code, done.err) == (0, "")
    assert ANSI not in done.out
    (example,) = set(EXAMPLE.findall(done.out))  # its own, and nothing of its parent's
    parts = [part for part in shlex.split(example) if not part.startswith("SSMD_")]
    assert parts[: 1 + len(words)] == ["ssmd", *words]
    application().parse_args(parts[1:], print_error=False, exit_on_error=False)  # raises for what does not parse


@pytest.mark.parametrize("words", [words for words in VERBS if words != ("simulate",)], ids=" ".join)
def test_every_argument_and_option_is_explained(ask, words):
    said = ask(*words, "--help").out
    described = re.findall(r"^  (?:--?\w|[A-Z]).*$", said, re.MULTILINE)
    assert described
    assert [line for line in described if not re.match(r"  [^:]+: [^\[]", line)] == []


def test_the_help_of_the_simulator_lists_its_options_and_faults(ask):
    out = ask("simulate", "--help").out
    assert all(word in out for word in ("--replay", "--speed", "--ledger", "refuse_connects", "absurd_price"))


def test_the_roles_of_the_command_are_those_that_there_are():
    assert {*get_args(Role), "candidate"} == set(get_args(RoleName))  # a connector starts that one


@pytest.mark.parametrize(
    ("words", "fix", "hint"),
    [
        (("nonsense",), '"nonsense"', "ssmd --help"),
        (("env", "nonsense"), '"nonsense"', "ssmd env --help"),
        (("up", "--nonsense"), "--nonsense", "ssmd up --help"),
        (("env", "validate"), "NAME", "ssmd env validate --help"),
        (("env", "validate", "dev", "--outptu", "json"), "Did you mean --output?", "ssmd env validate --help"),
        (("feed", "add", "kraken"), "NAME", "ssmd feed add --help"),
        (("feed", "enable", "kraken", "more"), "more", "ssmd feed enable --help"),
        (("feed", "add", "kraken", "X/USD", "--depth", "l3"), '"l1", "l2"', "ssmd feed add --help"),
        (("client", "add", "x", "--type", "x"), '"display", "non-display", "trading"', "ssmd client add --help"),
        (("feed", "list", "--output", "xml"), '"json"', "ssmd feed list --help"),
        (("env", "promote", "dev"), "--to", "ssmd env promote --help"),
        (("run", "gateways"), '"connector", "archiver"', "ssmd run --help"),
    ],
)
def test_what_does_not_parse_is_two_with_the_help_that_helps(ask, words, fix, hint):
    done = ask(*words)
    assert (done.code, done.out) == (2, "")
    error, last = done.err.splitlines()
    assert error.startswith("error: ")
    assert fix in error
    assert last == f"hint: {hint}"


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("up", "--env", "nosuch"), "there are demo, dev"),
        (("up", "--env", "./nosuch.yaml"), "nosuch.yaml cannot be read: No such file"),
        (("up", "--env", "../../etc/passwd"), "passwd"),
        (("up", "--duration", "soon"), "for example 30s"),
        (("run", "connector", "--feed", "nosuch"), "it has kraken"),
        (("simulate", "kraken", "--fault", "nosuch@1"), "legal names: drop"),
        (("simulate", "binance"), "choose from"),
        (("sub", "md.a b", "--server", "nats://127.0.0.1:1"), "each part is a plain token"),
        (("sub", "--data-dir", "/nosuch"), "no system runs in"),
        (("cat",), "name at least one object"),
        (("sub", "--count", "0", "--server", "nats://127.0.0.1:1"), "it must be at least 1"),
        (("up", "--demo", "--nats-port", "99999"), "allowed are 0 to 65535"),
        (("up", "--demo", "--simulate=--fault nope@5"), "there is no fault 'nope'"),
        (("up", "--demo", "--simulate=--nope"), "not the simulator's words"),
        (("cat", "/nosuch/x.jsonl.zst"), "No such file"),
    ],
)
def test_wrong_usage_is_two_with_a_way_out(ask, words, fix):
    code, out, err = ask(*words)
    assert code == 2, err
    assert fix in err
    assert out == ""
    assert "Traceback" not in err
    assert ANSI not in err


def test_to_look_for_a_running_system_makes_no_folder(ask, tmp_path):
    assert ask("sub", "--data-dir", str(tmp_path / "typo"))[0] == 2
    assert not (tmp_path / "typo").exists()


@pytest.mark.slow
def test_a_wrong_option_of_a_real_process_is_two_as_well():
    done = ssmd("up", "--env", "nosuch")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: environment 'nosuch' not found; there are ")


def test_a_second_system_in_the_folder_is_told_so_and_not_of_the_port_that_the_first_one_has(ask, tmp_path):
    claim(tmp_path, "up")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = ask("up", "--demo", "--data-dir", str(tmp_path), "--gateway-port", port)
    assert (refused.code, "another up runs in" in refused.err) == (2, True)
