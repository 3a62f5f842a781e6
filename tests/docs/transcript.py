"""Sessions in the documents: commands with their output, replayed in a folder like a fresh clone.

`python -m tests.docs.transcript docs/environments.md` writes what the commands say now into the document: read the
difference before you commit it.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITHIN_S: Final = 120.0
ENDS_WITHIN_S: Final = 10.0
LOOK_EVERY_S: Final = 0.05
END: Final = "--- end of output ---"
VARYING: Final = (
    (re.compile(r"committed as [0-9a-f]{7,}"), "committed as 1a2b3c4"),
    (re.compile(r"@[A-Za-z0-9_-]+-[0-9a-f]{6}\b"), "@host-0a1b2c"),
    (re.compile(r"after \d+\.\d+ s"), "after 0.30 s"),
)
"""What is another every time, and how the document writes it."""


class Step(NamedTuple):
    command: str
    output: str


def steps(block: str) -> list[Step]:
    """Return the commands of a block, each with the output below it."""
    before, *found = re.split(r"^\$ ", block, flags=re.MULTILINE)
    if before:
        raise ValueError(f"a session begins with {before!r}; write a command after '$ ' first")
    return [Step(*part.split("\n", 1)) for part in found]


def blocks(text: str) -> list[list[Step]]:
    """Return the sessions of a document."""
    return [steps(match[1]) for match in BLOCK.finditer(text)]


def clone(folder: Path) -> None:
    """Make a folder that is to these commands what a fresh clone is."""
    for name in ("environments", "k8s"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / ".gitignore").write_text("live/\n")
    for words in (
        ("init", "--quiet", "--initial-branch=main", "."),
        ("config", "user.name", "Test"),
        ("config", "user.email", "test@example.org"),
        ("add", "."),
        ("commit", "--quiet", "-m", "begin"),
    ):
        subprocess.run(("git", *words), cwd=folder, env=_environment(folder), check=True)


def replay(document: Path, folder: Path) -> list[list[Step]]:
    """Run every command of a document in one shell; return the same blocks with what was said."""
    wanted = blocks(document.read_text())
    script = "set -m\n" + "".join(f"{step.command}\necho '{END}'\n" for block in wanted for step in block)
    said = iter(normalized(_said(script, folder)).split(f"{END}\n"))
    return [[Step(step.command, next(said, "")) for step in block] for block in wanted]


def _environment(folder: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SSMD_", "GIT_", "XDG_"))}
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}:{inherited['PATH']}",
        "PYTHONUNBUFFERED": "1",
        "HOME": str(folder / ".git"),
        "COLUMNS": "160",
        "SSMD_GATEWAY_LISTEN": "127.0.0.1:0",  # tests share the machine's ports
    }


def _said(script: str, folder: Path) -> str:
    """Run a script to its end, or for so long; nothing that it started is left."""
    with subprocess.Popen(
        ("bash", "-c", script),
        cwd=folder,
        env=_environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as shell:
        try:
            return shell.communicate(timeout=WITHIN_S)[0]
        except subprocess.TimeoutExpired:
            end_session(shell.pid)
            return f"{shell.communicate()[0]}\n[no end within {WITHIN_S:g} s]\n"
        finally:
            end_session(shell.pid)


def end_session(session: int) -> None:
    """End what runs in a session: with `set -m` each background job has a process group of its own."""
    for number, within_s in ((signal.SIGTERM, ENDS_WITHIN_S), (signal.SIGKILL, ENDS_WITHIN_S)):
        until_s = time.monotonic() + within_s
        for pid in _running(session):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        while _running(session) and time.monotonic() < until_s:
            time.sleep(LOOK_EVERY_S)


def _running(session: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _parent, _group, its_session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(its_session) == session and state not in {"Z", "X"}:
                found.append(int(folder.name))
    return found


def normalized(text: str) -> str:
    for pattern, instead in VARYING:
        text = pattern.sub(instead, text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def written(blocks_said: list[list[Step]], text: str) -> str:
    """Return a document's text with what was said in its blocks."""
    said = iter(blocks_said)
    return BLOCK.sub(lambda _: f"```console\n{''.join(_shown(step) for step in next(said))}```", text)


def _shown(step: Step) -> str:
    return f"$ {step.command}\n{step.output}"


def main() -> None:
    for name in sys.argv[1:]:
        document = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            clone(Path(folder))
            said = replay(document, Path(folder))
        document.write_text(written(said, document.read_text()))


if __name__ == "__main__":
    main()
