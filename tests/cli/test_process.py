"""A real process: signals, streams that are closed, and what nobody expected."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio

from tests.cli.commands import ended, ssmd, started, until

pytestmark = pytest.mark.slow


def shell(line: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSMD_")}
    line = line.replace("ssmd", f"{sys.executable} -m ssmd", 1)
    words = ("bash", "-c", f"set -o pipefail; {line}")
    return subprocess.run(words, cwd=folder, env=environment | variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("ssmd env list | true", 0),
        ("ssmd config show | head -1", 0),
        ("ssmd env list >&-", 0),
        ("ssmd env list 2>&-", 0),
        ("ssmd feed remove kraken BTC/USD --env lab --no-live <&-", 2),
        ("ssmd env list >/dev/full", 2),
    ],
)
def test_whatever_is_done_to_the_streams_there_is_no_traceback(project, lab, line, code):
    done = shell(line, project.folder)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_terminal_that_knows_ascii_only_gets_an_answer(project, lab):
    done = shell("ssmd env validate lab", project.folder, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "\\u2713 Feed 'kraken' configuration valid")


def test_a_bug_is_one_line_and_the_traceback_lies_in_a_file(tmp_path):
    program = "import sys\nfrom ssmd.cli import app, main\napp.tree = 1\nsys.modules['ssmd.cli.feeds'] = None\nmain()\n"
    words = (sys.executable, "-c", program, "feed", "list")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (70, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: a bug in ssmd: ModuleNotFoundError: ")
    file = Path(hint.removeprefix("hint: report it with "))
    assert file.parent == tmp_path
    assert "Traceback" in file.read_text()
    assert tempfile.gettempdir() != str(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_while_it_waits_for_the_bus_leaves_the_file_alone(lab, tmp_path, number):
    before = lab.read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        url = f"nats://127.0.0.1:{silent.getsockname()[1]}"
        words = ("feed", "add", "kraken", "SOL/USD", "--env", str(lab), "--wait")
        with started(tmp_path, *words, SSMD_NATS_URL=url) as process:
            with trio.fail_after(20):
                await trio.lowlevel.wait_readable(silent)
            process.send_signal(number)
            assert await ended(process) == 128 + number
    assert (tmp_path / "stderr").read_text() == ""
    assert lab.read_bytes() == before
    assert [path.name for path in lab.parent.iterdir() if path.name.startswith(".")] == []


async def test_ctrl_c_at_a_question_changes_nothing(lab, tmp_path):
    master, slave = os.openpty()
    before = lab.read_bytes()
    words = ("feed", "remove", "kraken", "ETH/USD", "--env", str(lab), "--no-live")
    said = tmp_path / "stderr"
    with os.fdopen(slave) as terminal, started(tmp_path, *words, stdin=terminal) as process:
        await until(lambda: "type ETH/USD to confirm" in said.read_text(), "the question")
        process.send_signal(signal.SIGINT)
        assert await ended(process) == 130
    os.close(master)
    assert "Traceback" not in said.read_text()
    assert lab.read_bytes() == before


def test_no_terminal_and_no_yes_is_two_at_once(lab):
    done = ssmd("feed", "remove", "kraken", "ETH/USD", "--env", str(lab), "--no-live")
    assert (done.returncode, done.stdout) == (2, "")
