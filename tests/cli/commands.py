"""Run `ssmd` as users do: a process with pipes, watched from outside."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import msgspec
import trio

from ssmd.trees import Endpoints

WITHIN_S = 40.0
LOOK_EVERY_S = 0.05
SSMD = (sys.executable, "-m", "ssmd")


def ssmd(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    return subprocess.run(
        (*SSMD, *words), capture_output=True, text=True, timeout=WITHIN_S, check=False, env=_environment(variables)
    )


@contextmanager
def started(
    folder: Path, *words: str, stdin: IO[str] | None = None, **variables: str
) -> "Iterator[subprocess.Popen[bytes]]":
    """Start a command with its output in <folder>/stdout and stderr; nothing of it is left afterwards."""
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen((*SSMD, *words), stdin=stdin, stdout=out, stderr=err, env=_environment(variables))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSMD_")}
    return {"SSMD_GATEWAY_LISTEN": "127.0.0.1:0", **inherited, **variables}  # tests share the machine's ports


def endpoints(data_dir: Path) -> Endpoints:
    return msgspec.json.decode((data_dir / "run/endpoints.json").read_bytes(), type=Endpoints)


async def until(is_true: Callable[[], bool], what: str) -> None:
    with trio.move_on_after(WITHIN_S):
        while not is_true():  # noqa: ASYNC110  another process tells nobody
            await trio.sleep(LOOK_EVERY_S)
        return
    raise AssertionError(f"not within {WITHIN_S:g} s: {what}")


async def until_ready(process: "subprocess.Popen[bytes]", data_dir: Path) -> None:
    path = data_dir / "run/endpoints.json"
    await until(lambda: path.exists() or process.poll() is not None, "endpoints.json")
    assert process.poll() is None, (data_dir.parent / "stderr").read_text()


async def ended(process: "subprocess.Popen[bytes]") -> int:
    await until(lambda: process.poll() is not None, "the process ends")
    return process.wait()


async def until_answer(client: httpx.AsyncClient, url: str, status: int = 200) -> httpx.Response:
    """Ask until the answer has this status."""
    answers: list[httpx.Response] = []

    with trio.move_on_after(WITHIN_S):
        while not answers or answers[-1].status_code != status:
            answers.append(await client.get(url))
            await trio.sleep(LOOK_EVERY_S)
        return answers[-1]
    raise AssertionError(f"{url} did not answer {status} within {WITHIN_S:g} s: {answers[-1:]}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def terminate(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
