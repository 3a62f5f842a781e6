"""`ssmd up --demo` as a user runs it: one run is watched by several tests, others are ended in other ways."""

import json
import re
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio
from msgspec import Struct

from ssmd.cli.samples import Samples
from ssmd.trees import Endpoints
from tests.cli.commands import SSMD, ended, endpoints, is_alive, started, terminate, until, until_answer, until_ready

pytestmark = pytest.mark.slow

ROLES = {"up", "archiver", "connector:kraken", "gateway"}


class Seen(Struct):
    """What one run of `ssmd up --demo --duration` showed while it ran, and how it ended."""

    endpoints: Endpoints
    pids: dict[str, int]
    alive: set[str]
    health: dict[str, dict]
    ready: dict[str, dict]
    metrics: dict[str, Samples]
    heard: list[dict]
    asked: httpx.Response
    exit_code: int
    stdout: str
    stderr: str
    data_dir: Path


async def watch(folder: Path) -> Seen:
    data_dir = folder / "data"
    with started(folder, "up", "--demo", "--duration", "5s", "--data-dir", str(data_dir)) as process:
        await until_ready(process, data_dir)
        at = endpoints(data_dir)
        pids = json.loads((data_dir / "run/processes.json").read_text())
        alive = {role for role, pid in pids.items() if is_alive(pid)}
        async with httpx.AsyncClient(timeout=5) as client:
            ready = {role: (await until_answer(client, f"{url}/health/ready")).json() for role, url in at.ops.items()}
            health = {role: (await until_answer(client, f"{url}/health")).json() for role, url in at.ops.items()}
            words = ("sub", "md.kraken.trade.>", "--count", "3", "--data-dir", str(data_dir))
            heard = await trio.run_process((*SSMD, *words), capture_stdout=True, capture_stderr=True)
            asked = await ask(client, data_dir)
            metrics = {role: Samples.parse((await client.get(f"{url}/metrics")).text) for role, url in at.ops.items()}
        code = await ended(process)
    events = [json.loads(line) for line in heard.stdout.splitlines()]
    texts = ((folder / name).read_text() for name in ("stdout", "stderr"))
    return Seen(at, pids, alive, health, ready, metrics, events, asked, code, *texts, data_dir)


async def ask(client: httpx.AsyncClient, data_dir: Path) -> httpx.Response:
    """Do what the line for curl says that the demo prints."""
    name, _, value = (data_dir / "demo.header").read_text().strip().partition(": ")
    url = re.search(r"^ask .* '(http\S+)'$", (data_dir.parent / "stderr").read_text(), re.MULTILINE)
    return await client.get(url[1], headers={name: value})


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return trio.run(partial(watch, tmp_path_factory.mktemp("up")))


def test_a_run_with_a_duration_ends_by_itself_with_zero(seen):
    assert seen.exit_code == 0, seen.stderr


def test_the_run_files_name_every_endpoint_and_process(seen):
    assert seen.endpoints.nats.startswith("nats://127.0.0.1:")
    assert seen.endpoints.ops.keys() == ROLES
    assert seen.endpoints.pid == seen.pids["up"]
    assert seen.pids.keys() == ROLES | {"nats-server", "simulator"}
    assert seen.alive == seen.pids.keys()


def test_no_process_is_left(seen):
    assert [role for role, pid in seen.pids.items() if is_alive(pid)] == []


def test_health_tells_the_state_of_each_child(seen):
    assert {role: report["status"] for role, report in seen.health.items()} == dict.fromkeys(ROLES, "ok")
    states = {child["path"]: child["state"] for child in seen.health["connector:kraken"]["children"]}
    assert states.keys() >= {"connector/publisher", "connector/sealer", "connector/sessions/session-0"}
    assert set(states.values()) == {"running"}
    assert "up/connector:kraken" in {child["path"] for child in seen.health["up"]["children"]}


def test_readiness_means_that_the_dependencies_are_connected(seen):
    assert all(report["ready"] for report in seen.ready.values())
    checks = {check["name"] for role in ("connector:kraken", "archiver") for check in seen.ready[role]["checks"]}
    assert checks == {"nats", "kraken/0", "store"}
    assert {check["name"] for check in seen.ready["gateway"]["checks"]} == {"nats", "store", "db"}


@pytest.mark.parametrize("symbol", ["BTCUSD", "ETHUSD", "SOLUSD"])
def test_the_messages_of_each_symbol_are_counted(seen, symbol):
    total = partial(seen.metrics["connector:kraken"].total, "ssmd_connector_messages_received_total")
    assert total(feed="kraken", symbol=symbol) > 0


def test_the_metrics_of_the_contract_are_there_and_sane(seen):
    connector, archiver = seen.metrics["connector:kraken"], seen.metrics["archiver"]
    assert 0 <= connector.total("ssmd_connector_lag_seconds", feed="kraken") < 5
    assert list(connector.all("ssmd_connector_websocket_reconnects_total"))
    assert 0 < archiver.total("ssmd_archiver_lag_seconds") < 10
    written = Samples.parse("".join(path.read_text() for path in (seen.data_dir / "run").glob("*.metrics")))
    assert all(written.total("ssmd_archiver_bytes_written_total", bucket=b) > 0 for b in ("raw", "normalized"))


def test_without_a_terminal_the_log_is_json_lines_and_nothing_is_coloured(seen):
    logged = [json.loads(line) for line in seen.stdout.splitlines() if line.startswith("{")]
    assert {"event", "level", "timestamp", "role"} <= logged[0].keys()
    assert {line["role"] for line in logged} >= {"up", "archiver", "connector:kraken"}
    assert [line for line in logged if line["level"] == "error"] == []
    assert "\x1b" not in seen.stdout + seen.stderr


def test_the_summary_says_what_was_captured_and_what_to_try_next(seen):
    text = [line for line in seen.stdout.splitlines() if not line.startswith("{")]
    words = {line.split()[0] for line in text}
    assert words == {"captured", "quality", "published", "kept", "next"}
    published = next(line for line in text if line.startswith("published"))
    events, archived = re.findall(r"([\d,]+) (?:events|archived)", published)
    assert events == archived != "0"


def test_the_data_are_where_the_contract_says(seen):
    raw = [path.relative_to(seen.data_dir).as_posix() for path in seen.data_dir.rglob("*.jsonl.zst")]
    normalized = [path.relative_to(seen.data_dir).as_posix() for path in seen.data_dir.rglob("*.capnp.zst")]
    assert raw
    assert all(re.fullmatch(r"raw/kraken/\d{4}/\d\d/\d\d/\d\d/\d\d-\d\d\.jsonl\.zst", key) for key in raw)
    pattern = r"normalized/v1/kraken/(trade|quote|book)/[A-Z]+/\d{4}/\d\d/\d\d/\d\d-\d\d(\.p\d\d)?\.capnp\.zst"
    assert {re.fullmatch(pattern, key)[1] for key in normalized} == {"trade", "quote", "book"}


def test_the_demo_makes_a_key_for_its_owner_alone_and_a_line_that_works_with_it(seen):
    assert (seen.data_dir / "demo.header").stat().st_mode & 0o777 == 0o600
    assert seen.asked.status_code == 200, seen.asked.text
    assert {row["symbol"] for row in seen.asked.json()["data"]} <= {"BTCUSD"}
    assert seen.endpoints.gateway in seen.stderr
    key = (seen.data_dir / "demo.header").read_text().split()[-1]
    assert key not in seen.stdout + seen.stderr


def test_sub_prints_events_as_they_are_published(seen):
    assert len(seen.heard) == 3
    assert {(event["type"], event["feed"]) for event in seen.heard} == {("trade", "kraken")}


async def test_sigterm_drains_and_exits_zero(tmp_path):
    data_dir = tmp_path / "data"
    with started(tmp_path, "up", "--demo", "--data-dir", str(data_dir)) as process:
        await until_ready(process, data_dir)
        await trio.sleep(1)
        terminate(process)
        began_s = trio.current_time()
        assert await ended(process) == 0
        assert trio.current_time() - began_s < 15
    assert list((data_dir / "raw").rglob("*.manifest.json"))
    assert list((data_dir / "normalized").rglob("*.zst"))


async def test_a_second_sigterm_ends_everything_at_once(tmp_path):
    data_dir = tmp_path / "data"
    with started(tmp_path, "up", "--demo", "--data-dir", str(data_dir)) as process:
        await until_ready(process, data_dir)
        pids = json.loads((data_dir / "run/processes.json").read_text())
        terminate(process)
        await until(lambda: '"draining"' in (tmp_path / "stdout").read_text(), "draining is logged")
        terminate(process)
        began_s = trio.current_time()
        assert await ended(process) == 128 + 15
        assert trio.current_time() - began_s < 1
        await until(lambda: not any(is_alive(pid) for pid in pids.values()), "its processes are gone")
