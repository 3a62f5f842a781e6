"""The settings choose the store; what cannot work is refused before any role starts."""

import os
import stat

import pytest
from structlog.testing import capture_logs

from ssmd.errors import ConfigError, StoreDown, StoreRefused
from ssmd.settings import Settings, StorageSettings
from ssmd.store.objects import ObjectStore
from ssmd.store.routed import RoutedStore
from ssmd.supervisor import ChildChanged, ChildState
from ssmd.trees import RoleSpec, System, UpSpec, local_world, observe, write_role_spec
from ssmd.trees.storage import open_store, store_name
from tests.integration.rig import environment

DESCRIBED = environment(["BTC/USD"])
BUCKETS = Settings(storage=StorageSettings("http://127.0.0.1:1", "garage", "AKIACANARY", "s3cr3t-canary"))


def role_spec(settings: Settings, folder: object) -> RoleSpec:
    return RoleSpec("archiver", "", DESCRIBED, settings, "nats://127.0.0.1:1", str(folder), "")


def test_without_an_endpoint_the_store_is_the_data_directory_and_with_one_two_buckets(tmp_path):
    assert isinstance(local_world(role_spec(Settings(), tmp_path / "data")).store, ObjectStore)
    assert (tmp_path / "data").is_dir()
    assert isinstance(local_world(role_spec(BUCKETS, tmp_path / "other")).store, RoutedStore)
    assert not (tmp_path / "other").exists()


def test_a_wrong_endpoint_is_told_by_up_and_by_a_role(tmp_path):
    wrong = Settings(storage=StorageSettings("localhost:3900"))
    for start in (
        lambda: System(UpSpec(DESCRIBED, wrong, tmp_path)),
        lambda: local_world(role_spec(wrong, tmp_path)),
        lambda: open_store(DESCRIBED, wrong, tmp_path),
    ):
        with pytest.raises(ConfigError, match="write http://host:port"):
            start()


def test_the_file_that_hands_the_secret_to_a_role_is_its_owner_s_alone(tmp_path):
    spec, old = role_spec(BUCKETS, tmp_path), os.umask(0)
    try:
        modes = [stat.S_IMODE(write_role_spec(tmp_path, spec).stat().st_mode) for _ in range(2)]
    finally:
        os.umask(old)
    assert modes == [0o600, 0o600]
    assert "s3cr3t-canary" not in repr(role_spec(BUCKETS, tmp_path))


def test_people_are_told_where_the_data_are(tmp_path):
    assert store_name(DESCRIBED, Settings(), tmp_path) == f"{tmp_path} (directory)"
    shown = "http://127.0.0.1:1 (buckets ssmd-test-raw, ssmd-test-normalized)"
    assert store_name(DESCRIBED, BUCKETS, tmp_path) == shown


@pytest.mark.parametrize(("cause", "level"), [(StoreDown("away"), "warning"), (StoreRefused("no such key"), "error")])
def test_what_a_person_must_mend_is_an_error_though_it_is_tried_again(cause, level):
    with capture_logs() as logs:
        observe(ChildChanged("archiver", "batcher", ChildState.BACKOFF, 1, str(cause), 2.0, cause))
    assert [(log["event"], log["log_level"]) for log in logs] == [("actor_restarts", level)]
