"""Real processes on the real clock: every wait is for a condition, never for a time."""

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
import trio

from ssmd.supervisor import (
    Backoff,
    ChildProcess,
    ChildSpec,
    HealthBoard,
    ProcessFailed,
    ProcessSpec,
    Strategy,
    Supervisor,
    Surroundings,
)

SOON_S = 10.0
STUBBORN = "trap '' TERM; echo up; while :; do sleep 0.05; done"
"""Ignores SIGTERM, its sleeps too."""


def shell(script, **spec):
    return ProcessSpec("child", ("/bin/sh", "-c", script), **spec)


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until_dead(pid, within_s=SOON_S):
    """Wait for the end of any process, a zombie of somebody else included."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], within_s)[0])
    finally:
        os.close(pidfd)


async def until_written(path):
    async def poll():
        while not path.exists() or not path.read_text():  # noqa: ASYNC110 - another process writes: nothing to wait on
            await trio.sleep(0.01)

    with trio.fail_after(SOON_S):
        await poll()


async def start(nursery, spec):
    pids = []
    process = ChildProcess(spec, pids.append)
    with trio.fail_after(SOON_S):
        await nursery.start(process.run)
    return process, pids[0]


@pytest.mark.parametrize(
    ("script", "status", "text"),
    [
        ("exit 3", 3, "process child exited with status 3"),
        ("exit 0", 0, "process child exited with status 0"),
        ("kill -9 $$", -signal.SIGKILL, "process child was killed by SIGKILL"),
    ],
)
async def test_any_exit_that_nobody_asked_for_is_a_failure_with_its_status(script, status, text):
    pids = []
    with trio.fail_after(SOON_S), pytest.raises(ProcessFailed, match=text) as failed:
        await ChildProcess(shell(script), pids.append).run()
    assert failed.value.status == status
    assert is_gone(pids[0])


async def test_a_program_that_does_not_exist_is_an_ordinary_error():
    with pytest.raises(FileNotFoundError):
        await ChildProcess(ProcessSpec("child", ("/no/such/program",))).run()


async def test_drain_sends_sigterm_and_waits_for_the_exit(tmp_path):
    out = tmp_path / "out"
    script = "trap 'echo drained; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    async with trio.open_nursery() as nursery:
        process, pid = await start(nursery, shell(script, stdout=out, ready=lambda: until_written(out)))
        process.drain()
        process.drain()
    assert out.read_text() == "up\ndrained\n"
    assert is_gone(pid)
    process.drain()  # still harmless when all is over


async def test_a_process_that_dies_of_the_drains_sigterm_has_finished():
    async with trio.open_nursery() as nursery:
        process, pid = await start(nursery, shell("exec sleep 60"))
        process.drain()
    assert is_gone(pid)


async def test_a_bad_exit_while_draining_is_a_failure(tmp_path):
    out = tmp_path / "out"
    script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.02; done"
    failure = []

    async def run(process, *, task_status):
        with pytest.raises(ProcessFailed) as failed:
            await process.run(task_status=task_status)
        failure.append(failed.value.status)

    process = ChildProcess(shell(script, stdout=out, ready=lambda: until_written(out)))
    with trio.fail_after(SOON_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(run, process)
            process.drain()
    assert failure == [7]


async def test_a_drain_before_run_starts_the_process_and_ends_it():
    pids = []
    process = ChildProcess(shell("exec sleep 60"), pids.append)
    process.drain()
    with trio.fail_after(SOON_S):
        await process.run()
    assert is_gone(pids[0])


async def test_cancellation_ends_a_polite_process_by_sigterm(tmp_path):
    out = tmp_path / "out"
    script = "trap 'echo ended; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    async with trio.open_nursery() as nursery:
        _, pid = await start(nursery, shell(script, stdout=out, ready=lambda: until_written(out), kill_after_s=SOON_S))
        nursery.cancel_scope.cancel()
    assert out.read_text() == "up\nended\n"
    assert is_gone(pid)


async def test_cancellation_kills_a_process_that_ignores_sigterm(tmp_path):
    out = tmp_path / "out"
    async with trio.open_nursery() as nursery:
        _, pid = await start(nursery, shell(STUBBORN, stdout=out, ready=lambda: until_written(out), kill_after_s=0.1))
        nursery.cancel_scope.cancel()
    assert is_gone(pid)


async def test_what_the_process_left_in_its_group_is_killed_too(tmp_path):
    out = tmp_path / "out"
    with trio.fail_after(SOON_S), pytest.raises(ProcessFailed):
        await ChildProcess(shell("sleep 60 & echo $!; exit 1", stdout=out)).run()
    assert wait_until_dead(int(out.read_text()))


async def test_a_process_that_is_not_ready_in_time_is_a_failure_and_is_ended():
    pids, spec = [], shell("exec sleep 60", ready=trio.sleep_forever, ready_within_s=0.1)
    with trio.fail_after(SOON_S), pytest.raises(ProcessFailed, match=r"not ready within 0\.1 s") as failed:
        await ChildProcess(spec, pids.append).run()
    assert failed.value.status is None
    assert is_gone(pids[0])


async def test_an_exit_before_ready_is_seen_at_once():
    spec = shell("exit 4", ready=trio.sleep_forever, ready_within_s=60)
    with trio.fail_after(SOON_S), pytest.raises(ProcessFailed, match="status 4"):
        await ChildProcess(spec).run()


async def test_a_draining_process_is_waited_for_even_if_it_never_gets_ready(tmp_path):
    out = tmp_path / "out"
    script = "trap 'sleep 0.2; echo drained; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    process = ChildProcess(shell(script, stdout=out, ready=trio.sleep_forever, ready_within_s=0.1))
    with trio.fail_after(SOON_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.run)
            await until_written(out)
            process.drain()
    assert out.read_text() == "up\ndrained\n"


async def test_a_hook_that_raises_leaves_no_process():
    pids = []

    def hook(pid):
        pids.append(pid)
        raise ValueError("hook")

    with pytest.raises(ValueError, match="hook"):
        await ChildProcess(shell("exec sleep 60"), hook).run()
    assert is_gone(pids[0])


async def test_env_cwd_and_outputs_are_as_told(tmp_path):
    out, err = tmp_path / "out", tmp_path / "err"
    out.write_text("kept\n")
    spec = shell('echo "$WHO $PWD"; echo oops >&2', env={"WHO": "me"}, cwd=tmp_path, stdout=out, stderr=err)
    with pytest.raises(ProcessFailed, match="status 0"):
        await ChildProcess(spec).run()
    assert out.read_text() == f"kept\nme {tmp_path}\n"
    assert err.read_text() == "oops\n"


def test_a_pipe_that_nobody_reads_is_refused():
    with pytest.raises(ValueError, match="nobody would read a PIPE"):
        shell("true", stdout=subprocess.PIPE)


async def test_ctrl_c_in_the_terminal_does_not_reach_the_process():
    async with trio.open_nursery() as nursery:
        process, pid = await start(nursery, shell("exec sleep 60"))
        assert os.getpgid(pid) == pid != os.getpgid(0)
        process.drain()


async def test_without_pidfd_a_thread_waits(monkeypatch):
    def missing(_pid):
        raise OSError("not here")

    monkeypatch.setattr(os, "pidfd_open", missing)
    with trio.fail_after(SOON_S), pytest.raises(ProcessFailed, match="status 5"):
        await ChildProcess(shell("exit 5")).run()
    async with trio.open_nursery() as nursery:
        _, pid = await start(nursery, shell("exec sleep 60"))
        nursery.cancel_scope.cancel()
    assert is_gone(pid)


async def test_a_supervisor_restarts_a_killed_process_and_drains_it():
    board, pids = HealthBoard(), []
    send, receive = trio.open_memory_channel(10)
    spec = ChildSpec(
        "nats", lambda: ChildProcess(shell("exec sleep 60"), send.send_nowait), backoff=Backoff(first_s=0.01)
    )
    tree = Supervisor("up", Strategy.ONE_FOR_ONE, [spec], surroundings=Surroundings(board=board))
    with trio.fail_after(SOON_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(tree.run)
            pids.append(await receive.receive())
            os.kill(pids[0], signal.SIGKILL)
            pids.append(await receive.receive())
            tree.drain()
    assert pids[0] != pids[1]
    assert all(map(is_gone, pids))
    assert board.snapshot()[0].restarts == 1
    assert board.snapshot()[0].error == "ProcessFailed('process child was killed by SIGKILL')"


PARENT = textwrap.dedent("""
    import sys, trio
    from ssmd.supervisor import ChildProcess, ProcessSpec
    spec = ProcessSpec("child", ("/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"))
    process = ChildProcess(spec, lambda pid: print(pid, flush=True))
    trio.run(process.run)
""")


@pytest.mark.slow
def test_a_sigkilled_parent_leaves_no_child():
    # Mutant: no PR_SET_PDEATHSIG in _spawn; the shell ignores SIGTERM and loops for ever.
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        child_pid = int(parent.stdout.readline())
        assert not wait_until_dead(child_pid, within_s=0)
        parent.kill()
    assert wait_until_dead(child_pid)


async def test_the_end_of_a_worker_thread_does_not_end_the_process(monkeypatch):
    # Mutant: `_spawn` in to_thread.run_sync, as trio.lowlevel.open_process does: the death signal comes when the
    # worker thread ends, which Trio lets happen after ten idle seconds.
    monkeypatch.setattr(trio._core._thread_cache, "IDLE_TIMEOUT", 0.01)
    monkeypatch.setattr(trio._core._thread_cache, "THREAD_CACHE", trio._core._thread_cache.ThreadCache())
    threads_before = set(threading.enumerate())
    async with trio.open_nursery() as nursery:
        process, pid = await start(nursery, shell("exec sleep 60"))
        await trio.to_thread.run_sync(lambda: None)
        for thread in set(threading.enumerate()) - threads_before:
            thread.join()
        assert not wait_until_dead(pid, within_s=0.05)
        process.drain()
