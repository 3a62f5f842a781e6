"""One gateway for every test of the client in a file."""

from collections.abc import Callable, Iterator

import pytest

from ssmd.client import Patience
from tests.client.modes import MODES, Claim
from tests.client.served import Served, served

QUICK = Patience(first_s=0.01, cap_s=0.05)

Use = Callable[..., None]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(params=MODES)
def use(request, gateway) -> Use:
    """Return what lets a claim have a client: sync in a notebook, under asyncio, under Trio."""

    def run(claim: Claim, **words: object) -> None:
        given = {"gateway": gateway.url, "api_key_file": gateway.key_file, "patience": QUICK} | words
        MODES[request.param](claim, **given)

    return run
