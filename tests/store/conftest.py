"""Real S3 servers, one of each kind for the whole session."""

from collections.abc import Iterator

import pytest

from chaos.s3_servers import S3Server, shared, stop_shared, why_absent


@pytest.fixture(scope="session")
def _s3_servers_end() -> Iterator[None]:
    yield
    stop_shared()


@pytest.fixture
def s3_server(request: pytest.FixtureRequest, tmp_path_factory, _s3_servers_end) -> S3Server:
    """Return the server that the test is parametrized with: `seaweedfs` (also without saying so) or `garage`."""
    name = getattr(request, "param", "seaweedfs")
    reason = why_absent(name)
    if reason:
        pytest.skip(reason)
    return shared(name, tmp_path_factory.mktemp(name))
