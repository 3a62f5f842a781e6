from pathlib import Path

import pytest

from ssmd.errors import ConfigError
from ssmd.trees import Endpoints, add_role, claim, keep_apart, remove_role, run_dir


def test_invented_data_and_real_data_never_share_a_folder(tmp_path: Path):
    keep_apart(tmp_path, "simulator")
    keep_apart(tmp_path, "simulator")
    with pytest.raises(ConfigError, match="holds data of the simulator"):
        keep_apart(tmp_path, "exchange")


def test_a_second_process_of_the_same_title_is_refused(tmp_path: Path):
    first = claim(tmp_path, "connector:kraken")
    with pytest.raises(ConfigError, match="another connector:kraken runs"):
        claim(tmp_path, "connector:kraken")
    claim(tmp_path, "archiver")
    assert first > 0


def test_a_folder_that_cannot_be_made_is_a_plain_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        run_dir(tmp_path / "file")


def test_roles_in_one_folder_keep_each_others_entries(tmp_path: Path):
    path = tmp_path / "endpoints.json"
    add_role(path, Endpoints(1, ops={"connector:kraken": "a"}))
    add_role(path, Endpoints(2, ops={"archiver": "b"}))
    add_role(path, Endpoints(3, gateway="http://g", ops={"gateway": "c"}))
    add_role(path, Endpoints(2, ops={"archiver": "b"}))
    assert b"http://g" in path.read_bytes()
    remove_role(path, "gateway")
    assert b"http://g" not in path.read_bytes()
    remove_role(path, "connector:kraken")
    assert b'"archiver"' in path.read_bytes()
    assert b"connector" not in path.read_bytes()
    remove_role(path, "archiver")
    assert not path.exists()
