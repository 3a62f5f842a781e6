"""Which store the main-job tests run on.

Always a directory, and for some of them SeaweedFS as well. SSMD_TEST_STORE=seaweedfs (or garage, if it is on PATH)
makes all of them run on that server instead: `SSMD_TEST_STORE=seaweedfs make test ARGS=tests/integration`.
"""

import os
from collections.abc import Iterator

import pytest

from chaos.s3_servers import SERVERS, shared, stop_shared, why_absent
from ssmd.settings import StorageSettings

CHOSEN = os.environ.get("SSMD_TEST_STORE", "")
STORES = ["directory", "seaweedfs"]
ALSO_ON_S3 = "test_determinism"
"""With faults and crashes in the middle of it: what a store could do wrong shows there first."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "storage" not in metafunc.fixturenames:
        return
    stores = STORES if ALSO_ON_S3 in metafunc.module.__name__ else STORES[:1]
    if CHOSEN:
        assert CHOSEN in {"directory", *SERVERS}, f"SSMD_TEST_STORE is {CHOSEN!r}"
        stores = [CHOSEN]
    metafunc.parametrize("storage", stores, indirect=True)


@pytest.fixture(scope="session")
def _s3_servers_end() -> Iterator[None]:
    yield
    stop_shared()


@pytest.fixture
def storage(request: pytest.FixtureRequest, tmp_path_factory, _s3_servers_end) -> StorageSettings:
    """Return the settings of the store that the system under test writes to."""
    name = request.param
    if name == "directory":
        return StorageSettings()
    if reason := why_absent(name):
        pytest.skip(reason)
    return shared(name, tmp_path_factory.mktemp(name)).settings
