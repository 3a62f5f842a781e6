"""What the command line says. One process per claim would cost a second each, so most are asked in this one."""

import pytest

from ssmd.cli.app import app
from tests.cli.commands import ssmd

COMMANDS = ("up", "run", "simulate", "sub", "cat")
ANSI = "\x1b"


@pytest.fixture
def ask(capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app(list(words))
        said = capfd.readouterr()
        return ended.value.code or 0, said.out, said.err

    return run


@pytest.mark.slow
def test_help_names_every_command_and_an_example():
    done = ssmd("--help")
    assert done.returncode == 0
    assert all(f"│ {command} " in done.stdout for command in COMMANDS)
    assert "Example: ssmd up --demo" in done.stdout
    assert ANSI not in done.stdout


@pytest.mark.parametrize("command", [("up",), ("run",), ("simulate",), ("simulate", "kraken"), ("sub",), ("cat",)])
def test_each_command_explains_itself_with_an_example(ask, command):
    code, out, _ = ask(*command, "--help")
    assert code == 0
    assert f"xample: {'SSMD_NATS_URL=nats://127.0.0.1:4222 ' * (command == ('run',))}ssmd {command[0]}" in out
    assert out.count("xample: ") <= 2  # cyclopts shows a command's own help once, nothing of its parent
    assert ANSI not in out


def test_the_help_of_the_simulator_lists_its_options_and_faults(ask):
    _, out, _ = ask("simulate", "--help")
    assert all(word in out for word in ("--replay", "--speed", "--ledger", "refuse_connects", "absurd_price"))


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("nonsense",), "Available commands: up, run, simulate"),
        (("up", "--nonsense"), "--nonsense"),
        (("up", "--env", "nosuch"), "there are demo, dev"),
        (("up", "--env", "./nosuch.yaml"), "nosuch.yaml cannot be read: No such file"),
        (("up", "--env", "../../etc/passwd"), "passwd"),
        (("up", "--duration", "soon"), "for example 30s"),
        (("run", "gateways"), '"connector", "archiver"'),
        (("run", "connector", "--feed", "nosuch"), "it has kraken"),
        (("simulate", "kraken", "--fault", "nosuch@1"), "legal names: drop"),
        (("simulate", "binance"), "choose from"),
        (("sub", "md.a b", "--server", "nats://127.0.0.1:1"), "each part is a plain token"),
        (("sub", "--data-dir", "/nosuch"), "no system runs in"),
        (("cat",), "name at least one object"),
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
