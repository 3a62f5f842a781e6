"""From two buckets to a part of a third one and back into two others, on a real server."""

import secrets

import pytest
from msgspec.structs import replace

from ssmd.backup.backing_up import Job, back_up
from ssmd.backup.restoring import restore
from ssmd.reprocess.verify import VerifySpec, verify
from ssmd.settings import Settings
from ssmd.store.keys import KEPT_PREFIXES
from ssmd.store.objects import local_store
from ssmd.trees.backups import backup_place
from ssmd.trees.storage import open_store
from tests.backup.world import FILE, OWNER, Site
from tests.integration.rig import environment, with_buckets_of_its_own
from tests.reprocess.captured import FEED, Captured, at, faulty_run


async def content(store):
    return {meta.key: await store.read(meta.key) for prefix in KEPT_PREFIXES for meta in await store.list(prefix)}


@pytest.mark.slow
async def test_buckets_are_backed_up_into_a_bucket_and_restored(tmp_path, s3_server):
    settings = Settings(storage=s3_server.settings)
    captured = Captured(tmp_path / "journal")
    await faulty_run(captured, restarts=False)
    wanted = {key: body for key, body in Site(captured).source.objects.items() if key.startswith(KEPT_PREFIXES)}
    source, into = (open_store(with_buckets_of_its_own(environment(["BTC/USD"])), settings, tmp_path) for _ in "ab")
    for key, body in wanted.items():
        await source.create(key, body)

    place = backup_place(f"s3://ssmd-backups/run-{secrets.token_hex(4)}", settings)
    first = (await back_up(Job(OWNER, (), (FILE,)), source, place)).run
    second = (await back_up(Job(OWNER, (), (FILE,)), source, place)).run
    assert (first.copied, second.copied, second.problem_count) == (len(wanted) + 1, 0, 0)
    assert first.parts == second.parts
    done = await restore(place, second, into)
    assert (done.problems, await content(into)) == ([], wanted)

    on_disk = local_store(tmp_path / "data")  # and from there to a directory: the same keys
    assert (await restore(place, replace(second), on_disk)).problems == []
    assert (await verify(on_disk, VerifySpec(FEED, "v1", at(0), at(5)))).findings == []
