"""An actor whose work is done by a child process."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import trio
from msgspec import Struct

from ssmd.errors import SsmdError

REAP_WITHIN_S = 5.0
"""After SIGKILL only a process stuck in the kernel takes longer; it is then left to init."""

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class ProcessSpec(Struct, frozen=True):
    """What to run. `env` None and outputs None are inherited; a Path is appended to; an int is a file descriptor.

    `ready` returns when the process can be used; without it the process counts as ready at once.
    `kill_after_s` is what a cancelled process has between SIGTERM and SIGKILL.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    stdout: Path | int | None = None
    stderr: Path | int | None = None
    ready: Callable[[], Awaitable[None]] | None = None
    ready_within_s: float = 10.0
    kill_after_s: float = 1.0

    def __post_init__(self) -> None:
        if subprocess.PIPE in (self.stdout, self.stderr):
            raise ValueError(f"process {self.name}: nobody would read a PIPE; give a Path or a file descriptor")


class ProcessFailed(SsmdError):
    """A child process ended without being asked, badly, or was not ready in time (then `status` is None).

    `status` is the exit code, or minus the number of the signal that killed it.
    """

    def __init__(self, name: str, what: str, status: int | None) -> None:
        super().__init__(f"process {name} {what}")
        self.name = name
        self.status = status


def _ignore(_pid: int) -> None:
    pass


class ChildProcess:
    """Run one process until it ends, and end it whenever `run` ends: nothing is left, whatever happens.

    Any exit while not draining is ProcessFailed, 0 too. `drain` sends SIGTERM; then exit 0 and death by that signal
    are a normal return. Cancellation sends SIGTERM, after `kill_after_s` SIGKILL to its whole process group.
    If this process dies, even by SIGKILL, so does the child (Linux). Ctrl-C reaches only the parent.
    """

    def __init__(self, spec: ProcessSpec, on_started: Callable[[int], None] = _ignore) -> None:
        self._spec = spec
        self._on_started = on_started
        self._process: subprocess.Popen[bytes] | None = None
        self._is_draining = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        process = self._process = _spawn(self._spec)
        try:
            self._on_started(process.pid)
            if self._is_draining:
                _signal(process, signal.SIGTERM)
            is_late = not await self._until_exit(process, task_status)
        finally:
            await self._end(process)
        if is_late:
            raise ProcessFailed(self._spec.name, f"was not ready within {self._spec.ready_within_s:g} s", None)
        status = process.wait()
        if not (self._is_draining and status in {0, -signal.SIGTERM}):
            raise ProcessFailed(self._spec.name, _describe(status), status)

    def drain(self) -> None:
        self._is_draining = True
        if self._process is not None:
            _signal(self._process, signal.SIGTERM)

    async def _until_exit(self, process: subprocess.Popen[bytes], task_status: trio.TaskStatus[None]) -> bool:
        """Return True when the process has ended, False when it was not ready in time."""
        has_ended = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report_ready, task_status, nursery.cancel_scope)
            await _exited(process)
            has_ended = True
            nursery.cancel_scope.cancel()
        return has_ended

    async def _report_ready(self, task_status: trio.TaskStatus[None], waiting: trio.CancelScope) -> None:
        if self._spec.ready is not None:
            with trio.move_on_after(self._spec.ready_within_s) as readying:
                await self._spec.ready()
            if readying.cancelled_caught:
                if not self._is_draining:  # a draining one is waited for all the same
                    waiting.cancel()
                return
        task_status.started()

    async def _end(self, process: subprocess.Popen[bytes]) -> None:
        """Leave no process behind, and no zombie. Until it is reaped here, its pid and group cannot mean another's."""
        _signal(process, signal.SIGTERM)
        with trio.move_on_after(self._spec.kill_after_s, shield=True):
            await _exited(process)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is empty
            os.killpg(process.pid, signal.SIGKILL)
        with trio.move_on_after(REAP_WITHIN_S, shield=True):
            await _exited(process)
        process.poll()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal; harmless to one that has ended. Unlike Popen's own methods it does not reap."""
    if process.returncode is None:
        os.kill(process.pid, number)


def _spawn(spec: ProcessSpec) -> subprocess.Popen[bytes]:
    """Fork from this thread, Trio's own: the death signal is sent when the forking *thread* ends.

    So never from a worker thread, as trio.lowlevel.open_process does.
    """
    parent_pid = os.getpid()

    def die_with_parent() -> None:
        # Between fork and exec: no locks, no imports, no allocation to speak of.
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(1)  # the parent died before the line above

    with contextlib.ExitStack() as stack:
        return subprocess.Popen(  # noqa: S603 - the arguments come from the composition root
            spec.argv,
            env=spec.env,
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=_opened(spec.stdout, stack),
            stderr=_opened(spec.stderr, stack),
            process_group=0,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - safe with threads: it takes no lock
        )


def _opened(target: Path | int | None, stack: contextlib.ExitStack) -> int | None:
    if isinstance(target, Path):
        return stack.enter_context(target.open("ab")).fileno()
    return target


async def _exited(process: subprocess.Popen[bytes]) -> None:
    """Wait until the process is dead. It stays a zombie, so its pid cannot come to mean another one."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, or a sandbox without it
        await trio.to_thread.run_sync(_wait_for_exit, process.pid, abandon_on_cancel=True)
        return
    try:
        await trio.lowlevel.wait_readable(pidfd)
    finally:
        os.close(pidfd)


def _wait_for_exit(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # reaped meanwhile
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def _describe(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"exited with status {status}"
