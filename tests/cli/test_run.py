"""`ssmd run connector` and `archiver`, each alone, as two containers run them."""

import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from ssmd.bus.server import ServerSettings, server_argv, wait_ready
from ssmd.cli.samples import Samples, fetch
from ssmd.simulator import SimulatorConfig, serve
from ssmd.supervisor import ChildProcess, ProcessSpec
from tests.cli.commands import ended, endpoints, started, terminate, until_answer, until_ready

pytestmark = pytest.mark.slow

ENVIRONMENT = """\
apiVersion: ssmd/v1
kind: Environment
metadata: {name: test}
spec:
  feeds:
    kraken:
      symbols: [{name: BTC/USD, internal: BTCUSD, depth: l2}]
  storage:
    raw: {bucket: ssmd-test-raw}
    normalized: {bucket: ssmd-test-normalized}
"""


@asynccontextmanager
async def surroundings(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Give the variables that lead to a real nats-server and a simulated exchange of this test's own."""
    server = ServerSettings(store_dir=folder / "nats", max_file_store_bytes=20_000_000_000)
    urls: list[str] = []

    async def ready() -> None:
        urls.append((await wait_ready(server)).url)

    async with trio.open_nursery() as nursery:
        await nursery.start(ChildProcess(ProcessSpec("nats-server", server_argv(server), ready=ready)).run)
        exchange = await nursery.start(partial(serve, SimulatorConfig(symbols=("BTC/USD",), rate_per_s=100)))
        yield {"SSMD_NATS_URL": urls[0], "SSMD_KRAKEN_WS_URL": exchange.ws_url}
        nursery.cancel_scope.cancel()


async def above(client: httpx.AsyncClient, url: str, name: str, least: float) -> Samples:
    with trio.fail_after(30):
        while (samples := await fetch(client, url)).total(name) < least:  # noqa: ASYNC110  another process tells nobody
            await trio.sleep(0.1)
    return samples


def folders(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "connector", tmp_path / "archiver"
    for path in paths:
        path.mkdir()
    return paths


async def test_two_roles_find_each_other_over_nats_alone_and_end_with_zero(tmp_path):
    environment = tmp_path / "test.yaml"
    environment.write_text(ENVIRONMENT)
    capture, archive = folders(tmp_path)
    async with surroundings(tmp_path) as variables, httpx.AsyncClient(timeout=5) as client:
        words = ("--env", str(environment), "--data-dir")
        with (
            started(archive, "run", "archiver", *words, str(archive), **variables) as archiver,
            started(capture, "run", "connector", "--feed", "kraken", *words, str(capture), **variables) as connector,
        ):
            await until_ready(archiver, archive)
            await until_ready(connector, capture)
            at = {**endpoints(archive).ops, **endpoints(capture).ops}
            assert (endpoints(capture).pid, endpoints(archive).pid) == (connector.pid, archiver.pid)
            assert endpoints(capture).nats == variables["SSMD_NATS_URL"]
            assert at.keys() == {"archiver", "connector:kraken"}
            for url in at.values():
                await until_answer(client, f"{url}/health/ready")
            await above(client, at["connector:kraken"], "ssmd_connector_events_published_total", 20)
            terminate(connector)
            assert await ended(connector) == 0
            terminate(archiver)
            assert await ended(archiver) == 0
    assert list((capture / "raw").rglob("*.manifest.json"))
    assert {path.parent.parent.name for path in (archive / "normalized").rglob("BTCUSD")} == {"kraken"}
    assert not (capture / "run/endpoints.json").exists()  # nobody is there any more
    logged = [json.loads(line) for line in (capture / "stdout").read_text().splitlines()]
    assert {"session_open", "draining", "minute_sealed"} <= {line["event"] for line in logged}


async def test_without_a_bus_a_role_is_alive_but_not_ready_and_a_second_signal_ends_it(tmp_path):
    environment = tmp_path / "test.yaml"
    environment.write_text(ENVIRONMENT)
    words = ("run", "archiver", "--env", str(environment), "--data-dir", str(tmp_path))
    async with httpx.AsyncClient(timeout=5) as client:
        with started(tmp_path, *words, SSMD_NATS_URL="nats://127.0.0.1:1") as process:
            await until_ready(process, tmp_path)
            url = endpoints(tmp_path).ops["archiver"]
            await until_answer(client, f"{url}/health/ready", 503)
            assert (await until_answer(client, f"{url}/health")).json()["status"] == "ok"
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            assert await ended(process) in {0, 128 + signal.SIGTERM, 128 + signal.SIGINT}


async def test_a_gateway_alone_is_alive_without_a_bus_and_ends_with_zero(tmp_path):
    environment = tmp_path / "test.yaml"
    environment.write_text(ENVIRONMENT)
    words = ("run", "gateway", "--env", str(environment), "--data-dir", str(tmp_path))
    async with httpx.AsyncClient(timeout=5) as client:
        with started(tmp_path, *words, SSMD_NATS_URL="nats://127.0.0.1:1") as process:
            await until_ready(process, tmp_path)
            at = endpoints(tmp_path)
            assert (await client.get(f"{at.gateway}/health")).json()["role"] == "gateway"
            ready = await until_answer(client, f"{at.gateway}/health/ready", 503)
            assert ready.json()["checks"]["nats"] == "down"
            await until_answer(client, f"{at.ops['gateway']}/health/ready", 503)
            samples = await fetch(client, at.ops["gateway"])
            assert samples.total("ssmd_process_resident_bytes") < 128 << 20
            terminate(process)
            assert await ended(process) == 0
    assert not (tmp_path / "run/endpoints.json").exists()


def test_a_spec_file_that_holds_secrets_is_for_its_owner_only(tmp_path):
    environment = tmp_path / "test.yaml"
    environment.write_text(ENVIRONMENT)
    words = ("run", "connector", "--env", str(environment), "--data-dir", str(tmp_path))
    with started(tmp_path, *words, SSMD_NATS_URL="nats://127.0.0.1:1") as process:
        trio.run(until_ready, process, tmp_path)
    (spec,) = (tmp_path / "run").glob("*.spec.json")
    assert spec.stat().st_mode & 0o777 == 0o600
    assert isinstance(process, subprocess.Popen)
