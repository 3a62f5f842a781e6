"""`ssmd doctor --only gateway` against gateways that run, and some that do not."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest
import trio

from ssmd.cli import gateway_check
from ssmd.cli.finding import Finding
from ssmd.cli.gateway_check import look_at_gateway
from ssmd.cli.options import Reach
from ssmd.settings import Settings
from ssmd.trees import Endpoints
from tests.gateway.web.test_server import CERTIFICATES, install
from tests.trees.test_gateway import Running, running


async def look(folder: Path, gateway: str = "", key: Path | None = None) -> list[Finding]:
    return await look_at_gateway(Settings(), folder, Reach(gateway, key))


def leave_endpoints(folder: Path, gateway: str, pid: int = 0) -> None:
    """Write what an `ssmd up` leaves of itself."""
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run/endpoints.json").write_bytes(msgspec.json.encode(Endpoints(pid or os.getpid(), gateway=gateway)))


@asynccontextmanager
async def up(folder: Path, **gateway: object) -> AsyncIterator[Running]:
    async with running(folder, **gateway) as found:
        leave_endpoints(folder, found.urls["gateway"])
        yield found


def states(findings: list[Finding]) -> list[str]:
    return [finding.state for finding in findings]


async def test_a_gateway_that_is_well_is_ready_and_its_administrators_key_counts(tmp_path):
    async with up(tmp_path) as found:
        await found.client("bot", "*")
        ready, key = await look(tmp_path)
    assert (ready.state, key.state) == ("ok", "ok")
    assert ready.fact == f"{found.urls['gateway']} (ssmd up in {tmp_path}) is ready: store, db, nats"
    assert key.fact == "the administrator's key counts; clients: 1"


@pytest.mark.slow
async def test_what_is_down_is_named_with_where_to_look(tmp_path):
    async with up(tmp_path) as found:
        found.broker.down()
        with trio.fail_after(20):
            while (await found.http.get("/health/ready")).status_code == 200:  # noqa: ASYNC110  told by HTTP only
                await trio.sleep(0.05)
        ready, _ = await look(tmp_path)
    assert ready.state == "fail"
    assert ready.fact.endswith("is not ready: nats down")
    assert ready.fix == "ssmd doctor --only nats"


@pytest.mark.slow
async def test_each_key_that_is_not_the_administrators_is_told_apart(tmp_path):
    async with up(tmp_path) as found:
        named = tmp_path / "key"
        named.write_text("ssmd_aaaaaaaa_x")
        assert (await look(tmp_path, key=named))[1] == Finding(
            "fail", "gateway", f"the key in {named} is nobody's here", "name the right file: --api-key-file FILE"
        )
        named.write_text((await found.client("bot", "*"))["Authorization"].removeprefix("Bearer "))
        bots = (await look(tmp_path, found.urls["gateway"], named))[1]
        assert (bots.state, "counts, but it is not the administrator's" in bots.fact) == ("warn", True)
        (tmp_path / "gateway-admin.key").write_text("ssmd_aaaaaaaa_x")
        own = (await look(tmp_path))[1]
        assert (own.state, own.fix) == (
            "fail",
            f"delete {tmp_path / 'gateway-admin.key'} and start the gateway again: it makes a new one",
        )
        (tmp_path / "gateway-admin.key").unlink()
        missing = (await look(tmp_path))[1]
        assert (missing.state, "No such file" in missing.fact) == ("fail", True)


async def test_without_a_running_system_there_is_nothing_to_complain_about(tmp_path):
    assert states(await look(tmp_path)) == ["ok"]
    leave_endpoints(tmp_path, "http://127.0.0.1:1", pid=2**22 + 1)  # above every pid
    (finding,) = await look(tmp_path)
    assert (finding.state, finding.fact) == ("ok", f"no gateway runs in {tmp_path}: `ssmd up` starts one")


async def test_a_system_that_runs_without_its_gateway_fails(tmp_path):
    leave_endpoints(tmp_path, "")
    (finding,) = await look(tmp_path)
    assert (finding.state, "its gateway is not up" in finding.fact) == ("fail", True)
    leave_endpoints(tmp_path, "http://127.0.0.1:1")
    (finding,) = await look(tmp_path)
    assert (finding.state, finding.fix) == ("fail", "is it running? is the address right?")


async def test_what_is_no_gateway_gets_no_key(tmp_path):
    heard = b""

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal heard
        heard += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        key = tmp_path / "key"
        key.write_text("ssmd_aaaaaaaa_x")
        port = listener.socket.getsockname()[1]
        (finding,) = await look(tmp_path, f"http://127.0.0.1:{port}", key)
        nursery.cancel_scope.cancel()
    assert (finding.state, "is no gateway of this version" in finding.fact) == ("fail", True)
    assert b"ssmd_aaaaaaaa_x" not in heard


@pytest.mark.slow
async def test_with_tls_it_says_how_long_the_certificate_counts_and_what_is_wrong_with_a_connection(
    tmp_path, monkeypatch
):
    certificate, key = install("signed", tmp_path)
    async with up(tmp_path, tls_certificate=str(certificate), tls_key=str(key)) as found:
        (unknown,) = await look(tmp_path)
        assert "CERTIFICATE_VERIFY_FAILED" in unknown.fact
        assert "SSL_CERT_FILE=ca.pem" in unknown.fix
        named = tmp_path / "gateway-admin.key"
        (plain,) = await look(tmp_path, found.urls["gateway"].replace("https:", "http:"), named)
        assert plain.fix == "does it speak TLS? then write https://"
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "authority.pem"))
        findings = await look(tmp_path)
        assert states(findings) == ["ok", "ok", "ok"]
        assert "its certificate counts until" in findings[1].fact
        monkeypatch.setattr(gateway_check, "RENEW_BEFORE_DAYS", 100_000)
        assert states(await look(tmp_path)) == ["ok", "warn", "ok"]


@pytest.mark.slow
async def test_a_gateway_without_tls_that_is_asked_with_it_is_told(tmp_path):
    async with up(tmp_path) as found:
        url = found.urls["gateway"].replace("http:", "https:")
        (finding,) = await look(tmp_path, url, tmp_path / "gateway-admin.key")
    assert finding.fix == "does it speak TLS? a gateway without a certificate is http://"


def test_the_check_is_one_of_the_doctors(ask, project):
    done = ask("doctor", "--only", "gateway", "--env", "dev", "--output", "json")
    assert done.code == 0
    (row,) = json.loads(done.out)
    assert row["check"] == "gateway"


def test_a_named_gateway_without_a_key_is_a_finding(ask, project):
    done = ask("doctor", "--only", "gateway", "--gateway", "http://127.0.0.1:1", "--output", "json")
    assert done.code == 1
    assert "--api-key-file FILE" in json.loads(done.out)[0]["fact"]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
