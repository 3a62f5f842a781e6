"""`ssmd run bootstrap`, as a Kubernetes Job runs it."""

import pytest
import trio

from tests.cli.commands import ended, ssmd, started, terminate
from tests.cli.test_run import ENVIRONMENT, surroundings

pytestmark = pytest.mark.slow


@pytest.fixture
def words(tmp_path):
    (tmp_path / "test.yaml").write_text(ENVIRONMENT)
    return ("run", "bootstrap", f"--env={tmp_path / 'test.yaml'}", f"--data-dir={tmp_path / 'data'}")


async def test_it_ends_with_zero_and_a_second_one_changes_nothing(tmp_path, words):
    async with surroundings(tmp_path) as variables:
        for seeds in (1, 0):
            with started(tmp_path, *words, **variables) as process:
                assert await ended(process) == 0
            log = (tmp_path / "stdout").read_text()
            assert log.count('"config_seeded"') == seeds
            assert '"bootstrap_done"' in log


async def test_interrupted_without_nats_it_ends_with_five_so_that_the_job_tries_again(tmp_path, words):
    with started(tmp_path, *words, SSMD_NATS_URL="nats://127.0.0.1:1") as process:
        with trio.fail_after(30):
            while "actor_restarts" not in (tmp_path / "stdout").read_text():  # noqa: ASYNC110  a process tells nobody
                await trio.sleep(0.05)
        terminate(process)
        assert await ended(process) == 5
    assert '"bootstrap_not_done"' in (tmp_path / "stdout").read_text()


def test_a_wrong_environment_is_two_so_that_the_job_gives_up(words):
    assert ssmd(*words, "--feed=nosuch", SSMD_NATS_URL="nats://127.0.0.1:1").returncode == 2
