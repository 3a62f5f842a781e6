"""The command killed in the middle: what it leaves is never taken for complete, and running it again ends the same."""

import signal
from pathlib import Path

import pytest

from ssmd.store.objects import local_store
from tests.cli.commands import ended, ssmd, started, until
from tests.reprocess.world import World, archive

SPAN = ("--feed", "kraken", "--start", "2025-12-06T14:00Z", "--end", "2025-12-06T14:40Z", "--version", "v1")


@pytest.fixture(scope="module")
def world() -> World:
    return World(40, frames_per_minute=300).capture((4, 0), (17, 1), (21, 0), (30, 0), (30, 1), crash_at=9)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["1", "2"])
async def test_killed_and_run_again_it_ends_with_the_same_bytes(tmp_path, world, parallel):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        await world.store_raw(local_store(folder))
    assert ssmd("reprocess", *SPAN, "--data-dir", str(whole)).returncode == 0

    words = ("reprocess", *SPAN, "--data-dir", str(killed), "--parallel", parallel)
    records = killed / "normalized/v1/kraken/minutes"
    with started(tmp_path, *words) as process:
        await until(lambda: len(list(records.rglob("*.json"))) >= 3, "three minutes are done")
        process.send_signal(signal.SIGKILL)
        assert await ended(process) == -signal.SIGKILL
    ranges = killed / "normalized/v1/kraken/ranges"
    half = len(list(records.rglob("*.json")))
    assert not ranges.exists()
    done = ssmd(*words)
    assert done.returncode == 0, done.stderr
    assert {k: v for k, v in content(killed).items() if not k.startswith("holds/")} == content(whole)
    assert await archive(local_store(killed)) == world.expected()
    print(f"killed after {half} of 40 minutes")  # noqa: T201  shown by -s
