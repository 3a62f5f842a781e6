"""The key of the demo, against a gateway that runs in this process."""

import trio

from ssmd.cli.demo_key import demo_header
from ssmd.settings import Settings
from tests.trees.test_gateway import running


async def test_a_key_is_made_once_kept_while_it_counts_and_made_anew_when_it_does_not(tmp_path):
    async with running(tmp_path) as found:

        async def ask() -> str:
            header = await demo_header(tmp_path, found.urls["gateway"], Settings(), ["kraken"])
            assert header.stat().st_mode & 0o777 == 0o600
            name, _, value = header.read_text().strip().partition(": ")
            assert (await found.http.get("/api/v1/symbols", headers={name: value})).json()["data"]
            return value

        first = await ask()
        assert await ask() == first
        await trio.Path(tmp_path / "demo.header").write_text("Authorization: Bearer ssmd_aaaaaaaa_wrong")
        second = await ask()
        assert second != first
        assert (await found.http.get("/api/v1/symbols", headers={"Authorization": first})).status_code == 401


async def test_without_a_gateway_there_is_no_key_and_no_error(tmp_path):
    assert await demo_header(tmp_path, "http://127.0.0.1:1", Settings(), ["kraken"]) is None
    assert not list(tmp_path.iterdir())
