"""What an address of backups means, and what is refused; what a journal holds that no backup has."""

import msgspec
import pytest

from ssmd.actors.sealer import Sealed
from ssmd.errors import ConfigError
from ssmd.settings import BackupSettings, Settings, StorageSettings
from ssmd.store.objects import ObjectStore
from ssmd.store.prefixed import PrefixedStore
from ssmd.store.s3 import BucketStore
from ssmd.trees.backups import backup_place, is_missing, unsealed
from tests.integration.rig import environment

DESCRIBED = environment(["BTC/USD"])
S3 = Settings(storage=StorageSettings("http://127.0.0.1:1", "garage", "AKIACANARY", "s3cr3t-canary"))


@pytest.mark.parametrize("write", ["{}", "file://{}", "file://localhost{}"])
def test_a_directory_is_written_in_three_ways(tmp_path, write):
    folder = tmp_path / "with space"
    address = write.format(folder if write == "{}" else str(folder).replace(" ", "%20"))
    assert is_missing(address)
    assert isinstance(backup_place(address, Settings(), makes=True), ObjectStore)
    assert folder.is_dir()
    assert not is_missing(address)


def test_looking_for_backups_makes_no_directory(tmp_path):
    with pytest.raises(ConfigError, match="no such directory"):
        backup_place(str(tmp_path / "typo"), Settings())
    assert not (tmp_path / "typo").exists()


def test_a_bucket_may_have_a_prefix():
    assert isinstance(backup_place("s3://backups", S3), BucketStore)
    assert isinstance(backup_place("s3://backups/ssmd/prod/", S3), PrefixedStore)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "is empty"),
        ("http://host/x", "begins with http://; write a directory"),
        ("file://host/x", "three slashes"),
        ("s3://key:s3cr3t-canary@backups/x", "more than bucket and prefix"),
        ("s3://backups/x?secret=s3cr3t-canary", "more than bucket and prefix"),
        ("s3://UPPER/x", "bucket is 'UPPER'"),
        ("s3://backups/a//b", "object key"),
        ("s3://backups/../b", "object key"),
        ("s3://ssmd-test-raw/x", "is what is to be backed up"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_without_showing_secrets(tmp_path, address, said):
    with pytest.raises(ConfigError, match=said) as refused:
        backup_place(address, S3, (DESCRIBED, tmp_path), makes=True)
    assert "canary" not in str(refused.value)


def test_a_bucket_needs_a_server():
    with pytest.raises(ConfigError, match=r"neither \[backup\] endpoint nor \[storage\] endpoint is set"):
        backup_place("s3://backups", Settings())


def test_the_server_of_backups_may_be_another_one_and_messages_name_its_settings():
    own = msgspec.structs.replace(S3, backup=BackupSettings(endpoint="https://elsewhere", region=" "))
    with pytest.raises(ConfigError, match=r"backup\.region is empty; https://elsewhere needs one"):
        backup_place("s3://backups", own)
    own = msgspec.structs.replace(S3, backup=BackupSettings(endpoint="https://elsewhere"))
    assert isinstance(backup_place("s3://ssmd-test-raw", own, (DESCRIBED, None)), BucketStore)  # not the same bucket
    assert "canary" not in repr(own)


@pytest.mark.parametrize("inside", ["data", "data/backup", "."])
def test_a_backup_does_not_lie_in_what_it_is_a_backup_of(tmp_path, inside):
    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigError, match="lie in one another"):
        backup_place(str(tmp_path / inside), Settings(), (DESCRIBED, tmp_path / "data"), makes=True)


def test_segments_that_no_raw_object_has_are_counted(tmp_path):
    journal = tmp_path / "journal" / "kraken"
    journal.mkdir(parents=True)
    assert unsealed(tmp_path) == {}
    for minute in (1, 2, 3):
        (journal / f"20251206T140{minute}-0000.jsonl").write_bytes(b"{}\n")
    (journal / "20251206T1404-0000.jsonl").touch()  # its writer died before the first line
    assert unsealed(tmp_path) == {"kraken": 3}
    (journal / "sealed.json").write_bytes(msgspec.json.encode(Sealed("20251206T1402-0000.jsonl")))
    assert unsealed(tmp_path) == {"kraken": 1}
